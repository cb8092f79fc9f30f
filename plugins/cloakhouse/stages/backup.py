"""Making a backup of an installation: control database, wrapped keys, lake.

1. Every manifest on the shelf is this installation's; an unfinished backup of it is gone on with.
2. The event is recorded. A backup that can't be recorded is not made; one that fails is recorded as failed.
3. The lake is listed, then the control database is read in one snapshot and sealed, row by row: no plain copy of it is
   written. What the database names was in the lake before, since objects are written before the rows that name them.
4. The lake is listed again and every object is sealed. Releases and checkpoints that the snapshot can't know are left
   out: they would show the restored database as one that is older than its lake. So are the lists of persons that a
   Spark job has while it runs, and files whose name is none that the lake gives.
5. The keys are read until two readings agree, so that they are of one moment; then they are sealed.
6. What step 3 found in the lake must still have been there in step 4; where something was removed meanwhile, the backup
   begins again (three times at most), and what is sealed already stays.
7. The signed manifest is created: from then on there is a backup. That it was finished is recorded, with its digest;
   then the notes of step 4 go.

Not in it: the inbox (the senders' files, in plain), `airflow` (its secrets and its own database), caches, locks, and
contracts, policy and suites, which are the checkout's. The identities and the administrator's key of the age keystore
are left out, too, unless they are asked for: who has those and the backup opens everything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version as version_of
from typing import Any

from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.keys.files import locked
from cloakhouse.lake.store.opening import is_folder, open_store
from cloakhouse.lake.store.protocol import ObjectInfo, ObjectStore
from cloakhouse.ledger.audit_event import Action
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import changing, event, record
from cloakhouse.stages.backup_database import Snapshot, snapshot
from cloakhouse.stages.backup_keys import read_keys
from cloakhouse.stages.backup_manifest import (
    DATABASE,
    FULL,
    RIGHTS,
    Backup,
    SealedFile,
    each_backup,
    encode,
    manifest_path,
    recipient_id,
    shelf_of,
)
from cloakhouse.stages.backup_names import is_lasting, is_newer, named
from cloakhouse.stages.backup_notes import Notes
from cloakhouse.stages.backup_sealing import Known, Sealing
from cloakhouse.stages.backup_shelf import check_apart
from cloakhouse.stages.signing import BACKUPS, signing_key

ATTEMPTS = 3
COPIES = 3  # of a file that changes while it is copied
LOCK_WAIT_S = 60.0
Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Wanted:
    """What backup is wanted: where, for whom (an age recipient), and what of the installation."""

    place: str
    recipient: str
    rights_only: bool = False
    identities: bool = False


class _Removed(Exception):
    """Something went from the lake while it was copied."""


def create(settings: Settings, wanted: Wanted, watch: Watch = lambda name, done, total: None) -> Backup:
    """Make a backup and return it.

    Raises ConfigurationError (`configuration.shelf`: a shelf in home or lake), StageError (`stage.busy`: another one is
    being made; `stage.removing`: objects go as fast as they are copied), IntegrityError (a shelf of another
    installation, files that aren't what they must be), KeyServiceError, AccessRefused, StorageError. No manifest stands
    then, unless what fails is recording the end or removing the notes. Killed anywhere, the same call goes on.
    """
    with locked(settings.locks / "backup.lock", LOCK_WAIT_S, "another backup"):
        check_apart(settings, wanted.place)
        signer, shelf = signing_key(settings, BACKUPS), shelf_of(settings, wanted.place)
        known, newest = Known(wanted.recipient), ""
        for backup in each_backup(shelf, signer.public):  # 1
            known.remember(backup)
            newest = max(newest, backup.name)
        name = named(dt.datetime.now(dt.UTC), newest)
        notes = Notes(shelf, signer, _begun(settings, wanted, name))
        facts: dict[str, str | int] = {"kind": notes.begun.kind, "recipient": notes.begun.recipient}
        facts["identities"] = int(wanted.identities)
        making = event(settings, Action.BACK_UP, name, facts=facts)
        with changing(settings, making):  # 2
            done = _whole(settings, Sealing(shelf, known, notes), wanted, watch)
            if not shelf.create(manifest_path(name), encode(done, signer)):  # 7
                raise AssertionError("a name was given twice")
        facts |= {"digest": done.digest, "bytes": sum(one.bytes for one in done.files), "log_size": done.log_size}
        record(settings, replace(making, action=Action.FINISH_BACKUP, count=len(done.files), facts=facts))
        notes.clear()
        Progress.of("backup", name).finish(f"{len(done.files):,} files", files=len(done.files))
        return done


def _whole(settings: Settings, sealing: Sealing, wanted: Wanted, watch: Watch) -> Backup:
    sealing.resume()
    for _ in range(ATTEMPTS):
        sealing.notes.begun = _begun(settings, wanted, sealing.notes.begun.name)
        try:
            return _sealed(settings, sealing, wanted, watch)
        except _Removed:
            continue
    raise _restless()


def _sealed(settings: Settings, sealing: Sealing, wanted: Wanted, watch: Watch) -> Backup:
    store = open_store(settings)
    before = set() if wanted.rights_only else {info.path for info in _listed(store)}  # 3
    with snapshot(settings.database) as found:
        database = sealing.stream(DATABASE, found.lines(), f"databases/{sealing.notes.begun.name}.age")
        stands: dict[str, Any] = {
            name: getattr(found, name) for name in ("revision", "log_size", "log_root", "reserved", "counts")
        }
        stands["at"] = found.at.isoformat()
    files = [database]
    if not wanted.rights_only:
        files += _lake(store, sealing, found, before, watch)  # 4, 6
    files += [sealing.content(f"home/{key.path}", key.content) for key in read_keys(settings, wanted.identities)]  # 5
    ordered = tuple(sorted(files, key=lambda one: one.path))
    return replace(sealing.notes.begun, **stands, files=ordered)


def _lake(
    store: ObjectStore, sealing: Sealing, found: Snapshot, before: set[str], watch: Watch
) -> Iterator[SealedFile]:
    listed = list(_listed(store))
    if before - {info.path for info in listed}:
        raise _Removed
    objects = [info for info in listed if not is_newer(found.reserved, found.log_size, info.path)]
    progress = Progress.of("backup", sealing.notes.begun.name)
    for number, info in enumerate(objects, start=1):
        yield _object(store, sealing, info)
        if number % 100 == 0 or number == len(objects):
            progress.step(number, len(objects), "objects")
            watch("objects", number, len(objects))


def _object(store: ObjectStore, sealing: Sealing, info: ObjectInfo) -> SealedFile:
    path = f"lake/{info.path}"
    if (known := sealing.unchanged(path, info.bytes, info.modified)) is not None:
        return known
    for attempt in range(COPIES):
        try:
            return sealing.file(path, store.fetched(info.path), info.modified)
        except FileNotFoundError:
            raise _Removed from None
        except IntegrityError as fault:
            if fault.code != "integrity.backup" or attempt == COPIES - 1:
                raise
        now = store.stat(info.path)
        if now is None:
            raise _Removed
        info = now
    raise AssertionError("a copy ends or raises")


def _listed(store: ObjectStore) -> Iterator[ObjectInfo]:
    return (info for info in store.list() if is_lasting(info.path))


def _begun(settings: Settings, wanted: Wanted, name: str) -> Backup:
    return Backup(
        name=name,
        kind=RIGHTS if wanted.rights_only else FULL,
        at=dt.datetime.now(dt.UTC).isoformat(),
        software=version_of("cloakhouse"),
        revision="",
        database=settings.database.partition(":")[0].partition("+")[0],
        keys=settings.keys.partition(":")[0],
        store="folder" if is_folder(settings) else "s3",
        recipient=recipient_id(wanted.recipient),
        log_size=0,
        log_root="",
        identities=wanted.identities,
    )


def _restless() -> StageError:
    return StageError(
        where="the lake",
        expected="that what the control database names stays until it is copied",
        found=f"objects that were removed meanwhile, {ATTEMPTS} times",
        not_done="no backup was made; what was sealed already stays for the next",
        remedy="make it again when no erasure, retention or collection runs",
        code="removing",
    )
