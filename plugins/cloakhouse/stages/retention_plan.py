"""What is kept how long: every delivery, partition, version and view with the day on which its contract lets it go.

| zone | kept | counts from |
| --- | --- | --- |
| landing | each delivered file, superseded ones too | the time at which it landed |
| quarantine, protected | each partition | the time at which the delivery landed that it was made from |
| synthetic, aggregates | each version | its publication; what a name or tag stands for, and what is held, stays |
| views | training rows and hold-out of a run | when they were written; the shortest of what they come from or serve |

It counts from landing and not from the partition's date, so that a backfill is not deleted as it arrives; nothing that
is done with a delivery later (another contract version, erasures, other keys) prolongs it. Answers to queries that
stand in no contract are kept as long as the protected rows of the feeds that have a budget for them.

Nothing is read but manifests, rows of the control database and lists of objects.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.parser import QUERIES, load_contracts
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister, VersionState
from cloakhouse.settings import Settings

LANDING, QUARANTINE, PROTECTED, VIEWS = "landing", "quarantine", "protected", "views"
ZONES_OF = {
    Kind.FEED: (LANDING, QUARANTINE, PROTECTED),
    Kind.SYNTHETIC: ("synthetic",),
    Kind.AGGREGATE: ("aggregates",),
}


class State(StrEnum):
    """Whether something goes."""

    LATER = "later"  # its day is still to come
    DUE = "due"
    KEPT = "kept"  # its day has passed, and a name, a tag or a hold keeps it


@dataclass(frozen=True)
class Item:
    """One thing that is kept for a time.

    Attributes:
        name: `2017-01-02/1` (partition and revision), `2017-01-02`, `baskets@3`, or the folder of a run's views.
        since / due: UTC.
        rows: as the control database counts them; 0 where it doesn't (views).
        why: what keeps it past its day; empty else.
    """

    dataset: str
    zone: str
    name: str
    since: dt.datetime
    due: dt.datetime
    rows: int
    state: State
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {**vars(self), "since": self.since.isoformat(), "due": self.due.isoformat(), "state": self.state.value}


def plan(settings: Settings, now: dt.datetime, days: int = 0) -> list[Item]:
    """Return what is due `now` or within `days`, in the order of its day. Raises ContractError, StorageError."""
    contracts = load_contracts(settings.contracts)
    found = [item for part in (_feeds, _versions, _views) for item in part(settings, contracts, now)]
    until = now + dt.timedelta(days=days)
    return sorted((i for i in found if i.due <= until), key=lambda i: (i.due, i.dataset, i.zone, i.name))


def undeclared(contracts: Mapping[str, Contract]) -> list[tuple[str, str]]:
    """Return the (dataset, zone) pairs for which no contract says how long they are kept, in order."""
    return [
        (name, zone)
        for name, contract in sorted(contracts.items())
        for zone in ZONES_OF[contract.kind]
        if zone not in contract.retention_days
    ]


def view_days(contract: Contract, contracts: Mapping[str, Contract]) -> int | None:
    """Return how many days the views of a synthetic dataset are kept, None where no contract says."""
    own = [contract.retention_days.get("synthetic")]
    found = [*own, *(contracts[source].retention_days.get(PROTECTED) for source in contract.sources)]
    return min((days for days in found if days is not None), default=None)


def version_days(contracts: Mapping[str, Contract]) -> dict[str, int]:
    """Return how many days versions are kept, by dataset."""
    found: dict[str, int] = {}
    for name, contract in contracts.items():
        for zone in ZONES_OF[contract.kind] if contract.kind is not Kind.FEED else ():
            if zone in contract.retention_days:
                found[name] = contract.retention_days[zone]
    budgeted = [c.retention_days.get(PROTECTED) for c in contracts.values() if c.privacy_budget is not None]
    answers = min((days for days in budgeted if days is not None), default=None)
    return found if answers is None else {**found, QUERIES: answers}


def _feeds(settings: Settings, contracts: Mapping[str, Contract], now: dt.datetime) -> Iterator[Item]:
    catalogue, store = Catalogue(settings.database), open_store(settings)
    for name, contract in contracts.items():
        if contract.kind is not Kind.FEED:
            continue
        keep = {zone: dt.timedelta(days=days) for zone, days in contract.retention_days.items()}
        landed: dict[tuple[str, str], dt.datetime] = {}
        for partition, revisions in catalogue.deliveries(name).items():
            for d in revisions:
                landed[partition, d.sha256] = d.landed_at
                if LANDING in keep and d.expired_at is None:
                    label = f"{partition}/{d.revision}"
                    yield _item(name, LANDING, label, d.landed_at, keep[LANDING], d.rows, now)
        with_quarantine = {info.path.split("/")[2] for info in store.list(f"{QUARANTINE}/{name}")}
        for partition, row in catalogue.protected(name).items():
            since = landed[partition, row.delivery_sha256]
            if PROTECTED in keep:
                yield _item(name, PROTECTED, partition, since, keep[PROTECTED], row.rows, now)
            if QUARANTINE in keep and partition in with_quarantine:
                yield _item(name, QUARANTINE, partition, since, keep[QUARANTINE], row.quarantined, now)


def _versions(settings: Settings, contracts: Mapping[str, Contract], now: dt.datetime) -> Iterator[Item]:
    register = VersionRegister(settings.database)
    held = {(hold.dataset, hold.version) for hold in register.holds()}
    for name, days in version_days(contracts).items():
        for version in register.versions(name):
            if version.state is VersionState.PUBLISHED:
                why = _kept_by(version, (name, version.version) in held)
                keep = dt.timedelta(days=days)
                yield _item(name, version.zone, version.name, version.published_at, keep, version.rows, now, why)


def _kept_by(version: DatasetVersion, held: bool) -> str:
    if held:
        return "it is held"
    if version.tags:
        return "it is tagged " + ", ".join(version.tags)
    return "the name stands for it" if version.head else ""


def _views(settings: Settings, contracts: Mapping[str, Contract], now: dt.datetime) -> Iterator[Item]:
    store = open_store(settings)
    for name, contract in contracts.items():
        days = view_days(contract, contracts) if contract.kind is Kind.SYNTHETIC else None
        if days is None:
            continue
        newest: dict[str, dt.datetime] = {}
        for info in store.list(f"{VIEWS}/{name}"):
            run = info.path.rpartition("/")[0]
            newest[run] = max(info.modified, newest.get(run, info.modified))
        for run, written in newest.items():
            yield _item(name, VIEWS, run.rpartition("/")[2], written, dt.timedelta(days=days), 0, now)


def _item(
    dataset: str,
    zone: str,
    name: str,
    since: dt.datetime,
    keep: dt.timedelta,
    rows: int,
    now: dt.datetime,
    why: str = "",
) -> Item:
    due = since + keep
    state = State.LATER if due > now else State.KEPT if why else State.DUE
    return Item(dataset, zone, name, since, due, rows, state, why)
