"""The register of alerts: raised once each, acknowledged once each, and both are events of the audit log.

An alert is the same one as another of the same rule, subject and begin: raising it again does nothing. The row and its
event are one transaction, so that there is no alert without its event, whatever is killed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cloakhouse.errors import AccessRefused, ConfigurationError, NotFound
from cloakhouse.ledger import database as db
from cloakhouse.ledger.alert_rules import Alert
from cloakhouse.ledger.audit import append
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.version_rows import aware
from cloakhouse.ledger.writing import alone, retried

PLATFORM = "platform"
LONGEST_NOTE = 500
_A, _K = db.alert, db.alert_acknowledgement
_LOCK = "alerts"


@dataclass(frozen=True)
class Acknowledgement:
    """Who has seen an alert, when (UTC), and what came of it."""

    actor: str
    at: dt.datetime
    note: str


@dataclass(frozen=True)
class Raised:
    """An alert in the register: its number, when it was raised (UTC), and who acknowledged it, if anybody did."""

    id: int
    alert: Alert
    at: dt.datetime
    acknowledged: Acknowledgement | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        seen = self.acknowledged
        told = {"actor": seen.actor, "at": seen.at.isoformat(), "note": seen.note} if seen else None
        return {"id": self.id, "at": self.at.isoformat(), **self.alert.as_dict(), "acknowledged": told}


class AlertRegister:
    """Raises, acknowledges and lists alerts. Safe from many processes. Every method raises StorageError."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    @retried
    def raise_(
        self, alerts: Sequence[Alert], actor: str = PLATFORM, at: dt.datetime | None = None
    ) -> tuple[Raised, ...]:
        """Add those of `alerts` that aren't there yet, each with its event, and return them."""
        moment = at or dt.datetime.now(dt.UTC)
        if not alerts or not self._missing(alerts):
            return ()
        fresh = []
        with alone(self._engine, _LOCK) as connection:
            for alert in alerts:
                if not _is_there(connection, alert):
                    fresh.append(_add(connection, alert, moment))
            append(connection, [_event(raised, actor) for raised in fresh])
        return tuple(fresh)

    @retried
    def acknowledge(self, number: int, actor: str, note: str, at: dt.datetime | None = None) -> Raised:
        """Note that `actor` has seen alert `number`, with the event, and return it. The same again changes nothing.

        Raises NotFound (`not-found.alert`), AccessRefused (`access.acknowledged`) for one that was acknowledged with
        another note or by somebody else, ConfigurationError (`configuration.note`) for a note that is empty, not
        printable or longer than 500 characters. `cloakhouse.stages.alerting.acknowledge` looks for personal data, too.
        """
        text = note.strip()
        if not text or len(text) > LONGEST_NOTE or not text.isprintable():
            raise _bad_note(len(text))
        moment = at or dt.datetime.now(dt.UTC)
        with alone(self._engine, _LOCK) as connection:
            known = _one(connection, number)
            if known.acknowledged is not None:
                if (known.acknowledged.actor, known.acknowledged.note) == (actor, text):
                    return known
                raise _acknowledged(known)
            row = {"alert": number, "at": moment, "actor": actor, "note": text}
            connection.execute(sa.insert(_K).values(row))
            what = f"alert {number}: {known.alert.rule}"
            facts: dict[str, str | int] = {"alert": number, "rule": known.alert.rule}
            append(connection, [Event(actor, Action.ACKNOWLEDGE, what, reason=text, count=1, facts=facts)])
            return Raised(known.id, known.alert, known.at, Acknowledgement(actor, moment, text))

    def open(self) -> list[Raised]:
        """Return the alerts that nobody has acknowledged, newest first."""
        return self._list(_K.c.alert.is_(None))

    def all(self, limit: int = 100, before: int | None = None) -> list[Raised]:
        """Return at most `limit` alerts, newest first; `before`: only those with a lower number."""
        return self._list(sa.true() if before is None else _A.c.id < before, limit)

    def get(self, number: int) -> Raised:
        """Return alert `number`. Raises NotFound (`not-found.alert`)."""
        with self._engine.connect() as connection:
            return _one(connection, number)

    def _missing(self, alerts: Sequence[Alert]) -> bool:
        """Return whether one of `alerts` isn't there, without making anybody wait."""
        with self._engine.connect() as connection:
            return not all(_is_there(connection, alert) for alert in alerts)

    def _list(self, chosen: sa.ColumnElement[bool], limit: int | None = None) -> list[Raised]:
        with self._engine.connect() as connection:
            return [_raised(row) for row in connection.execute(_wanted().where(chosen).limit(limit))]


def _wanted() -> sa.Select[Any]:
    seen = (_K.c.actor.label("seen_by"), _K.c.at.label("seen_at"), _K.c.note)
    return sa.select(_A, *seen).outerjoin(_K, _K.c.alert == _A.c.id).order_by(_A.c.id.desc())


def _one(connection: sa.Connection, number: int) -> Raised:
    row = connection.execute(_wanted().where(_A.c.id == number)).first() if 0 < number < 2**31 else None
    if row is None:
        raise NotFound(
            where="the alerts",
            expected="the number of an alert",
            found="none of that number",
            not_done="nothing was acknowledged",
            remedy="`cloakhouse alerts --all` lists them",
            code="alert",
        )
    return _raised(row)


def _is_there(connection: sa.Connection, alert: Alert) -> bool:
    same = (_A.c.rule == alert.rule) & (_A.c.subject == alert.subject) & (_A.c.since == alert.since)
    return connection.execute(sa.select(_A.c.id).where(same)).first() is not None


def _add(connection: sa.Connection, alert: Alert, at: dt.datetime) -> Raised:
    content = json.dumps({"why": alert.why, "normal": alert.normal, "entries": list(alert.entries)}, sort_keys=True)
    row = {name: getattr(alert, name) for name in ("rule", "subject", "since", "severity")}
    made = connection.execute(sa.insert(_A).values(**row, at=at, content=content))
    assert made.inserted_primary_key is not None
    return Raised(int(made.inserted_primary_key[0]), alert, at)


def _event(raised: Raised, actor: str) -> Event:
    alert = raised.alert
    facts: dict[str, str | int] = {"alert": raised.id, "rule": alert.rule, "severity": alert.severity}
    return Event(actor, Action.ALERT, f"{alert.rule}: {alert.subject}", count=len(alert.entries), facts=facts)


def _raised(row: sa.Row[Any]) -> Raised:
    told = json.loads(row.content)
    alert = Alert(
        row.rule, row.subject, aware(row.since), row.severity, told["why"], told["normal"], tuple(told["entries"])
    )
    seen = None if row.seen_by is None else Acknowledgement(row.seen_by, aware(row.seen_at), row.note)
    return Raised(row.id, alert, aware(row.at), seen)


def _acknowledged(known: Raised) -> AccessRefused:
    seen = known.acknowledged
    assert seen is not None
    return AccessRefused(
        where=f"alert {known.id}",
        expected="an alert that nobody has acknowledged",
        found=f"one that {seen.actor} acknowledged at {seen.at:%Y-%m-%d %H:%M} UTC",
        not_done="nothing was changed; the first note stands",
        remedy="`cloakhouse alerts --all` shows the note",
        code="acknowledged",
    )


def _bad_note(length: int) -> ConfigurationError:
    return ConfigurationError(
        where="the note",
        expected=f"1 to {LONGEST_NOTE} printable characters",
        found=f"{length} characters",
        not_done="nothing was acknowledged",
        remedy="say in a sentence what was looked at, and what came of it",
        code="note",
    )
