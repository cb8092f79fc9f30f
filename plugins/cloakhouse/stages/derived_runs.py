"""Runs of derived datasets as they lie in the lake: syntheses by their manifests, answers to queries by their evidence.

Their objects lie at

    synthetic/<dataset>/synthesis-<digest>.json   the manifest of a synthesis: its sources, and the files below
    views/<dataset>/<run>/*.parquet               its training rows and hold-out
    models/<dataset>/<fingerprint>-<n>.model      the sealed synthesizer, by the fingerprint of what it was fitted on
    synthetic/<dataset>/<run>/*.parquet           its rows
    evidence/<dataset>/validation-<digest>.json   its validations; those of an answer lie a folder deeper
    aggregates/<dataset>/<run>/*.parquet          the rows of an answer
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloakhouse.lake.manifests import read_named
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.catalogue import ManifestRef


@dataclass(frozen=True)
class Run:
    """One synthesis, or one answer, and the objects that it wrote, by path.

    Attributes:
        manifest: of the synthesis; the evidence of an answer.
        views: files of training rows and hold-out.
        files: of the synthetic rows, or of the answer.
        evidence: of its validations; of an answer, its own.
    """

    manifest: ManifestRef
    fingerprint: str
    content: Mapping[str, Any]
    views: tuple[str, ...]
    files: tuple[str, ...]
    evidence: tuple[str, ...] = ()


def runs_of(store: ObjectStore, dataset: str) -> Iterator[Run]:
    """Yield the runs of a dataset that lie in the lake: syntheses, then answers. Raises IntegrityError for a manifest
    that isn't what its name says."""
    evidence: dict[str, list[str]] = {}
    answers: list[Run] = []
    for ref, content in _manifests(store, f"evidence/{dataset}", "/validation-"):
        if "subject" in content:
            evidence.setdefault(content["subject"]["path"], []).append(ref.path)
        elif "answer" in content:
            answers.append(Run(ref, content["fingerprint"], content, (), _paths(content["files"]), (ref.path,)))
    for ref, content in _manifests(store, f"synthetic/{dataset}", "/synthesis-"):
        if content["kind"] == "synthesis":
            views = _paths([*_side(content, "training"), *_side(content, "holdout")])
            found = tuple(evidence.get(ref.path, ()))
            yield Run(ref, content["fingerprint"], content, views, _paths(content["files"]), found)
    yield from answers


def _manifests(store: ObjectStore, folder: str, name: str) -> Iterator[tuple[ManifestRef, dict[str, Any]]]:
    for path in sorted(info.path for info in store.list(folder) if name in info.path and info.path.endswith(".json")):
        yield read_named(store, path)


def _side(content: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return list(content.get(name, {}).get("files", ()))


def _paths(items: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(item["path"] for item in items)
