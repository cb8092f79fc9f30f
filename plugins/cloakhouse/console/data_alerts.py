"""What the console asks of alerts: those that are open, all of them page by page, and one with what came of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.version_rows import aware
from cloakhouse.settings import Settings
from cloakhouse.stages import alerting as raised

_A, _ACK = db.alert, db.alert_acknowledgement


@dataclass(frozen=True)
class ShownAlert:
    """One alert, and who acknowledged it (None while it is open). `content` is what the rule wrote: why, and what is
    normal."""

    id: int
    rule: str
    subject: str
    since: dt.datetime
    at: dt.datetime
    severity: str
    content: Mapping[str, Any]
    acknowledged_at: dt.datetime | None
    acknowledged_by: str
    note: str


@dataclass(frozen=True)
class OpenAlerts:
    """How many alerts nobody acknowledged, and the newest of them."""

    total: int
    newest: tuple[ShownAlert, ...]


def open_alerts(connection: sa.Connection, limit: int) -> OpenAlerts:
    """Return the alerts that are open; at most `limit` of them in full."""
    is_open = _ACK.c.alert.is_(None)
    joined = _A.outerjoin(_ACK, _ACK.c.alert == _A.c.id)
    total = connection.execute(sa.select(sa.func.count()).select_from(joined).where(is_open)).scalar_one()
    return OpenAlerts(int(total), tuple(_find(connection, limit, is_open)))


def alerts(connection: sa.Connection, limit: int, before: int | None, *, only_open: bool) -> list[ShownAlert]:
    """Return at most `limit` alerts below number `before`, newest first."""
    conditions: list[sa.ColumnElement[bool]] = [_ACK.c.alert.is_(None)] if only_open else []
    conditions += [_A.c.id < before] if before is not None else []
    return _find(connection, limit, *conditions)


def alert(connection: sa.Connection, number: int) -> ShownAlert | None:
    """Return one alert, None when there is none."""
    found = _find(connection, 1, _A.c.id == number)
    return found[0] if found else None


def acknowledge(settings: Settings, number: int, viewer: str, note: str) -> None:
    """Record that `viewer` has taken note of an alert, and the event of it, in one transaction.

    Raises ConfigurationError (`.reason`) for a note that can't stand, NotFound, AccessRefused for one that somebody
    acknowledged before, StorageError.
    """
    raised.acknowledge(settings, number, note, viewer)


def _find(connection: sa.Connection, limit: int, *conditions: sa.ColumnElement[bool]) -> list[ShownAlert]:
    columns = (*_A.c, _ACK.c.at.label("done_at"), _ACK.c.actor, _ACK.c.note)
    query = sa.select(*columns).select_from(_A.outerjoin(_ACK, _ACK.c.alert == _A.c.id)).where(*conditions)
    return [_shown(row) for row in connection.execute(query.order_by(_A.c.id.desc()).limit(limit))]


def _shown(row: sa.Row[Any]) -> ShownAlert:
    try:
        content = json.loads(row.content)
    except ValueError:
        content = {}
    return ShownAlert(
        row.id,
        row.rule,
        row.subject,
        aware(row.since),
        aware(row.at),
        row.severity,
        content if isinstance(content, dict) else {},
        aware(row.done_at) if row.done_at else None,
        row.actor or "",
        row.note or "",
    )
