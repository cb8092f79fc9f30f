"""The revision of the control database's tables, and how they come to the newest.

SQLite is made, and brought to the newest revision, by whoever opens it first; on PostgreSQL that is an operator's
decision (`cloakhouse database upgrade`), and whoever opens another revision is refused. Every upgrade is one
transaction under a lock: of many processes one does it, and one that is killed leaves what was there before.

The steps are Alembic's, in `migrations/versions`. Alembic is slow to import, so only an upgrade does.
"""

from __future__ import annotations

import tempfile
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import sqlalchemy as sa

from cloakhouse.errors import ConfigurationError, StageError

KNOWN = ("0001", "0002", "0003")  # oldest first
HEAD = KNOWN[-1]
UNVERSIONED = "unversioned"
_TABLE = "alembic_version"
_ANY_OF_OURS = "contract_version"  # stands since the first version of all
_REVISION = sa.text(f"SELECT version_num FROM {_TABLE}")  # noqa: S608  # a constant
_UPGRADE_TIMEOUT_S = 900
_LOCK_WAIT_S = 60


def revision_of(connection: sa.Connection) -> str | None:
    """Return the revision that the database says it has: None when empty, UNVERSIONED for tables of no revision."""
    tables = sa.inspect(connection)
    if tables.has_table(_TABLE):
        found = connection.execute(_REVISION).scalars().first()
        if found is not None:
            return str(found)
    return UNVERSIONED if tables.has_table(_ANY_OF_OURS) else None


def check(engine: sa.Engine) -> None:
    """Bring a SQLite database to HEAD; raise ConfigurationError (`configuration.schema`) unless PostgreSQL is there.

    Raises it on both for a revision that isn't known, and for tables of no revision.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            found = revision_of(connection)
        if found != HEAD:
            upgrade(engine)
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            found = connection.execute(_REVISION).scalars().first()
        except sa.exc.ProgrammingError:  # no such table
            found = None
        if found != HEAD:
            raise refused(revision_of(connection))


def upgrade(engine: sa.Engine) -> str | None:
    """Bring the database to HEAD in one transaction, and return the revision that it had; at HEAD nothing is done.

    Raises ConfigurationError (`configuration.schema`) for a revision that isn't known and for tables of no revision,
    StorageError when another upgrade takes longer than the wait for it.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_UPGRADE_TIMEOUT_S}s'")
            name = sa.func.hashtextextended("cloakhouse database upgrade", 0)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(name)))
        found = revision_of(connection)
        if found is not None and found not in KNOWN:
            raise refused(found)
        if found != HEAD:
            _run_steps(connection, found)
    return found


def refused(found: str | None) -> ConfigurationError:
    """Return the refusal of a database at the revision `found`."""
    remedy = "have its operator run `cloakhouse database upgrade`, with a role that may make tables"
    said = f"revision {found}"
    if found is None:
        said = "none: the database is empty"
    elif found == UNVERSIONED:
        said = "tables of no revision, as development versions made them"
        remedy = "move that database away and let CLOAKHOUSE_DATABASE name a new one; no release made it"
    elif found not in KNOWN:
        said = "a revision that this version doesn't know: of a newer one, or of another program"
        remedy = "install the version of cloakhouse that upgraded the database, or correct CLOAKHOUSE_DATABASE"
    return ConfigurationError(
        where="the control database (CLOAKHOUSE_DATABASE)",
        expected=f"its tables at revision {HEAD}",
        found=said,
        not_done="nothing was read or written",
        remedy=remedy,
        code="schema",
    )


def _run_steps(connection: sa.Connection, before: str | None) -> None:
    try:
        from alembic import command
        from alembic.config import Config
    except ModuleNotFoundError:  # a client, which is not the one to upgrade it
        raise refused(before) from None

    with tempfile.TemporaryDirectory() as folder:
        scripts = files("cloakhouse.ledger") / "migrations"
        place = scripts if isinstance(scripts, Path) else _unpacked(scripts, Path(folder))
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(place).replace("%", "%%"))
        command.upgrade(config, HEAD)
    if (now := revision_of(connection)) != HEAD:
        raise StageError(
            where="the control database",
            expected=f"its tables at revision {HEAD} after the upgrade",
            found=f"revision {now}",
            not_done="the upgrade was undone",
            remedy="install cloakhouse again: its migrations are not complete",
            code="schema",
        )


def _unpacked(folder: Traversable, target: Path) -> Path:
    """Return `target`, filled with what is in `folder` of a zip: Alembic reads its steps from a file system."""
    for item in folder.iterdir():
        if item.is_dir():
            (target / item.name).mkdir()
            _unpacked(item, target / item.name)
        else:
            (target / item.name).write_bytes(item.read_bytes())
    return target
