"""Restoring an installation from a backup, into an empty place, and nowhere else.

1. The manifest is signed by the key that was kept elsewhere, and every sealed file is there to the byte. Where the
   shelf has a later backup, for what it knows of rights, that is verified in the same way.
2. The place is empty: no home, no row in the database, no object in the lake.
3. Everything is put into a folder beside the home: keys, lake, database. Each file is compared with its digest before
   it gets its name; the database's rows become visible together, once their digest is right. Keys are those of the
   later backup: what was destroyed or revoked since stays so. One made without identities leaves those of the first.
4. The restored state is looked at (`restore_checks`): the log, against every checkpoint there is and every anchor that
   was given; the register of versions against the lake.
5. What the later backup knows of rights is brought in (`restore_rights`): tombstones, holds, consents, budgets spent,
   versions withdrawn.
6. The home is closed (`restored`): no run is planned and no row is read until what can't be known here is settled.
7. The restore is recorded in the restored log, and the folder becomes the home, in one step.

Killed before step 7 there is no home; the next call begins again. Rows of a database that isn't in the home are one
transaction; where it had come to its end, that database is to be made anew, which step 2 says. Objects in a bucket are
compared and kept. What fails after step 7 says that the home is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.files import locked
from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.database_engine import emptied, let_go
from cloakhouse.ledger.revisions import HEAD
from cloakhouse.settings import Settings
from cloakhouse.stages.backup_keys import is_identity
from cloakhouse.stages.backup_manifest import Backup, SealedFile, chosen, each_backup
from cloakhouse.stages.backup_sealing import check_sealed
from cloakhouse.stages.restore_checks import check_restored, roots_between
from cloakhouse.stages.restore_files import check_empty, make_room, put_database, put_key, put_object
from cloakhouse.stages.restore_place import become, beside_home
from cloakhouse.stages.restore_rights import Brought, bring_in
from cloakhouse.stages.restored import Closed, close

LOCK_WAIT_S = 10.0
OPERATOR = "operator"  # who acts where no principal is known yet
Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Source:
    """Where from, and with what.

    Attributes:
        shelf: of backups.
        trusted: the public key `backups`, kept elsewhere.
        identity: file of the recipient's private key.
        name: of the backup; empty: the newest full one.
        anchors: signed checkpoints of the audit log that were kept elsewhere, by the name that messages tell them by.
        older: whether a backup may be restored that is older than an anchor: what came between is lost.
        reason: why, for the audit log.
    """

    shelf: ObjectStore
    trusted: PublicKey
    identity: Path
    reason: str
    name: str = ""
    anchors: Mapping[str, str] = field(default_factory=dict)
    older: bool = False


@dataclass(frozen=True)
class Restored:
    """What was restored, what a later backup of the rights brought, and what is to be settled before it is open."""

    backup: Backup
    rights: Backup | None
    brought: Brought
    closed: Closed


def restore(settings: Settings, source: Source, watch: Watch = lambda what, done, total: None) -> Restored:
    """Restore a backup into the home that `settings` name, with their database and lake; return what became of it.

    Raises NotFound, IntegrityError (of the backup; `integrity.restored-old` for one that is older than an anchor),
    ConfigurationError (`configuration.not-empty`, `configuration.schema`), KeyServiceError, StorageError, StageError
    (`stage.busy`: another restore into this home). No home stands then, but for `storage.name`.
    """
    backup = chosen(source.shelf, source.trusted, source.name)  # 1
    rights = _later(source, backup)
    _check_revisions(backup, rights)
    for number, one in enumerate(backup.files, start=1):
        check_sealed(source.shelf, one)
        watch("files verified", number, len(backup.files))
    for one in rights.files if rights is not None else ():
        check_sealed(source.shelf, one)
    there = beside_home(settings)
    beside = there.home
    with locked(beside.with_suffix(".lock"), LOCK_WAIT_S, "another restore into this home"):
        make_room(settings.home, beside)  # 2
        try:
            check_empty(there, backup)
            return _restored(settings, there, source, backup, rights, watch)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def _restored(
    settings: Settings, there: Settings, source: Source, backup: Backup, rights: Backup | None, watch: Watch
) -> Restored:
    for one in _keys(backup, rights):  # 3
        put_key(there.home, source.shelf, source.identity, one)
    store = open_store(there)
    objects = [one for one in backup.files if one.path.startswith("lake/")]
    for number, one in enumerate(objects, start=1):
        put_object(store, source.shelf, source.identity, one)
        watch("objects", number, len(objects))
    put_database(there, source.shelf, source.identity, backup)
    lost = check_restored(there, backup, rights, source.anchors, older=source.older)  # 4
    brought = Brought()
    if rights is not None:  # 5
        between = roots_between(there, source.anchors, backup.log_size, rights.log_size)
        brought = bring_in(there, source.shelf, rights, source.identity, backup, between)
    closed = close(there, backup, rights, brought, lost)  # 6
    facts: dict[str, str | int] = {"digest": backup.digest, "log_size": backup.log_size, "entries_lost": lost}
    facts |= brought.counts
    if rights is not None:
        facts["rights"] = rights.name
    log = AuditLog(there.database)  # 7
    log.record(Event(OPERATOR, Action.RESTORE, backup.name, count=len(backup.files), reason=source.reason, facts=facts))
    emptied(log.engine)
    let_go()
    become(there.home, settings.home)
    return Restored(backup, rights, brought, closed)


def _keys(backup: Backup, rights: Backup | None) -> list[SealedFile]:
    """Return the key files: the later ones, and of `backup` the identities where the later backup was made without."""
    newest = [one for one in (rights or backup).files if one.path.startswith("home/")]
    if rights is None or rights.identities:
        return newest
    there = {one.path for one in newest}
    return newest + [one for one in backup.files if is_identity(one.path) and one.path not in there]


def _later(source: Source, backup: Backup) -> Backup | None:
    newest = None
    for one in each_backup(source.shelf, source.trusted):  # by name, oldest first
        if one.name > backup.name and one.log_size >= backup.log_size:
            newest = one
    return newest


def _check_revisions(backup: Backup, rights: Backup | None) -> None:
    if backup.revision != HEAD:
        remedy = "restore it with that version of cloakhouse, then upgrade (docs/upgrade.md)"
        raise _other_revision(f"backup {backup.name}", backup, remedy)
    if rights is not None and rights.revision != HEAD:
        raise _other_revision(
            f"backup {rights.name}, whose rights would count",
            rights,
            "restore with that version of cloakhouse; or, to go back before it, move the manifests of later backups "
            "away from the shelf: what they know of rights is then for you to settle",
        )


def _other_revision(where: str, backup: Backup, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        where=where,
        expected=f"a control database of revision {HEAD}",
        found=f"one of revision {backup.revision}, made by cloakhouse {backup.software}",
        not_done="nothing was restored",
        remedy=remedy,
        code="schema",
    )
