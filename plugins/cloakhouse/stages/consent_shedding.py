"""What the consent register gives up: persons who are erased, and snapshots that nothing refers to any more.

An erasure (`forget_persons`), under the lock that pinning takes, too, in this order:

1. every choice of the persons is removed from the register: no later snapshot has them;
2. every snapshot that lists one of them is written anew without them, and stands under its old digest: what was pinned
   to it still names it, and finds fewer persons there;
3. what lies in the folder and no snapshot names is deleted: the old lists, and what killed processes left.

Killed anywhere, the next call finds what is left to do by itself. `shed` drops whole snapshots: those that are neither
the newest of their purpose, nor young enough for a run under any contract, nor what a published version was made under
(`cloakhouse.stages.consent_due` asks who has withdrawn since). A digest in a manifest then stands for itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.consent_model import Snapshot
from cloakhouse.ledger.consent_snapshots import ConsentSnapshots
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.ledger.versions import VersionRegister, VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages.consent import FOLDER, KIND, LOCK, LOCK_WAIT_S, YOUNG, allowed_of, written
from cloakhouse.stages.leftovers import remove_others
from cloakhouse.stages.version_checks import open_release


@dataclass(frozen=True)
class Forgotten:
    """What an erasure took out: rows of the register, and snapshots that were written anew."""

    choices: int
    snapshots: int


def forget_persons(settings: Settings, persons: pa.Array, by: Event | None = None) -> Forgotten:
    """Take `persons` (rights tokens) out of the register and of every snapshot, in the lake, too; say how much it was.

    `by`, where given, is recorded with the number of choices, when there were any. Idempotent. Raises IntegrityError,
    KeyServiceError, AccessRefused, StorageError, StageError (pinning is busy for ten minutes).
    """
    with _alone(settings, "taking persons out of the consent register"):
        choices = ConsentRegister(settings.database).remove(persons, by)
        snapshots = ConsentSnapshots(settings.database)
        anew = sum(_without(settings, snapshots, snapshot, persons) for snapshot in snapshots.all())
        _clear(settings, snapshots)
    return Forgotten(choices, anew)


def listed_persons(settings: Settings, persons: pa.Array) -> int:
    """Return how many snapshots still list one of `persons` (rights tokens): what a closing search asks."""
    kept = ConsentSnapshots(settings.database).all()
    return sum(bool(_among(allowed_of(settings, one.manifest), persons)) for one in kept)


def shed(settings: Settings, now: dt.datetime | None = None) -> int:
    """Drop the snapshots that nothing refers to, with their lists; return how many. Raises as `forget_persons`."""
    at = now or dt.datetime.now(dt.UTC)
    with _alone(settings, "shedding consent snapshots"):
        snapshots = ConsentSnapshots(settings.database)
        kept = snapshots.all()
        newest = {snapshot.purpose: snapshot.sha256 for snapshot in kept}
        needed = set(newest.values()) | _referred(settings)
        oldest = at - _longest(settings)
        gone = [snapshot for snapshot in kept if snapshot.as_of < oldest and snapshot.sha256 not in needed]
        for snapshot in gone:
            snapshots.remove(snapshot)
        _clear(settings, snapshots)
    return len(gone)


@contextmanager
def _alone(settings: Settings, what: str) -> Iterator[None]:
    with locked(settings.locks / LOCK, LOCK_WAIT_S, what):
        yield


def _without(settings: Settings, snapshots: ConsentSnapshots, snapshot: Snapshot, persons: pa.Array) -> bool:
    listed = allowed_of(settings, snapshot.manifest)
    if not _among(listed, persons):
        return False
    left = listed.filter(pc.invert(pc.is_in(listed, value_set=persons)))
    return snapshots.replace(snapshot, written(settings, snapshot.purpose, snapshot.sha256, left))


def _among(listed: pa.Array, persons: pa.Array) -> int:
    return int(pc.sum(pc.is_in(listed, value_set=persons)).as_py() or 0)


def _clear(settings: Settings, snapshots: ConsentSnapshots) -> None:
    """Delete what no snapshot names. Nobody writes there: the lock is held."""
    store, named = open_store(settings), set[str]()
    for snapshot in snapshots.all():
        content = read_manifest(store, snapshot.manifest, KIND)
        named |= {snapshot.manifest.path, *(entry["path"] for entry in content["files"])}
    remove_others(store, FOLDER, named)


def _longest(settings: Settings) -> dt.timedelta:
    """Return the age at which no contract lets a run use a snapshot any more."""
    consents = [contract.rights.consent for contract in load_contracts(settings.contracts).values()]
    return max([YOUNG, *(dt.timedelta(days=consent.max_age_days) for consent in consents if consent is not None)])


def _referred(settings: Settings) -> set[str]:
    """Return the snapshots that published versions were made under, by their digests."""
    return {sha256 for _, sha256 in versions_under(settings) if sha256}


def versions_under(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the published versions of all datasets by name, with the digest of the snapshot each was made under; an
    empty one where there was none. Raises IntegrityError, StorageError."""
    store = open_store(settings)
    for version in VersionRegister(settings.database).versions():
        if version.state is VersionState.PUBLISHED:
            source = read_manifest(store, open_release(settings, version).source)
            yield version.name, str(source.get("rights", {}).get("consent", ""))
