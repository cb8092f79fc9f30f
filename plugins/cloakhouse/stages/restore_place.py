"""Where a home is restored: in a folder beside its name, which it takes in one step when all of it is there."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

from cloakhouse.errors import StorageError
from cloakhouse.keys.files import fsync_folder, storage_error
from cloakhouse.ledger.database_url import database_url
from cloakhouse.settings import Settings


def beside_home(settings: Settings) -> Settings:
    """Return the settings for the folder in which the home is made; what lies elsewhere lies there."""
    beside = settings.home.with_name(f".{settings.home.name}.restoring")
    moved, file = settings.with_home(beside), sqlite_file(settings.database)
    database = settings.database
    if file is not None and file.is_relative_to(settings.home):
        database = f"sqlite:///{beside / file.relative_to(settings.home)}"
    return replace(moved, database=database, store=settings.store, cache=settings.cache)


def sqlite_file(database: str) -> Path | None:
    """Return the file of the SQLite database with this URL, None for a database on a server. Raises
    ConfigurationError."""
    url = database_url(database)
    return Path(url.database).resolve() if url.get_backend_name() == "sqlite" and url.database else None


def become(beside: Path, home: Path) -> None:
    """Give the folder `beside` the name `home`, for good.

    Raises StorageError; `storage.name` where the home is there, and it isn't sure that its name stays.
    """
    try:
        for folder in sorted({path.parent for path in beside.rglob("*")}):
            fsync_folder(folder)
        beside.rename(home)
    except OSError as fault:
        raise storage_error(fault, home, "no home was made") from None
    try:
        fsync_folder(home.parent)
    except OSError as fault:
        raise StorageError(
            where=home.name,
            expected="a name that stays when the machine crashes",
            found=f"the system refused ({errno.errorcode.get(fault.errno or 0, 'OSError')})",
            not_done="nothing else: all is restored, and the home is there and closed",
            remedy="don't restore again: run `sync`, see that the folder is there, and go on with `backup settle`",
            code="name",
        ) from None
