"""Alerts go out through the Airflow notifiers that `alerts.yaml` names (`cloakhouse.flow.notifiers`).

Nothing of an alert is ever rendered as a template or as markup.

Each notifier is told of each alert once, in order; how far it has got is an event of the audit log, written after the
message went out. Killed between the two, that one message goes out again: an alert that comes twice does less harm than
one that never comes. A notifier that fails keeps its place, and the others are told all the same. A new notifier begins
with the alerts of the last seven days.
"""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cloakhouse.errors import ConfigurationError, StageError
from cloakhouse.flow.notifiers import FILE, HTML, Channel, channels_of
from cloakhouse.keys.files import locked
from cloakhouse.ledger import database as db
from cloakhouse.ledger.alerts import AlertRegister, Raised
from cloakhouse.ledger.audit import AuditLog, entry_of
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.settings import Settings

MOST = 100  # messages to one notifier in one run
BEGINS = dt.timedelta(days=7)
PAGE = 200  # alerts read at once
ALERT_PAGE = "/auditor/alerts/"
LOCK_WAIT_S = 1.0
BUSY = "notifier.busy"


@dataclass(frozen=True)
class Message:
    """An alert as it is told: its number, when it was raised, its severity, a title, and lines of text."""

    alert: int
    at: dt.datetime
    severity: str
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """What one run did for one notifier: messages sent, messages that wait, and what stopped it, empty for nothing."""

    notifier: str
    sent: int
    waiting: int
    trouble: str = ""


def tell(
    settings: Settings,
    now: dt.datetime,
    messages: Callable[[Settings, int, dt.datetime], Sequence[Message]] | None = None,
) -> tuple[Told, ...]:
    """Send each notifier the alerts that it wasn't told of, and return what was done; empty without a file.

    `messages` gives those with a number above the second argument, raised since the third, in order. Raises
    ConfigurationError, ContractError for a file that can't be read, StorageError.
    """
    wanted = messages or alerts_after
    return tuple(_tell(settings, one, now, wanted) for one in channels_of(settings))


def alerts_after(settings: Settings, number: int, since: dt.datetime) -> Sequence[Message]:
    """Return the alerts with a number above `number` that were raised since then, in order. Raises StorageError."""
    register, found, before = AlertRegister(settings.database), [], None
    while page := register.all(PAGE, before):
        found += [one for one in page if one.id > number and one.at >= since]
        before = page[-1].id
        if before <= number or page[-1].at < since:
            break
    return [_message(raised) for raised in reversed(found)]


def _message(raised: Raised) -> Message:
    alert = raised.alert
    entries = ", ".join(map(str, alert.entries)) or "none"
    return Message(
        raised.id,
        raised.at,
        alert.severity,
        f"[{alert.severity}] {alert.rule}: {alert.subject}",
        (
            f"Alert {raised.id}, raised {raised.at:%Y-%m-%d %H:%M} UTC: {alert.rule}, about {alert.subject}.",
            f"Why: {alert.why}",
            f"Normal: {alert.normal}",
            f"Entries of the audit log: {entries}.",
            f"Page: {ALERT_PAGE}{raised.id}",
        ),
    )


def _tell(
    settings: Settings,
    channel: Channel,
    now: dt.datetime,
    messages: Callable[[Settings, int, dt.datetime], Sequence[Message]],
) -> Told:
    sent, trouble = 0, ""
    try:
        with locked(settings.locks / f"notify-{channel.name}.lock", LOCK_WAIT_S, f"notifier {channel.name}"):
            log = AuditLog(settings.database)
            told = _position(log, channel)
            since = now - BEGINS if told is None else dt.datetime.min.replace(tzinfo=dt.UTC)
            waiting = [
                one
                for one in messages(settings, -1 if told is None else told, since)
                if not channel.severities or one.severity in channel.severities
            ]
            for message in waiting[:MOST]:
                trouble = _send(channel, message)
                if trouble:
                    break
                log.record(_event(settings, channel, message))
                sent += 1
            return Told(channel.name, sent, len(waiting) - sent, trouble)
    except StageError:
        return Told(channel.name, 0, 0, BUSY)


def _send(channel: Channel, message: Message) -> str:
    """Send one message; return what stopped it, by the class of the fault alone, since its text may quote secrets."""
    try:
        notifier = _notifier(channel, message)
        notifier.notify({})  # calling it would render what the alert says as a template
    except ConfigurationError as fault:
        return fault.code
    except Exception as fault:  # noqa: BLE001 - whatever a notifier raises, the others are told
        return f"notifier.{type(fault).__name__}"
    return ""


def _notifier(channel: Channel, message: Message) -> Any:
    from airflow.sdk import BaseNotifier
    from airflow.sdk.module_loading import import_string

    try:
        kind = import_string(channel.path)
    except (ImportError, AttributeError):
        kind = None
    if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
        raise ConfigurationError(
            where=f"{FILE}, notifier {channel.name}",
            expected="the class of an Airflow notifier",
            found="nothing that can be imported, or no notifier",
            not_done="it was told nothing",
            remedy="correct `class`, or install the provider",
            code="notifier",
        )
    text = "\n".join(message.lines)
    if channel.form == HTML:
        text = "<p>" + "<br>\n".join(html.escape(line) for line in message.lines) + "</p>"
    titled = {channel.title: message.title} if channel.title else {}
    body = text if channel.title or channel.form == HTML else f"{message.title}\n{text}"
    return kind(**{**channel.arguments, **titled, channel.text: body})


def _position(log: AuditLog, channel: Channel) -> int | None:
    """Return the number of the last alert that the notifier was told of, None for none."""
    table = db.audit_entry
    mine = (table.c.action == Action.ALERT) & (table.c.actor == _actor(channel))
    wanted = sa.select(table.c.number, table.c.content).where(mine).order_by(table.c.number.desc()).limit(1)
    with log.engine.connect() as connection:
        row = connection.execute(wanted).first()
    return None if row is None else int(entry_of(row.number, row.content).event.facts["alert"])


def _event(settings: Settings, channel: Channel, message: Message) -> Event:
    facts: dict[str, str | int] = {"alert": message.alert, "state": "told", "severity": message.severity}
    return Event(_actor(channel), Action.ALERT, f"notifier {channel.name}", settings.purpose, count=1, facts=facts)


def _actor(channel: Channel) -> str:
    return f"notifier:{channel.name}"
