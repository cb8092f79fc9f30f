"""Restoring an installation from a backup, into an empty place, and nowhere else.

1. The manifest is signed by the key that was kept elsewhere, and every sealed file is there to the byte. Where the
   shelf has a later backup, for what it knows of rights, that is verified in the same way.
2. The place is empty: no home, no row in the database, no object in the lake.
3. Everything is put into a folder beside the home: keys, lake, database. Each file is compared with its digest before
   it gets its name; the database's rows become visible together, once their digest is right. Keys are those of the
   later backup: what was destroyed or revoked since stays so.
4. The restored state is looked at (`restore_checks`): the log, against every checkpoint there is and every anchor that
   was given; the register of versions against the lake.
5. What the later backup knows of rights is brought in (`restore_rights`): tombstones, holds, consents, budgets spent,
   versions withdrawn.
6. The home is closed (`restored`): no run is planned and no row is read until what can't be known here is settled.
7. The restore is recorded in the restored log, and the folder becomes the home, in one step.

Killed before step 7 there is no home; the next call begins again. Rows on a PostgreSQL are one transaction; where it
had come to its end, that database is to be made anew, which step 2 says. Objects in a bucket are compared and kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.files import fsync_folder, new_file, staged, storage_error
from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.store.opening import is_folder, open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.database_engine import emptied, let_go
from cloakhouse.ledger.revisions import HEAD
from cloakhouse.settings import Settings
from cloakhouse.stages.backup_database import Loading, insert, is_empty, set_sequences
from cloakhouse.stages.backup_keys import is_key_file, mode_of
from cloakhouse.stages.backup_manifest import DATABASE, Backup, SealedFile, backups, broken, chosen
from cloakhouse.stages.backup_sealing import Digested, check_sealed, opened
from cloakhouse.stages.restore_checks import check_restored
from cloakhouse.stages.restore_rights import Brought, bring_in
from cloakhouse.stages.restored import Closed, close

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
    ConfigurationError (`configuration.not-empty`, `configuration.schema`), KeyServiceError, StorageError. No
    home stands then.
    """
    backup = chosen(source.shelf, source.trusted, source.name)  # 1
    rights = _later(source, backup)
    for number, one in enumerate(backup.files, start=1):
        check_sealed(source.shelf, one)
        watch("files verified", number, len(backup.files))
    for one in rights.files if rights is not None else ():
        check_sealed(source.shelf, one)
    _check_revision(backup)
    beside = settings.home.with_name(f".{settings.home.name}.restoring")
    there = _moved(settings, beside)
    _check_empty(settings, backup, source)  # 2
    try:
        return _restored(settings, there, source, backup, rights, watch)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _restored(
    settings: Settings, there: Settings, source: Source, backup: Backup, rights: Backup | None, watch: Watch
) -> Restored:
    for one in (rights or backup).files:  # 3
        if one.path.startswith("home/"):
            _key_file(there.home, source, one)
    store = open_store(there)
    objects = [one for one in backup.files if one.path.startswith("lake/")]
    for number, one in enumerate(objects, start=1):
        _object(store, source, one)
        watch("objects", number, len(objects))
    _database(there, source, backup)
    lost = check_restored(there, backup, rights, source.anchors, older=source.older)  # 4
    brought = bring_in(there, source.shelf, rights, source.identity, backup) if rights is not None else Brought()  # 5
    closed = close(there, backup, rights, brought, lost)  # 6
    facts: dict[str, str | int] = {"log_size": backup.log_size, "entries_lost": lost, **brought.counts}
    if rights is not None:
        facts["rights"] = rights.name
    log = AuditLog(there.database)  # 7
    log.record(Event(OPERATOR, Action.RESTORE, backup.name, count=len(backup.files), reason=source.reason, facts=facts))
    emptied(log.engine)
    let_go()
    try:
        for folder in sorted({path.parent for path in there.home.rglob("*")}):
            fsync_folder(folder)
        there.home.rename(settings.home)
        fsync_folder(settings.home.parent)
    except OSError as fault:
        raise storage_error(fault, settings.home, "no home was made") from None
    return Restored(backup, rights, brought, closed)


def _later(source: Source, backup: Backup) -> Backup | None:
    found = backups(source.shelf, source.trusted)
    later = [one for one in found if one.name > backup.name and one.log_size >= backup.log_size]
    return max(later, key=lambda one: one.name, default=None)


def _check_revision(backup: Backup) -> None:
    if backup.revision != HEAD:
        raise ConfigurationError(
            where=f"backup {backup.name}",
            expected=f"a control database of revision {HEAD}",
            found=f"one of revision {backup.revision}, made by cloakhouse {backup.software}",
            not_done="nothing was restored",
            remedy="restore it with that version of cloakhouse, then upgrade (docs/upgrade.md)",
            code="schema",
        )


def _check_empty(settings: Settings, backup: Backup, source: Source) -> None:
    beside = settings.home.with_name(f".{settings.home.name}.restoring")
    shutil.rmtree(beside, ignore_errors=True)  # of a call that was killed
    if settings.home.is_symlink() or (
        settings.home.exists() and (settings.home.is_file() or any(settings.home.iterdir()))
    ):
        raise _taken(str(settings.home), "a place where nothing is", "name another folder, or move that one away")
    if not _moved(settings, beside).database.startswith("sqlite"):
        with db.open_database(settings.database).connect() as connection:
            if not is_empty(connection):
                raise _taken("CLOAKHOUSE_DATABASE", "a database without rows", "make a new one")
    if not is_folder(settings):
        wanted = {one.path.removeprefix("lake/"): one.bytes for one in backup.files}
        for info in open_store(settings).list():
            if wanted.get(info.path) != info.bytes:
                raise _taken("CLOAKHOUSE_LAKE", "a lake without objects of another origin", "name another bucket")
    try:
        beside.mkdir(parents=True, mode=0o700)
        if settings.home.exists():
            settings.home.rmdir()
    except OSError as fault:
        raise storage_error(fault, settings.home, "nothing was restored") from None


def _moved(settings: Settings, beside: Path) -> Settings:
    """Return the settings for the folder in which the home is made; what lies elsewhere lies there."""
    moved = settings.with_home(beside)
    database = moved.database if settings.database == f"sqlite:///{settings.home / 'control.db'}" else settings.database
    return replace(moved, database=database, store=settings.store, cache=settings.cache)


def _key_file(home: Path, source: Source, one: SealedFile) -> None:
    path = one.path.removeprefix("home/")
    if not is_key_file(path):
        raise broken(one.path, "the file of a key", "another path")
    with staged(home / path, "nothing was restored") as target, new_file(target, mode_of(path)) as stream:
        opened(source.shelf, one, source.identity, stream)


def _object(store: ObjectStore, source: Source, one: SealedFile) -> None:
    path = one.path.removeprefix("lake/")
    if store.stat(path) is not None:  # in a bucket, by a call that was killed
        digest = Digested()
        with store.fetched(path).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.write(block)
        if digest.sha256 == one.sha256:
            return
    with store.staged(path) as target, new_file(target) as stream:
        opened(source.shelf, one, source.identity, stream)


def _database(there: Settings, source: Source, backup: Backup) -> None:
    engine = db.open_database(there.database)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        loading = Loading(backup.revision, lambda table, rows: insert(connection, table, rows))
        opened(source.shelf, backup.file(DATABASE), source.identity, loading)
        loading.finish()
        set_sequences(connection)


def _taken(where: str, expected: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        where=where,
        expected=expected,
        found="something",
        not_done="nothing was restored, and what is there was not touched",
        remedy=remedy,
        code="not-empty",
    )
