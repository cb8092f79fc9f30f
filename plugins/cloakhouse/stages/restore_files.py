"""Putting the files of a backup into their places: an empty home, an empty database, an empty lake."""

from __future__ import annotations

import shutil
from pathlib import Path

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.files import new_file, staged, storage_error
from cloakhouse.lake.store.opening import is_folder, open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger import database as db
from cloakhouse.settings import Settings
from cloakhouse.stages.backup_database import Loading, insert, is_empty, set_sequences
from cloakhouse.stages.backup_keys import is_key_file, mode_of
from cloakhouse.stages.backup_manifest import DATABASE, Backup, SealedFile, broken
from cloakhouse.stages.backup_sealing import Digested, opened
from cloakhouse.stages.restore_place import sqlite_file


def check_empty(there: Settings, backup: Backup) -> None:
    """Return if database and lake of `there`, where they aren't in its home, hold nothing of another origin.

    Raises ConfigurationError (`configuration.not-empty`), StorageError.
    """
    file = sqlite_file(there.database)
    if file is None or (file.exists() and not file.is_relative_to(there.home)):
        with db.open_database(there.database).connect() as connection:
            if not is_empty(connection):
                raise _taken("CLOAKHOUSE_DATABASE", "a database without rows", "make a new one")
    if not is_folder(there):
        wanted = {one.path.removeprefix("lake/"): one.bytes for one in backup.files}
        for info in open_store(there).list():
            if wanted.get(info.path) != info.bytes:
                raise _taken("CLOAKHOUSE_LAKE", "a lake without objects of another origin", "name another bucket")


def make_room(home: Path, beside: Path) -> None:
    """Make the folder `beside` anew, and see that nothing is at `home`.

    Raises ConfigurationError (`configuration.not-empty`), StorageError.
    """
    shutil.rmtree(beside, ignore_errors=True)  # of a call that was killed
    if home.is_symlink() or (home.exists() and (not home.is_dir() or any(home.iterdir()))):
        raise _taken(str(home), "a place where nothing is", "name another folder, or move that one away")
    try:
        beside.mkdir(parents=True, mode=0o700)
        if home.exists():
            home.rmdir()
    except OSError as fault:
        raise storage_error(fault, home, "nothing was restored") from None


def put_key(home: Path, shelf: ObjectStore, identity: Path, one: SealedFile) -> None:
    """Put a key file into `home`. Raises IntegrityError for a path that no key file has, and as `opened`."""
    path = one.path.removeprefix("home/")
    if not is_key_file(path):
        raise broken(one.path, "the file of a key", "another path")
    with staged(home / path, "nothing was restored") as target, new_file(target, mode_of(path)) as stream:
        opened(shelf, one, identity, stream)


def put_object(store: ObjectStore, shelf: ObjectStore, identity: Path, one: SealedFile) -> None:
    """Put an object into the lake `store`, where it isn't there. Raises as `opened`."""
    path = one.path.removeprefix("lake/")
    if store.stat(path) is not None:  # in a bucket, by a call that was killed
        digest = Digested()
        with store.fetched(path).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.write(block)
        if digest.sha256 == one.sha256:
            return
    with store.staged(path) as target, new_file(target) as stream:
        opened(shelf, one, identity, stream)


def put_database(there: Settings, shelf: ObjectStore, identity: Path, backup: Backup) -> None:
    """Write the rows of the database, in one transaction that ends once their digest is right. Raises as `opened`."""
    engine = db.open_database(there.database)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        loading = Loading(backup.revision, lambda table, rows: insert(connection, table, rows))
        opened(shelf, backup.file(DATABASE), identity, loading)
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
