"""What the console asks of the rights of persons: erasures, holds, tombstones, consents. Counts alone, never a token.

A count of persons is not shown where it is below 10, nor where it would follow from the others of its column: a small
cell could be one customer (complementary suppression: Hundepool et al. 2012, Statistical Disclosure Control, ch. 4).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from cloakhouse.contracts.subject import PURPOSES
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import ALLOWED, Action
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.ledger.erasure_model import REQUESTED, ErasureState
from cloakhouse.ledger.version_rows import aware
from cloakhouse.stages.consent_standing import LAWS
from cloakhouse.stages.consent_standing import standing as standing_of

SMALLEST = 10  # persons of a cell that is shown
DAYS = dt.timedelta(days=30)  # GDPR Art. 12(3): within one month of receipt; February is not counted on
MOST = 100  # erasures on a page
_E, _S = db.erasure, db.erasure_step


@dataclass(frozen=True)
class Request:
    """One erasure: its batch, who asked and why, how many persons, its state, and until when it is due (UTC)."""

    batch: str
    actor: str
    reason: str
    subjects: int
    state: str
    requested_at: dt.datetime
    deadline: dt.datetime
    ended_at: dt.datetime | None
    certificate: str
    certificate_path: str
    steps: int

    @property
    def open(self) -> bool:
        """Whether it isn't done."""
        return self.state == ErasureState.OPEN

    def late(self, now: dt.datetime) -> bool:
        """Return whether it is, or was, done after its deadline."""
        return (self.ended_at or now) > self.deadline


@dataclass(frozen=True)
class Done:
    """One step of an erasure: its name, when it was done (UTC), and what it counted, by name."""

    step: str
    at: dt.datetime
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Choices:
    """How many persons of one profile of law allow a purpose, and how many don't; None where it isn't shown."""

    purpose: str
    law: str
    allowed: int | None
    others: int | None


@dataclass(frozen=True)
class Pinned:
    """The newest snapshot of consents for a purpose: as of when (UTC), digest, persons who allow it and who don't."""

    purpose: str
    as_of: dt.datetime
    sha256: str
    allowed: int | None
    others: int | None


def erasures(connection: sa.Connection, batch: str | None = None) -> list[Request]:
    """Return the erasures, the open ones first, then the newest; at most 100. Or the one called `batch`."""
    steps = sa.select(_S.c.batch, sa.func.count().label("steps")).where(_S.c.step != REQUESTED).group_by(_S.c.batch)
    counted = steps.subquery()
    query: sa.Select[Any] = sa.select(*_E.c, counted.c.steps).select_from(
        _E.outerjoin(counted, counted.c.batch == _E.c.batch)
    )
    if batch is not None:
        query = query.where(_E.c.batch == batch)
    first = sa.case((_E.c.state == ErasureState.OPEN, 0), else_=1)
    query = query.order_by(first, _E.c.requested_at.desc(), _E.c.batch).limit(MOST)
    return [_request(row) for row in connection.execute(query)]


def steps(connection: sa.Connection, batch: str) -> list[Done]:
    """Return what is done of an erasure, in the order in which it was; of what a step found, the numbers."""
    wanted = sa.select(_S).where(_S.c.batch == batch, _S.c.step != REQUESTED).order_by(_S.c.at, _S.c.step)
    return [Done(row.step, aware(row.at), _numbers(row.content)) for row in connection.execute(wanted)]


def totals(connection: sa.Connection) -> dict[str, int]:
    """Return how many persons have a tombstone, how many are held, and how many copies of data were given out."""
    held, log = db.subject_hold, db.audit_entry
    allowed = sa.func.coalesce(log.c.decision, "") == ALLOWED  # not by its index, which nearly all entries are in
    given = (log.c.action == Action.EXPORT_SUBJECT) & allowed & (log.c.count > 0)
    asked = {
        "tombstones": sa.select(sa.func.count()).select_from(db.tombstone),
        "held": sa.select(sa.func.count(sa.distinct(held.c.subject))).where(held.c.lifted_at.is_(None)),
        "copies": sa.select(sa.func.count()).select_from(log).where(given),
    }
    return {name: int(connection.execute(query).scalar_one()) for name, query in asked.items()}


def pinned(connection: sa.Connection) -> list[Pinned]:
    """Return the newest snapshot of each purpose."""
    table = db.consent_snapshot
    newest = sa.select(table.c.purpose, sa.func.max(table.c.as_of).label("as_of")).group_by(table.c.purpose).subquery()
    same = (table.c.purpose == newest.c.purpose) & (table.c.as_of == newest.c.as_of)
    query = sa.select(table).join(newest, same).order_by(table.c.purpose)
    found = []
    for row in connection.execute(query):
        allowed, others = suppressed((row.allowed, row.subjects - row.allowed))
        found.append(Pinned(row.purpose, aware(row.as_of), row.sha256, allowed, others))
    return found


def choices(register: ConsentRegister) -> list[Choices]:
    """Return how many persons of each profile allow each purpose as of now, and how many don't; small cells left out.

    What counts of several choices is for `cloakhouse.stages.consent_standing` to say. Memory: a window of the register.
    """
    found = []
    for purpose in PURPOSES:
        counts = np.zeros((len(LAWS), 2), np.int64)
        for standing in standing_of(register, purpose):
            np.add.at(counts, (standing.laws, standing.allowed.astype(np.int8)), 1)
        shown = [law for law in range(len(LAWS)) if counts[law].any()]
        others, allowed = (suppressed([int(counts[law, column]) for law in shown]) for column in (0, 1))
        found += [Choices(purpose, LAWS[law], allowed[at], others[at]) for at, law in enumerate(shown)]
    return found


def suppressed(counts: Sequence[int]) -> list[int | None]:
    """Return counts of one column, None for those of 1 to 9; and for the next smallest, where only one would go."""
    shown: list[int | None] = [count if count >= SMALLEST or not count else None for count in counts]
    others = [index for index, count in enumerate(shown) if count]
    if shown.count(None) == 1 and others:
        shown[min(others, key=lambda index: counts[index])] = None
    return shown


def _request(row: sa.Row[Any]) -> Request:
    f = row._mapping
    asked = aware(f["requested_at"])
    return Request(
        batch=f["batch"],
        actor=f["actor"],
        reason=f["reason"],
        subjects=f["subjects"],
        state=f["state"],
        requested_at=asked,
        deadline=asked + DAYS,
        ended_at=aware(f["ended_at"]) if f["ended_at"] else None,
        certificate=f["certificate_sha256"],
        certificate_path=f["certificate_path"],
        steps=f["steps"] or 0,
    )


def _numbers(content: str) -> dict[str, int]:
    found = json.loads(content)
    known = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in known if isinstance(value, int) and not isinstance(value, bool)}
