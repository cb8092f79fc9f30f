"""One derived dataset without what was made of erased persons' rows: versions, runs, models, training views, evidence.

Under the locks of its synthesis, its validation and its publication, so that none is at work meanwhile:

1. what goes is found (`cloakhouse.stages.derived`), and recorded as the step `<pass>/<dataset>/found` before anything
   changes, so that it is known after a kill;
2. versions that go and could be read are withdrawn, the oldest first, with the reason `erasure <batch>`;
3. objects are deleted: training rows and hold-outs first, those of releases that may stand, too; then synthesizers,
   rows, evidence and reports; the manifest of a run at last, since by it the rest is found again;
4. a version whose files are gone becomes `collected`, as after the collector. One that somebody holds stays withdrawn,
   its released files and evidence stay until the hold is lifted, and the step says so; its views and model go;
5. the step `<pass>/<dataset>` is recorded.

Rows that a killed synthesis left, and synthesizers that no run needs, go with the rest: nobody can tell whose rows they
were made of. Releases stay: they tell every later reader what became of a version. They list files, digests and counts
over all units.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.files import locked
from cloakhouse.lake.releases import Release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister, VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, failures_recorded
from cloakhouse.stages.derived import Standing, Touched, Trace, trace
from cloakhouse.stages.derived_runs import runs_of
from cloakhouse.stages.erased_runs import TAKEN, taken
from cloakhouse.stages.erasure_batch import Batch
from cloakhouse.stages.leftovers import none_left
from cloakhouse.stages.version_changes import Operator, operator

LOCK_WAIT_S = 3600.0  # a synthesis may take that long
KINDS = ("views", "models", "rows", "evidence", "manifests")


@dataclass
class Emptying:
    """Steps 1 to 5 for one dataset, in the pass `name` of the erasure of `batch`."""

    settings: Settings
    contracts: Mapping[str, Contract]
    batch: Batch
    dataset: str
    name: str
    touched: Touched
    persons: pa.Array
    clean: Collection[str]
    stands: Standing
    deleted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def __post_init__(self) -> None:
        self.store = open_store(self.settings)
        self.erasures = Erasures(self.settings.database)
        self.register = VersionRegister(self.settings.database)

    def erase(self) -> Mapping[str, Any] | None:
        """Return what was found and removed; None when there was nothing."""
        if (step := self.erasures.step(self.batch.name, f"{self.name}/{self.dataset}")) is not None:
            return step.content
        begun = self.erasures.step(self.batch.name, f"{self.name}/{self.dataset}/found")
        if begun is None and not self._concerned() and not self._trace():
            return None  # without waiting for a synthesis that has nothing to do with it
        with self._locked(), failures_recorded(self.settings, self._event(0)):
            found = self._trace()
            if begun is None and not found:
                self._clear(found)
                return None
            if begun is None:
                self._done("found", _counts(self.dataset, found), self._event(len(found.versions)))  # 1
            held = self._remove(found)
            first = self.erasures.step(self.batch.name, f"{self.name}/{self.dataset}/found")
            assert first is not None
            content = _together(first.content, _counts(self.dataset, found), self.deleted, held)
            self._done("", content, self._event(sum(content["objects"].values())))  # 5
        return content

    def _concerned(self) -> bool:
        """Return whether a run that is at work now, or was killed, may have rows of the persons."""
        contract = self.contracts.get(self.dataset)
        return contract is None or any(self.touched.get(source) for source in contract.sources)

    def _clear(self, found: Trace) -> None:
        """Remove what killed runs left: rows that nothing names, and synthesizers that nothing needs."""
        with none_left(self.store, self.dataset, "-"):
            gone = {run.manifest.path for run in found.runs}
            needed = {run.fingerprint for run in runs_of(self.store, self.dataset) if run.manifest.path not in gone}
            over = {version.version for version, _ in found.versions}
            versions = self.register.versions(self.dataset)
            needed |= {
                v.fingerprint for v in versions if v.version not in over and v.state is not VersionState.COLLECTED
            }
            stems = {fingerprint[:16] for fingerprint in needed}
            for info in list(self.store.list(f"models/{self.dataset}")):
                if info.path.rpartition("/")[2].split("-")[0] not in stems:
                    self._delete("models", [info.path])

    def _trace(self) -> Trace:
        if not len(self.persons):
            return Trace(self.dataset)
        return trace(self.settings, self.dataset, self.touched, self.persons, self.clean, self.stands, self.contracts)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        what = f"erasing what was made as {self.dataset}"
        with (
            locked(self.settings.locks / f"{self.dataset}-synthesis.lock", LOCK_WAIT_S, what),
            locked(self.settings.locks / f"{self.dataset}-validation.lock", LOCK_WAIT_S, what),
            locked(self.settings.locks / f"{self.dataset}.lock", LOCK_WAIT_S, what),
        ):
            yield

    def _remove(self, found: Trace) -> list[str]:
        """Do steps 2 to 4; return the names of versions whose files are held."""
        acting = _acting(self.settings, self.batch) if found.versions else None
        for version in found.published:  # 2
            assert acting is not None
            acting.withdraw(self.dataset, version.version, acting.by.reason)
        for run in (*found.runs, *found.bare):  # 3
            self._delete("views", run.views)
        self._clear(found)
        held = self._holding(found, acting)
        sheltered = {path for version, release in found.versions if version.name in held for path in _of(release)}
        for version, release in found.versions:
            if version.name not in held:
                self._delete("rows", (entry.path for entry in release.files))
                self._delete("evidence", [*self._reports(version), release.evidence.path])
        for run in found.runs:
            if run.manifest.path not in sheltered:
                self._delete("rows", run.files)
                self._delete("evidence", (path for path in run.evidence if path != run.manifest.path))
                self._delete("manifests", [run.manifest.path])
        for version, _ in found.versions:  # 4
            if version.name not in held and acting is not None:
                self.register.collected(self.dataset, version.version, acting.by)
        return sorted(held)

    def _holding(self, found: Trace, acting: Operator | None) -> set[str]:
        """Return the names of versions whose files somebody holds; the others are condemned: nobody can any more."""
        held = set()
        for version, _ in found.versions:
            assert acting is not None
            over = version.state is VersionState.COLLECTED
            if not over and not self.register.condemn(self.dataset, version.version, acting.by):
                held.add(version.name)
        return held

    def _reports(self, version: DatasetVersion) -> Iterator[str]:
        for info in list(self.store.list(f"evidence/{self.dataset}/reports")):
            if info.path.rpartition("/")[2].startswith(f"{version.version:08d}-"):
                yield info.path

    def _delete(self, kind: str, paths: Iterable[str]) -> None:
        for path in paths:
            self.deleted[kind] += self.store.delete(path)

    def _event(self, count: int) -> Event:
        what = {"dataset": self.dataset, "count": count, "reason": self.batch.reason}
        return event(self.settings, Action.ERASE, self.dataset, **what, facts={"batch": self.batch.name})  # type: ignore[arg-type]

    def _done(self, step: str, content: Mapping[str, Any], by: Event) -> None:
        full = f"{self.name}/{self.dataset}" + (f"/{step}" if step else "")
        self.erasures.done(self.batch.name, full, content, replace(by, facts={**by.facts, "step": full}))


def _acting(settings: Settings, batch: Batch) -> Operator:
    made = operator(settings)
    return replace(made, by=replace(made.by, reason=f"erasure {batch.name}"))


def _of(release: Release) -> tuple[str, str]:
    return release.source.path, release.evidence.path


def _counts(dataset: str, found: Trace) -> dict[str, Any]:
    """Return what was found of a dataset, as counts, numbers of versions and names of manifests."""
    return {
        "dataset": dataset,
        "versions": [version.version for version, _ in found.versions],
        "withdrawn": [version.version for version in found.published],
        "kept": [version.version for version in found.kept],
        "runs": len(found.runs) + len(found.bare),
        "renew": found.newest,
        TAKEN: taken(found),
        "objects": {
            "views": sum(len(run.views) for run in (*found.runs, *found.bare)),
            "models": 0,  # told as they go
            "rows": len({path for run in found.runs for path in run.files} | _released(found)),
            "evidence": sum(len(run.evidence) for run in found.runs),
            "manifests": len(found.runs),
        },
    }


def _released(found: Trace) -> set[str]:
    return {entry.path for _, release in found.versions for entry in release.files}


def _together(
    first: Mapping[str, Any], now: Mapping[str, Any], deleted: Mapping[str, int], held: list[str]
) -> dict[str, Any]:
    """Return what one dataset's step records: what was found before a kill and after it, and what went."""
    numbers = {name: sorted({*first[name], *now[name]}) for name in ("versions", "withdrawn", "kept")}
    objects = {kind: max(first["objects"][kind], deleted[kind]) for kind in KINDS}
    renew = bool(first["renew"] or now["renew"])
    return {
        **first,
        **numbers,
        TAKEN: sorted({*first.get(TAKEN, ()), *now[TAKEN]}),
        "runs": max(first["runs"], now["runs"]),
        "renew": renew,
        "objects": objects,
        "held": held,
    }
