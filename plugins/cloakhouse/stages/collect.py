"""The collector: removes files that no version, tag, hold or unfinished run needs, once their readers had their grace.

For each dataset, under its lock, so that nothing is published or rewritten meanwhile:

1. the releases of all versions that are needed are read and verified; one that can't be stops the dataset here;
2. each version that is due (`cloakhouse.stages.collect_choice`) is condemned in the control database: from then on
   nobody can hold it, and the next collector goes on with it if this one is killed;
3. what is going to be removed is written into the evidence, and recorded in the audit log;
4. it is removed, file by file;
5. the versions whose files are gone become `collected`.

Files that no release lists are looked at only while no synthesis of the dataset runs, no rewrite of its keys, and while
no file is missing that a version needs.
Releases, manifests and evidence stay, so that every later reader is told what became of a version.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cloakhouse.contracts.model import Kind
from cloakhouse.contracts.parser import QUERIES, load_contracts
from cloakhouse.errors import CloakhouseError, StageError
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.release_checks import ZONES
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, failures_recorded, record
from cloakhouse.stages.collect_choice import SHORTEST_LEFTOVER, UNLISTED, Choice, Going, due
from cloakhouse.stages.rewrite_job import RewriteJob
from cloakhouse.stages.version_checks import check_register

GRACE = dt.timedelta(hours=24)
LOCK_WAIT_S = 600.0
REPORTS = "evidence/collections"


@dataclass
class Pile:
    """What goes of one folder for one reason, or one model."""

    path: str
    why: str
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Collected:
    """What one collection removed; of a dry run, what it would.

    Attributes:
        piles: by folder and reason.
        versions: names of those that became collected.
        left: why files of a dataset that no release lists were not looked at, by dataset.
        failed: what stopped a dataset, by its name (or that of a version whose release can't be read).
        report: in the evidence; None of a dry run.
    """

    piles: tuple[Pile, ...]
    versions: tuple[str, ...]
    left: dict[str, str]
    failed: dict[str, CloakhouseError]
    report: ManifestRef | None

    @property
    def files(self) -> int:
        """Files of all piles."""
        return sum(pile.files for pile in self.piles)

    @property
    def bytes(self) -> int:
        """Bytes of all piles."""
        return sum(pile.bytes for pile in self.piles)

    def as_dict(self) -> dict[str, Any]:
        """Return the result, JSON-ready."""
        return {
            "files": self.files,
            "bytes": self.bytes,
            "versions": list(self.versions),
            "piles": [asdict(pile) for pile in self.piles],
            "left": dict(self.left),
            "failed": {name: problem.code for name, problem in self.failed.items()},
            "report": self.report.as_dict() if self.report else None,
        }


def collect(
    settings: Settings, *, dry_run: bool, grace: dt.timedelta = GRACE, datasets: Iterable[str] | None = None
) -> Collected:
    """Remove what nobody needs of `datasets` (default: all), and return what was removed.

    Whoever opened a version before it was withdrawn or expired has `grace` to read it. A dataset that can't be
    collected is in `failed` and keeps no other waiting. Raises AccessRefused for an identity that isn't enrolled,
    ContractError, KeyServiceError, StorageError.
    """
    work = _Collector(settings, dry_run, grace)
    names = sorted(set(datasets)) if datasets is not None else work.known()
    for number, name in enumerate(names, start=1):
        try:
            work.collect(name)
        except CloakhouseError as problem:
            work.failed[name] = problem
            work.progress.trouble(problem.explain())
        work.progress.step(number, len(names), "datasets")
    return work.result()


@dataclass
class _Collector:
    """One collection."""

    settings: Settings
    dry_run: bool
    grace: dt.timedelta
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    piles: list[Pile] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    failed: dict[str, CloakhouseError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.register = VersionRegister(self.settings.database)
        self.store = open_store(self.settings)
        self.progress = Progress.of("collect", "all")
        self.by = event(self.settings, Action.DELETE, "files")

    def known(self) -> list[str]:
        """Return every dataset that may have files: those of contracts, and those that have versions."""
        contracts = load_contracts(self.settings.contracts).values()
        published = {contract.name for contract in contracts if contract.kind is not Kind.FEED}
        return sorted(published | set(self.register.datasets()) | {QUERIES})

    def collect(self, dataset: str) -> None:
        """Do steps 1 to 5 for one dataset; of a dry run, 1 alone. What stops it is recorded."""
        check_register(self.store, self.register, dataset)
        with contextlib.ExitStack() as stack:
            if not self.dry_run:
                stack.enter_context(failures_recorded(self.settings, replace(self.by, object=dataset, dataset=dataset)))
            if not self.dry_run:
                stack.enter_context(locked(self._lock(dataset), LOCK_WAIT_S, f"collecting {dataset}"))
            young = self._young(dataset, stack)
            gone = due(self.register, dataset, self.now - self.grace)
            choice = Choice.of(self.settings, self.store, self.register, gone, dataset, young)  # 1
            self.failed |= choice.unreadable
            if self.dry_run:
                self.piles += self._chosen(choice)
                return
            condemned = [v for v in gone if self.register.condemn(dataset, v.version, self.by)]  # 2
            if condemned != gone:  # held since
                choice = Choice.of(self.settings, self.store, self.register, condemned, dataset, young)
            piles = self._chosen(choice)
            if piles:
                self._write_plan(dataset, condemned, piles)  # 3
                for item in choice.going():  # 4
                    self.store.delete(item.path)
            self.piles += piles
            for version in condemned:  # 5
                if version.name not in choice.unreadable:
                    self.register.collected(dataset, version.version, self.by)
                    self.versions.append(version.name)
            if choice.young is not None:
                for zone in ZONES:
                    self.store.clear_leftovers(f"{zone}/{dataset}", max(self.grace, SHORTEST_LEFTOVER))

    def result(self) -> Collected:
        """Return what was done; unless this was a dry run, it is in the evidence."""
        done = Collected(tuple(self.piles), tuple(self.versions), self.left, self.failed, None)
        if self.dry_run:
            return done
        content = {"at": self.now.isoformat(), "grace_s": self.grace.total_seconds(), "actor": self.by.actor}
        report = write_manifest(self.store, REPORTS, "collection", {**content, **done.as_dict()})
        self.progress.finish(f"{done.files:,} files removed, {len(done.versions)} versions collected", files=done.files)
        return Collected(done.piles, done.versions, done.left, done.failed, report)

    def _young(self, dataset: str, stack: contextlib.ExitStack) -> dt.datetime | None:
        """Return since when a file that no release lists is left; None leaves all of them, and says why."""
        try:
            if not self.dry_run:
                lock = self._lock(f"{dataset}-synthesis")
                stack.enter_context(locked(lock, 0.0, f"collecting {dataset}"))
        except StageError:
            self.left[dataset] = "a synthesis is at work"
            return None
        if any(key.dataset == dataset for job in RewriteJob.all(self.settings.home) for key in job.targets):
            self.left[dataset] = "a rewrite of its keys is not finished"
            return None
        return self.now - max(self.grace, SHORTEST_LEFTOVER)

    def _chosen(self, choice: Choice) -> list[Pile]:
        """Return what goes; without the files that no release lists where one that a version needs is missing."""
        piles = list(_piles(choice.going()))
        if choice.young is None or not choice.incomplete:
            return piles
        self.left[choice.dataset] = "a file that a version needs is missing"
        choice.young = None
        return list(_piles(choice.going()))

    def _lock(self, name: str) -> Any:
        return self.settings.home / "locks" / f"{name}.lock"

    def _write_plan(self, dataset: str, versions: Sequence[DatasetVersion], piles: Sequence[Pile]) -> None:
        content = {
            "dataset": dataset,
            "at": self.now.isoformat(),
            "versions": [version.name for version in versions],
            "piles": [asdict(pile) for pile in piles],
        }
        plan = write_manifest(self.store, f"{REPORTS}/{dataset}", "plan", content)
        files, size = sum(pile.files for pile in piles), sum(pile.bytes for pile in piles)
        facts: dict[str, str | int] = {"bytes": size, "plan": plan.sha256, "versions": len(versions)}
        record(self.settings, replace(self.by, object=dataset, dataset=dataset, count=files, facts=facts))


def _piles(items: Iterable[Going]) -> Iterator[Pile]:
    """Yield what goes, added up: files by folder and reason, which come together."""
    pile: Pile | None = None
    others: dict[str, Pile] = {}
    for item in items:
        path = item.path if item.path.endswith(".model") else item.folder
        if pile is not None and pile.path != path:
            yield from (pile, *others.values())
            pile, others = None, {}
        if pile is None:
            pile = Pile(path, item.why)
        into = pile if pile.why == item.why else others.setdefault(item.why, Pile(path, item.why))
        into.files += 1
        into.bytes += item.bytes
    if pile is not None:
        yield from (pile, *others.values())


__all__ = ["GRACE", "UNLISTED", "Collected", "Pile", "collect"]
