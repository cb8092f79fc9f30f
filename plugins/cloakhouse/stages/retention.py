"""Retention: what its contract lets go is deleted, zone by zone, and then the keys of periods that nothing needs.

For each thing that is due (`cloakhouse.stages.retention_plan`), under the lock of its dataset, which landing,
pseudonymization, erasures and rewrites take, too:

1. it is read again as it stands; where it holds rows of a person who is held it waits (`retention_holds`), and is told;
2. the control database says that it is expired, with the event of the audit log, in one transaction: from then on
   nobody looks for it, and that it was there stays known, so that the same file delivered again doesn't land again;
3. its objects are deleted. Manifests stay: counts, names and digests, from which later readers see what was there.

Killed anywhere, the next call goes on: before 2 it starts over, after it step 3 is done for all that is expired.

4. versions expire as they do by `cloakhouse expire`, and the collector removes their files after its grace;
5. views are deleted, recorded before; no row of the control database points to them;
6. keys: `cloakhouse.stages.retention_periods`.

A dataset that fails keeps no other waiting. Every call leaves a report in the evidence.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, failures_recorded, record
from cloakhouse.stages.collect import collect
from cloakhouse.stages.retention_feeds import Feeds, Outcome, told
from cloakhouse.stages.retention_periods import Shredded, end_periods
from cloakhouse.stages.retention_plan import VIEWS, Item, State, plan
from cloakhouse.stages.version_changes import Operator, operator

LOCK_WAIT_S = 600.0
REPORTS = "evidence/retention"


@dataclass(frozen=True)
class Kept:
    """What one call did; of a dry run, what it would.

    Attributes:
        gone: what was deleted, or expired.
        held: what waits for a hold on a person to be lifted.
        kept: what a name, a tag or a hold on a version keeps.
        shredded: versions of dataset keys that were destroyed.
        failed: what stopped a dataset, or a step (`collector`, `keys`), by its name.
        report: in the evidence; None of a dry run.
    """

    gone: tuple[Item, ...]
    held: tuple[Item, ...]
    kept: tuple[Item, ...]
    shredded: tuple[Shredded, ...]
    failed: dict[str, CloakhouseError]
    report: ManifestRef | None

    def as_dict(self) -> dict[str, Any]:
        """Return the result, JSON-ready."""
        lists = {name: [item.as_dict() for item in getattr(self, name)] for name in ("gone", "held", "kept")}
        shredded = [one.as_dict() for one in self.shredded]
        codes = {name: problem.code for name, problem in self.failed.items()}
        report = self.report.as_dict() if self.report else None
        return {**lists, "shredded": shredded, "failed": codes, "report": report}


def keep(settings: Settings, *, dry_run: bool = False, now: dt.datetime | None = None) -> Kept:
    """Delete what is due by `now` (UTC; default: this moment) and return what was done.

    Raises AccessRefused for an identity that isn't enrolled, ContractError, KeyServiceError, StorageError before
    anything is deleted; what stops a dataset after that is in `failed`.
    """
    work = _Keeper(settings, now or dt.datetime.now(dt.UTC))
    if dry_run:
        return work.dry()
    work.operator = operator(settings)  # whoever may not change versions deletes nothing
    for name in sorted(work.contracts):
        work.guarded(name, lambda name=name: work.dataset(work.contracts[name]))  # type: ignore[misc]
    work.guarded("versions", work.expire_versions)
    work.guarded("collector", work.collect)
    work.guarded("keys", work.end_periods)
    return work.result()


@dataclass
class _Keeper:
    """One call."""

    settings: Settings
    now: dt.datetime
    gone: list[Item] = field(default_factory=list)
    held: list[Item] = field(default_factory=list)
    shredded: tuple[Shredded, ...] = ()
    failed: dict[str, CloakhouseError] = field(default_factory=dict)
    operator: Operator = field(init=False)

    def __post_init__(self) -> None:
        self.contracts = load_contracts(self.settings.contracts)
        self.store = open_store(self.settings)
        self.feeds = Feeds.of(self.settings)
        self.by = event(self.settings, Action.EXPIRE, "retention")
        self.progress = Progress.of("retention", "all")
        self.due = plan(self.settings, self.now)

    def guarded(self, name: str, work: Callable[[], object]) -> None:
        """Do `work`; a failure is recorded, and told, and the next one goes on."""
        named = name if name in self.contracts else ""
        try:
            with failures_recorded(self.settings, replace(self.by, object=name, dataset=named)):
                work()
        except CloakhouseError as problem:
            self.failed[name] = problem
            self.progress.trouble(problem.explain())

    def dataset(self, contract: Contract) -> None:
        """Do steps 1 to 3 for a feed, 5 for a synthetic dataset."""
        mine = [item for item in self.due if item.dataset == contract.name and item.state is State.DUE]
        if contract.kind is Kind.FEED:
            for item in mine:
                with self._locked(contract.name):
                    outcome = self.feeds.expire(contract, item, self.by, self.now)
                    (self.held if outcome is Outcome.HELD else self.gone).extend([item] * (outcome is not Outcome.NONE))
            left = self.feeds.objects.left(contract.name)  # of a call that was killed
            if left:
                with self._locked(contract.name):
                    self.feeds.objects.remove(left)
        elif contract.kind is Kind.SYNTHETIC:
            self._views(contract.name, [item for item in mine if item.zone == VIEWS])

    def expire_versions(self) -> None:
        """Do step 4, of all datasets."""
        versions = [i for i in self.due if "@" in i.name and i.state is State.DUE]
        for dataset in dict.fromkeys(item.dataset for item in versions):
            mine = {int(i.name.partition("@")[2]): i for i in versions if i.dataset == dataset}
            days = {(i.due - i.since).days for i in mine.values()}
            self.operator.expire(dataset, sorted(mine), f"kept for {max(days)} days by its contract")
            self.gone += mine.values()

    def collect(self) -> None:
        """Have the collector remove the files of versions whose readers had their grace."""
        for problem in collect(self.settings, dry_run=False).failed.values():
            raise problem

    def end_periods(self) -> None:
        """Do step 6."""
        self.shredded = end_periods(self.settings, self.contracts, self.now)

    def dry(self) -> Kept:
        """Return what would be done; held persons are looked for, and nothing is changed."""
        for item in self.due:
            if item.state is State.DUE:
                (self.held if self._is_held(item) else self.gone).append(item)
        return Kept(tuple(self.gone), tuple(self.held), self._kept(), (), {}, None)

    def result(self) -> Kept:
        """Return what was done, once it is in the evidence."""
        done = Kept(tuple(self.gone), tuple(self.held), self._kept(), self.shredded, self.failed, None)
        report = write_manifest(self.store, REPORTS, "retention", {"at": self.now.isoformat(), **done.as_dict()})
        self.progress.finish(
            f"{len(self.gone)} expired, {len(self.held)} wait for a hold, {len(self.shredded)} keys ended",
            expired=len(self.gone),
            held=len(self.held),
        )
        return replace(done, report=report)

    def _kept(self) -> tuple[Item, ...]:
        return tuple(item for item in self.due if item.state is State.KEPT)

    def _is_held(self, item: Item) -> bool:
        contract = self.contracts.get(item.dataset)
        return contract is not None and contract.kind is Kind.FEED and self.feeds.is_held(contract, item)

    def _views(self, dataset: str, items: Sequence[Item]) -> None:
        """Delete the views of runs; nothing is fitted or validated meanwhile."""
        for item in items:
            lock = self.settings.home / "locks" / f"{dataset}-synthesis.lock"
            with locked(lock, LOCK_WAIT_S, f"retention of views of {dataset}"):
                paths = [info.path for info in self.store.list(f"{VIEWS}/{dataset}/{item.name}")]
                record(self.settings, told(self.by, item, len(paths)))
                for path in paths:
                    self.store.delete(path)
            self.gone.append(item)

    def _locked(self, dataset: str) -> AbstractContextManager[None]:
        return locked(self.settings.home / "locks" / f"{dataset}.lock", LOCK_WAIT_S, f"retention of {dataset}")
