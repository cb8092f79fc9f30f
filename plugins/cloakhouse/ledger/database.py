"""Tables of the control database, and how it is opened.

SQLite runs in WAL mode with `synchronous=FULL`, and waits at most 30 s for another writer.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from cloakhouse.errors import StorageError
from cloakhouse.keys.files import storage_error

METADATA = sa.MetaData()
BUSY_TIMEOUT_S = 30

contract_version = sa.Table(
    "contract_version",
    METADATA,
    sa.Column("dataset", sa.String(63), primary_key=True),
    sa.Column("version", sa.String(32), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
)

delivery = sa.Table(
    "delivery",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("dataset", sa.String(63), nullable=False),
    sa.Column("partition", sa.String(10), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("manifest_path", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.String(64), nullable=False),
    sa.Column("landed_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("dataset", "partition", "revision"),
)

protected_partition = sa.Table(
    "protected_partition",
    METADATA,
    sa.Column("dataset", sa.String(63), primary_key=True),
    sa.Column("partition", sa.String(10), primary_key=True),
    sa.Column("delivery_sha256", sa.String(64), nullable=False),
    sa.Column("contract_version", sa.String(32), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("validated", sa.Boolean, nullable=False, default=False),
    sa.Column("manifest_path", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.String(64), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
)

dataset_version = sa.Table(
    "dataset_version",
    METADATA,
    sa.Column("dataset", sa.String(63), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("zone", sa.String(32), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("manifest_path", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.String(64), nullable=False),
    sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("dataset", "fingerprint"),
)


def open_database(url: str) -> sa.Engine:
    """Return an engine for the control database at `url`, its tables made if need be. Raises StorageError."""
    parsed = sa.make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and parsed.database:
        try:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise storage_error(fault, Path(parsed.database), "the control database was not opened") from None
    arguments = {"timeout": BUSY_TIMEOUT_S} if sqlite else {}
    engine = sa.create_engine(url, connect_args=arguments, hide_parameters=True)
    if sqlite:
        event.listen(engine, "connect", _sqlite_durable)
    event.listen(engine, "handle_error", _as_storage_error)
    with engine.begin() as connection:
        for table in METADATA.sorted_tables:  # of processes that start at once, each finds or makes every table
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
    return engine


def _as_storage_error(context: sa.engine.ExceptionContext) -> None:
    """Turn what the database refuses (disk full, locked, unreachable, damaged) into an error for people."""
    fault = context.sqlalchemy_exception
    if isinstance(fault, sa.exc.DatabaseError) and not isinstance(
        fault, sa.exc.IntegrityError | sa.exc.ProgrammingError
    ):
        code = getattr(fault.orig, "sqlite_errorname", type(fault.orig).__name__)
        raise StorageError(
            where="the control database",
            expected="a database that can be read and written",
            found=f"it refused ({code})",
            not_done="the change was not recorded; what was recorded before still stands",
            remedy="check space and permissions where CLOAKHOUSE_DATABASE points, then run again",
            code="database",
        ) from None


def _sqlite_durable(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    _switch_to_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Turn WAL on. For this one change SQLite doesn't wait while another process makes it too, so we do."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as fault:
            if not fault.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
