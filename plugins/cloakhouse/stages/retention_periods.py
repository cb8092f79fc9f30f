"""Keys of periods: what was written in a month opens with that month's version of its dataset key, until that is shred.

A dataset key has versions, and the newest one wraps. So each calendar month (UTC) gets a version of its own:

1. `begin`: a dataset key of a zone with personal rows whose newest version is of an earlier month gets a new one. From
   then on nothing is wrapped under the old one, but what it wrapped opens with it as before;
2. `end`: once retention has passed for whatever may have been written before a version's successor was made, the lists
   of objects and their headers tell which versions are still needed. Those below the oldest one are destroyed, under
   the dataset's lock, recorded before;
3. shares of dataset keys for roles hold copies of each version: they are written anew without the destroyed ones.

A copy of a deleted file, wherever it lies, doesn't open any more, for anybody, with any grant. What would open it is a
copy of the file in `dataset-keys` (or of a share) from before, together with a master key version that still is there:
destroy such backups with their period, or the master key's version.

Killed anywhere, the next call does what is left. A file that can't be read keeps its dataset's keys (fail closed).
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import FILE, KeyState
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.shares import Shares
from cloakhouse.lake.landed import key_version
from cloakhouse.lake.reencryption import key_versions
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, record
from cloakhouse.stages.retention_plan import LANDING, PROTECTED, QUARANTINE, VIEWS, view_days
from cloakhouse.stages.rewrite_job import RewriteJob
from cloakhouse.stages.rotation import landed_objects

ZONES = (LANDING, QUARANTINE, PROTECTED, VIEWS)
LOCK_WAIT_S = 600.0


@dataclass(frozen=True)
class Shredded:
    """Versions of one dataset key that were destroyed: how many, below which one."""

    key: str
    versions: int
    below: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def end_periods(settings: Settings, contracts: Mapping[str, Contract], now: dt.datetime) -> tuple[Shredded, ...]:
    """Begin the period of `now` and destroy the keys of those whose time is over; return what was destroyed.

    A dataset that fails keeps no other waiting; the first failure is raised at the end: KeyServiceError, AccessRefused,
    IntegrityError (a file whose header can't be read), StorageError, StageError (a dataset is busy).
    """
    ring, done, problems = open_ring(settings), list[Shredded](), list[CloakhouseError]()
    begin(ring, now)
    for (zone, dataset), files in _by_dataset(ring).items():
        days = _days(contracts, zone, dataset)
        if days is None or not any(_is_over(file, now - dt.timedelta(days=days)) for file in files):
            continue
        try:
            done += _ended(settings, ring, zone, dataset)
        except CloakhouseError as problem:
            problems.append(problem)
    shares = Shares(settings.key_shares)
    for master in sorted({share.key.master for share in shares.all()}):
        shares.renew(ring, master)
    for first in problems:
        raise first
    return tuple(done)


def begin(ring: KeyRing, now: dt.datetime) -> list[DatasetKey]:
    """Give each dataset key whose newest version is of an earlier month than `now` a new version; return these."""
    begun = []
    enabled = {name for name in ring.service.names() if ring.service.describe(name).state is KeyState.ENABLED}
    for files in _by_dataset(ring).values():
        for file in files:
            made = file.versions[-1].created.astimezone(dt.UTC)
            if (made.year, made.month) < (now.year, now.month) and file.key.master in enabled:
                ring.rotate(file.key)
                begun.append(file.key)
    return begun


def _by_dataset(ring: KeyRing) -> dict[tuple[str, str], list[DatasetKeyFile]]:
    """Return the dataset keys that have periods and were not destroyed, by zone and dataset."""
    found: dict[tuple[str, str], list[DatasetKeyFile]] = {}
    for file in ring.all():
        if file.key.zone in ZONES and file.state is not KeyState.DESTROYED:
            found.setdefault((file.key.zone, file.key.dataset), []).append(file)
    return found


def _days(contracts: Mapping[str, Contract], zone: str, dataset: str) -> int | None:
    contract = contracts.get(dataset)
    if contract is None:
        return None
    return view_days(contract, contracts) if zone == VIEWS else contract.retention_days.get(zone)


def _is_over(file: DatasetKeyFile, before: dt.datetime) -> bool:
    """Return whether the oldest version's successor was made `before`: then all that it wrapped has expired."""
    return len(file.versions) > 1 and file.versions[1].created <= before


def _ended(settings: Settings, ring: KeyRing, zone: str, dataset: str) -> list[Shredded]:
    done = []
    with _alone(settings, zone, dataset):
        if any(
            key.zone == zone and key.dataset == dataset for job in RewriteJob.all(settings.home) for key in job.targets
        ):
            return []  # it destroys old versions itself, when the readers of old files had their grace
        store = open_store(settings)
        needed = _needed(store, ring, zone, dataset)
        for file in _by_dataset(ring)[zone, dataset]:
            below = min(needed.get(file.key, file.newest), file.newest)
            old = sum(version.version < below for version in file.versions)
            if old:
                facts: dict[str, str | int] = {"below": below, "versions": old, "zone": zone}
                by = event(settings, Action.SHRED_KEY, file.key.name, dataset=dataset, count=old, facts=facts)
                record(settings, replace(by, reason="the retention of its period has passed"))
                done.append(Shredded(file.key.name, ring.retire(file.key, below), below))
    return done


def _needed(store: ObjectStore, ring: KeyRing, zone: str, dataset: str) -> dict[DatasetKey, int]:
    """Return the oldest version of each dataset key that an object of the zone needs."""
    found: dict[DatasetKey, int] = {}
    if zone == LANDING:
        key = DatasetKey(LANDING, FILE, dataset)
        for target in landed_objects(store, dataset):
            found[key] = min(key_version(store, target), found.get(key, 1 << 62))
        return found
    for info in store.list(f"{zone}/{dataset}"):
        if info.path.endswith(".parquet"):
            for used, version in key_versions(store, info.path, ring).items():
                found[used] = min(version, found.get(used, version))
    return found


@contextlib.contextmanager
def _alone(settings: Settings, zone: str, dataset: str) -> Iterator[None]:
    """Keep those away who write in the zone."""
    names: Sequence[str] = (f"{dataset}-synthesis",) if zone == VIEWS else (dataset,)
    with contextlib.ExitStack() as stack:
        for name in names:
            lock = settings.home / "locks" / f"{name}.lock"
            stack.enter_context(locked(lock, LOCK_WAIT_S, f"ending keys of {dataset}"))
        yield
