"""What the console asks of approvals, of uses of keys, and of what was spent of privacy budgets."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.access_uses import Use
from cloakhouse.ledger.allowance import RELEASED, Account, real_rho
from cloakhouse.ledger.version_rows import aware

MOST_SPENDS = 500  # points of a burn-down
MOST_USES = 200


@dataclass(frozen=True)
class Decision:
    """What a person decided over evidence; `entry` is the number of its event in the log."""

    dataset: str
    evidence: str
    decision: str
    approver: str
    requester: str
    reason: str
    entry: int
    at: dt.datetime


@dataclass(frozen=True)
class Point:
    """One spend of an account: when (UTC), its rho, its state and its id."""

    at: dt.datetime
    rho: float
    state: str
    id: str
    purpose: str


def approvals(
    connection: sa.Connection, limit: int, *, evidence: str | None = None, before: int | None = None
) -> list[tuple[int, Decision]]:
    """Return the newest decisions with their row numbers, newest first: all, or those over one evidence."""
    table = db.approval
    query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if evidence is not None:
        query = query.where(table.c.evidence_sha256 == evidence)
    if before is not None:
        query = query.where(table.c.id < before)
    return [
        (
            row.id,
            Decision(
                row.dataset,
                row.evidence_sha256,
                row.decision,
                row.approver,
                row.requester,
                row.reason,
                row.entry,
                aware(row.at),
            ),
        )
        for row in connection.execute(query)
    ]


def spends(connection: sa.Connection, account: Account, since: dt.datetime) -> list[Point]:
    """Return the newest spends of `account` from `since` on that were not given back, oldest first; at most 500."""
    table = db.privacy_spend
    mine = (table.c.dataset == account.dataset) & (table.c.unit == account.unit)
    mine &= (table.c.consumer == account.consumer) & (table.c.reserved_at >= since) & (table.c.state != RELEASED)
    query = sa.select(table).where(mine).order_by(table.c.reserved_at.desc()).limit(MOST_SPENDS)
    found = [
        Point(aware(row.reserved_at), real_rho(row.rho), row.state, row.spend_id, row.purpose)
        for row in connection.execute(query)
    ]
    return found[::-1]


def uses(connection: sa.Connection) -> list[Use]:
    """Return who used which key for what, the latest first; at most 200."""
    table = db.access_use
    query = sa.select(table).order_by(table.c.last_at.desc()).limit(MOST_USES)
    return [
        Use(row.principal, row.key, row.purpose, aware(row.first_at), aware(row.last_at), row.uses)
        for row in connection.execute(query)
    ]
