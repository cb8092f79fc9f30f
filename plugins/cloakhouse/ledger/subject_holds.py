"""Holds on persons: a duty to keep somebody's data, which goes before an erasure.

A hold that is placed while an erasure is open takes the person out of that erasure for good: what is not cut yet stays,
and the tombstone goes, so that the next run brings back what still exists. Lifting the hold doesn't take up the erasure
again, part of which may have passed the person by; it has to be requested anew.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import append
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.erasure_model import ErasureState
from cloakhouse.ledger.tombstones import RIGHTS_LOCK, chunked, read_persons
from cloakhouse.ledger.version_rows import aware
from cloakhouse.ledger.writing import alone, retried

_H = db.subject_hold


@dataclass(frozen=True)
class SubjectHold:
    """Holds that one request placed: why, by whom, when (UTC), on how many persons, and how many of them stand."""

    reason: str
    actor: str
    placed_at: dt.datetime
    persons: int
    standing: int


class SubjectHolds:
    """Places, lifts and lists holds on persons. Safe from many processes."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    @retried
    def place(self, persons: pa.Array, by: Event) -> int:
        """Hold those of `persons` (rights tokens) who aren't held, for `by.reason`; return how many these are.

        One transaction with `by`, and with the removal of the tombstones that open erasures gave them. Repeated,
        nothing changes.
        """
        with alone(self._engine, RIGHTS_LOCK) as connection:
            held = read_persons(connection, _held_query())
            fresh = pc.unique(persons.filter(pc.invert(pc.is_in(persons, value_set=held))))
            if not len(fresh):
                return 0
            now = dt.datetime.now(dt.UTC)
            told = {"reason": by.reason, "actor": by.actor, "placed_at": now}
            for rows in chunked(fresh):
                connection.execute(sa.insert(_H), [{"subject": person, **told} for person in rows])
            _free(connection, fresh)
            append(connection, [by])
            return len(fresh)

    @retried
    def lift(self, persons: pa.Array, by: Event) -> int:
        """Lift every hold on `persons`; return how many of them were held. Repeated, nothing changes."""
        with alone(self._engine, RIGHTS_LOCK) as connection:
            held = read_persons(connection, _held_query())
            standing = pc.unique(persons.filter(pc.is_in(persons, value_set=held)))
            if not len(standing):
                return 0
            mine = (_H.c.subject == sa.bindparam("person")) & _H.c.lifted_at.is_(None)
            lifted = sa.update(_H).where(mine).values(lifted_at=dt.datetime.now(dt.UTC))
            for rows in chunked(standing):
                connection.execute(lifted, [{"person": person} for person in rows])
            append(connection, [by])
            return len(standing)

    def held(self) -> pa.Array:
        """Return the persons who are held now: fixed_size_binary(16), sorted, unique. Raises StorageError."""
        return self._persons(_held_query())

    def held_since(self, moment: dt.datetime) -> pa.Array:
        """Return the persons who are held now, or were at some time since `moment`, sorted and unique."""
        return self._persons(_held_query(moment))

    def all(self) -> list[SubjectHold]:
        """Return what was placed, newest first; persons are counted. Raises StorageError."""
        standing = sa.func.sum(sa.case((_H.c.lifted_at.is_(None), 1), else_=0))
        kept = [_H.c.reason, _H.c.actor, _H.c.placed_at]
        wanted = sa.select(*kept, sa.func.count(), standing).group_by(*kept).order_by(_H.c.placed_at.desc())
        with self._engine.connect() as connection:
            return [SubjectHold(r[0], r[1], aware(r[2]), r[3], int(r[4])) for r in connection.execute(wanted)]

    def _persons(self, wanted: sa.Select[Any]) -> pa.Array:
        with self._engine.connect() as connection:
            return read_persons(connection, wanted)


def read_held(connection: sa.Connection, since: dt.datetime | None = None) -> pa.Array:
    """Return the persons who are held, or were at some time since `since`, as a transaction sees them."""
    return read_persons(connection, _held_query(since))


def _held_query(since: dt.datetime | None = None) -> sa.Select[Any]:
    standing = _H.c.lifted_at.is_(None)
    mine = standing if since is None else standing | (_H.c.lifted_at >= since)
    return sa.select(_H.c.subject).where(mine).distinct().order_by(_H.c.subject)


def _free(connection: sa.Connection, persons: pa.Array) -> None:
    """Remove the tombstones of open erasures: an ended one has left nothing to keep, and its tombstones stay."""
    table = db.tombstone
    still = sa.select(db.erasure.c.batch).where(db.erasure.c.state == ErasureState.OPEN)
    mine = (table.c.subject == sa.bindparam("person")) & table.c.batch.in_(still)
    for rows in chunked(persons):
        connection.execute(sa.delete(table).where(mine), [{"person": person} for person in rows])
