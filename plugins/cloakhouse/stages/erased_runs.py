"""Runs that an erasure took, told apart from files that are lost.

Before an erasure deletes anything of a derived dataset, it records the names of the manifests and of the evidence that
go, each with the first 16 hex of its SHA-256 (`taken`, in the step `<pass>/<dataset>/found`). Whoever misses a file of
such a run is told that the DAG has to run again: nothing is broken, and a backup would bring the persons back. A file
that is missing for another reason stays an IntegrityError.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.derived import Trace

TAKEN = "taken"
Item = Mapping[str, Any]


def taken(found: Trace) -> list[str]:
    """Return the names of the manifests and the evidence that go with what was found of a dataset."""
    paths = {path for run in found.runs for path in (run.manifest.path, *run.evidence)}
    paths |= {ref.path for _, release in found.versions for ref in (release.source, release.evidence)}
    return sorted(map(_name, paths))


@contextlib.contextmanager
def erasure_told(
    settings: Settings, dataset: str, refs: Sequence[ManifestRef], files: Iterable[Item] = ()
) -> Iterator[None]:
    """Raise StageError (`stage.overtaken`) for an IntegrityError of the block that an erasure is the reason of.

    So it is when an erasure took the run of `dataset` that one of `refs` is a manifest or the evidence of, and one of
    these, or of the run's `files` (as a manifest lists them), isn't there. Every other IntegrityError is raised as it
    is.
    """
    try:
        yield
    except IntegrityError:
        names, store = {_name(ref.path) for ref in refs}, open_store(settings)
        paths = (*(ref.path for ref in refs), *(str(item["path"]) for item in files))
        if names & _taken_of(settings, dataset) and any(store.stat(path) is None for path in paths):
            raise _overtaken(dataset) from None
        raise


def _taken_of(settings: Settings, dataset: str) -> set[str]:
    """Return what all erasures took of `dataset`, by name."""
    steps = Erasures(settings.database).steps_about(dataset)
    return {str(name) for step in steps for name in step.content.get(TAKEN, ())}


def _name(path: str) -> str:
    return PurePosixPath(path).stem


def _overtaken(dataset: str) -> StageError:
    return StageError(
        where=f"a run of {dataset}",
        expected="the files that the run wrote",
        found="none of some: an erasure took the run, which was made with rows of persons who were erased",
        not_done="nothing was validated or published",
        remedy="run the DAG again: it makes the dataset without these persons",
        code="overtaken",
    )
