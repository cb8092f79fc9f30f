"""Tombstones: the keyed tokens of erased persons, all that is kept of them, so that no delivery brings them back.

A tombstone is there from the moment an erasure is requested. It goes when a hold on the person stops an erasure that is
not done (`cloakhouse.ledger.subject_holds`); that of an ended erasure stays for good.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import append
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.version_rows import aware
from cloakhouse.ledger.writing import alone, retried
from cloakhouse.tokens.subjects import RIGHTS_TYPE

RIGHTS_LOCK = "rights"  # what requests and holds have in common: one looks at the other's rows before it writes
_CHUNK = 10_000  # rows of one statement


class Tombstones:
    """Adds, removes and lists tombstones. Safe from many processes."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    def persons(self) -> pa.Array:
        """Return all erased persons by rights token: fixed_size_binary(16), sorted, unique. Raises StorageError."""
        with self._engine.connect() as connection:
            return read_persons(connection, sa.select(db.tombstone.c.subject).order_by(db.tombstone.c.subject))

    def digest(self) -> str:
        """Return the SHA-256 (hex) of all tombstones in their order: it changes with every person more or less."""
        found = hashlib.sha256()
        wanted = sa.select(db.tombstone.c.subject).order_by(db.tombstone.c.subject)
        with self._engine.connect() as connection:
            for rows in connection.execute(wanted).partitions(_CHUNK):
                found.update(b"".join(bytes(row[0]) for row in rows))
        return found.hexdigest()

    def of(self, person: bytes) -> tuple[str, dt.datetime] | None:
        """Return the batch that erased one person (rights token), and when it was asked for (UTC); None for nobody."""
        wanted = sa.select(db.tombstone.c.batch, db.tombstone.c.at).where(db.tombstone.c.subject == person)
        with self._engine.connect() as connection:
            found = connection.execute(wanted).first()
        return None if found is None else (found.batch, aware(found.at))

    def count(self) -> int:
        """Return how many persons have a tombstone."""
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(db.tombstone)).scalar_one())

    @retried
    def add(self, persons: pa.Array, batch: str, by: Event) -> int:
        """Add the tombstones of `persons` that have none yet, for `batch`, and return how many these are.

        `by` is appended as it is, in the same transaction; where all of them stand already nothing changes.
        """
        with alone(self._engine, RIGHTS_LOCK) as connection:
            added = insert_tombstones(connection, persons, batch, dt.datetime.now(dt.UTC))
            if added:
                append(connection, [by])
            return added

    @retried
    def remove(self, persons: pa.Array, batch: str) -> int:
        """Remove the tombstones that `batch` gave `persons`; return how many there were."""
        table = db.tombstone
        mine = (table.c.subject == sa.bindparam("person")) & (table.c.batch == batch)
        with alone(self._engine, RIGHTS_LOCK) as connection:
            before = _count(connection)
            for rows in chunked(persons):
                connection.execute(sa.delete(table).where(mine), [{"person": person} for person in rows])
            return before - _count(connection)


def insert_tombstones(connection: sa.Connection, persons: pa.Array, batch: str, at: dt.datetime) -> int:
    """Add tombstones on a connection whose transaction holds the lock; return how many there were not yet."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    before = _count(connection)
    for rows in chunked(persons):
        added = dialect.insert(db.tombstone).on_conflict_do_nothing(index_elements=[db.tombstone.c.subject])
        connection.execute(added, [{"subject": person, "batch": batch, "at": at} for person in rows])
    return _count(connection) - before


def read_persons(connection: sa.Connection, wanted: sa.Select[Any]) -> pa.Array:
    """Return the persons that a query of one column of rights tokens finds, in its order."""
    parts = []
    for rows in connection.execute(wanted).partitions(_CHUNK):
        parts.append(pa.array([bytes(row[0]) for row in rows], RIGHTS_TYPE))
    return pa.concat_arrays(parts) if parts else pa.array([], RIGHTS_TYPE)


def chunked(persons: pa.Array) -> Iterator[list[bytes]]:
    """Yield the persons some thousands at a time, as a database takes them."""
    for first in range(0, len(persons), _CHUNK):
        yield persons.slice(first, _CHUNK).to_pylist()


def _count(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(db.tombstone)).scalar_one())
