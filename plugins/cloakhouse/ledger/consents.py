"""The consent register: choices of persons for purposes, by rights token. Added to, and removed from by an erasure.

The same choice again (person, purpose, source and time) changes nothing; of two that differ in nothing but the choice
the refusal stays. A person with a tombstone is not taken in: the tombstones are looked at in the transaction that adds,
after the rows, so that an erasure that runs at the same time finds either no row or one that it removes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import append
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.consent_model import DIRECT, REFUSED, SCHEMA, ConsentRecord
from cloakhouse.ledger.version_rows import aware
from cloakhouse.ledger.writing import retried, writing

AT_ONCE = 5_000  # rows that one statement adds
NAMED = 500  # persons that one statement names
WINDOW = 65_536  # rows of the register in memory
_UNIQUE = ("subject", "purpose", "source", "chosen_at")
_UPSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class ConsentRegister:
    """Adds, reads and removes choices. Safe from many processes."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    @retried
    def add(self, choices: pa.Table, by: Event) -> int:
        """Add `choices` (of `consent_model.SCHEMA`) in one transaction; return how many were new.

        `by` is appended with that count as its own, or not at all where nothing was new. Choices of persons who have
        a tombstone are left out. Raises StorageError.
        """
        table, now = db.consent_record, dt.datetime.now(dt.UTC)
        insert = _UPSERTS[self._engine.dialect.name](table)
        refusal = (insert.excluded.choice == REFUSED) & (table.c.choice != REFUSED)
        changed = {name: insert.excluded[name] for name in ("choice", "jurisdiction", "policy", "recorded_at")}
        statement = insert.on_conflict_do_update(index_elements=_UNIQUE, set_=changed, where=refusal)
        with writing(self._engine, table) as connection:
            for first in range(0, choices.num_rows, AT_ONCE):
                rows = choices.slice(first, AT_ONCE).to_pylist()
                connection.execute(statement, [{**row, "recorded_at": now} for row in rows])
            connection.execute(sa.delete(table).where(table.c.subject.in_(sa.select(db.tombstone.c.subject))))
            added = self._recorded(connection, choices, now)
            if added:
                append(connection, [replace(by, count=added)])
        return added

    @staticmethod
    def _recorded(connection: sa.Connection, choices: pa.Table, now: dt.datetime) -> int:
        table = db.consent_record
        purposes = choices.column("purpose").unique().to_pylist()
        mine = table.c.purpose.in_(purposes) & (table.c.recorded_at == now)
        return int(connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one())

    @retried
    def remove(self, persons: pa.Array, by: Event | None = None) -> int:
        """Remove every choice of `persons` (rights tokens) in one transaction; return how many rows there were.

        `by`, where given, is appended with that count, or not at all where there were none. Raises StorageError.
        """
        table, removed = db.consent_record, 0
        with writing(self._engine, table) as connection:
            for few in _chunks(persons):
                removed += connection.execute(sa.delete(table).where(table.c.subject.in_(few))).rowcount
            if removed and by is not None:
                append(connection, [replace(by, count=removed)])
        return removed

    def count(self, persons: pa.Array) -> int:
        """Return how many choices of `persons` (rights tokens) there are. Raises StorageError."""
        table, found = db.consent_record, 0
        with self._engine.connect() as connection:
            for few in _chunks(persons):
                query = sa.select(sa.func.count()).where(table.c.subject.in_(few))
                found += int(connection.execute(query).scalar_one())
        return found

    def records(self, person: bytes) -> list[ConsentRecord]:
        """Return every choice of one person, by purpose, oldest first. Raises StorageError."""
        table = db.consent_record
        query = sa.select(table).where(table.c.subject == person)
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query.order_by(table.c.purpose, table.c.chosen_at))]

    def newest(self, source: str, purpose: str) -> dt.datetime | None:
        """Return the time of the newest choice of `source` for `purpose`, None where there is none."""
        table = db.consent_record
        query = sa.select(sa.func.max(table.c.chosen_at)).where(table.c.purpose == purpose, table.c.source == source)
        with self._engine.connect() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else aware(found)

    def windows(
        self, purpose: str, as_of: dt.datetime | None = None, source: str | None = None
    ) -> Iterator[list[sa.Row[Any]]]:
        """Yield the choices for `purpose` by person, oldest first, in windows: no person is in two of them.

        A row has subject, choice, jurisdiction, policy, source, chosen_at (UTC). Only those up to `as_of`, and of
        `source`, where given. Raises StorageError.
        """
        table = db.consent_record
        wanted = ("subject", "choice", "jurisdiction", "policy", "source", "chosen_at")
        query = sa.select(*(table.c[name] for name in wanted)).where(table.c.purpose == purpose)
        if as_of is not None:
            query = query.where(table.c.chosen_at <= as_of.astimezone(dt.UTC))
        if source is not None:
            query = query.where(table.c.source == source)
        query = query.order_by(table.c.subject, table.c.chosen_at)
        with self._engine.connect().execution_options(yield_per=WINDOW) as connection:
            kept: list[sa.Row[Any]] = []
            for few in connection.execute(query).partitions():
                rows = [*kept, *few]
                cut = _last_person(rows)
                kept = rows[cut:]
                if cut:
                    yield rows[:cut]
            if kept:
                yield kept

    def sources(self) -> list[str]:
        """Return every source there is a choice from, those in which persons speak last. Raises StorageError."""
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(db.consent_record.c.source).distinct()).scalars().all()
        return sorted(found, key=lambda source: (source in DIRECT, source))


def choices_table(columns: dict[str, Any]) -> pa.Table:
    """Return columns (arrays, or lists) as a table of `consent_model.SCHEMA`."""
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def _last_person(rows: Sequence[sa.Row[Any]]) -> int:
    """Return where the rows of the last person begin."""
    cut = len(rows)
    while cut and rows[cut - 1].subject == rows[-1].subject:
        cut -= 1
    return cut


def _chunks(persons: pa.Array) -> Iterator[list[bytes]]:
    for first in range(0, len(persons), NAMED):
        yield persons.slice(first, NAMED).to_pylist()


def _record(row: sa.Row[Any]) -> ConsentRecord:
    fields = {name: value for name, value in row._mapping.items() if name != "id"}
    times = {name: aware(fields[name]) for name in ("chosen_at", "recorded_at")}
    return ConsentRecord(**{**fields, "subject": bytes(fields["subject"]), **times})
