"""What the audit log says of datasets: how often each thing was done, allowed or not, and when last. Counts only.

Names of principals are data about staff: they stay in the log, and only how many there were is told.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import ALLOWED, FAILED, REFUSED, Action
from cloakhouse.ledger.version_rows import aware

TOLD = (  # in the order of a dataset's life
    *(Action.LAND, Action.PSEUDONYMIZE, Action.READ, Action.SYNTHESIZE, Action.QUERY, Action.VALIDATE),
    *(Action.APPROVE, Action.PUBLISH, Action.ROLL_BACK, Action.WITHDRAW, Action.EXPIRE, Action.DELETE, Action.ERASE),
    *(Action.SPEND, Action.DETOKENIZE, Action.LINK),
)


@dataclass(frozen=True)
class Done:
    """How often something was done with a dataset.

    Attributes:
        action: of TOLD.
        allowed, refused, failed: events by decision.
        actors: how many principals.
        last: UTC, of the newest event.
    """

    action: str
    allowed: int
    refused: int
    failed: int
    actors: int
    last: dt.datetime


def done_with(engine: sa.Engine, dataset: str, until: dt.datetime | None = None) -> tuple[Done, ...]:
    """Return what was done with `dataset` before `until` (UTC), in the order of TOLD; reads the dataset's own entries
    by their index. Raises StorageError."""
    table = db.audit_entry
    columns = table.c

    def counted(decision: str) -> sa.Label[int]:
        return sa.func.sum(sa.case((columns.decision == decision, 1), else_=0)).label(decision)

    query = (
        sa.select(
            columns.action,
            *(counted(decision) for decision in (ALLOWED, REFUSED, FAILED)),
            sa.func.count(columns.actor.distinct()).label("actors"),
            sa.func.max(columns.at).label("last"),
        )
        .where(columns.dataset == dataset, columns.action.in_([str(action) for action in TOLD]))
        .group_by(columns.action)
    )
    if until is not None:
        query = query.where(columns.at < until)
    with engine.connect() as connection:
        found = {row.action: row for row in connection.execute(query)}
    return tuple(_done(found[action]) for action in TOLD if action in found)


def _done(row: sa.Row[tuple[object, ...]]) -> Done:
    fields = dict(row._mapping)
    return Done(**{**fields, "last": aware(fields["last"])})


def of(done: Sequence[Done], action: Action) -> int:
    """Return how often `action` was done and allowed."""
    return sum(item.allowed for item in done if item.action == action)
