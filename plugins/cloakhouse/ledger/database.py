"""Tables of the control database, and how it is opened.

SQLite runs in WAL mode with `synchronous=FULL`, and waits at most 30 s for another writer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

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
    """Return an engine for the control database at `url`, its tables made if need be."""
    parsed = sa.make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    arguments = {"timeout": BUSY_TIMEOUT_S} if sqlite else {}
    engine = sa.create_engine(url, connect_args=arguments, hide_parameters=True)
    if sqlite:
        event.listen(engine, "connect", _sqlite_durable)
    METADATA.create_all(engine, checkfirst=True)
    return engine


def _sqlite_durable(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
