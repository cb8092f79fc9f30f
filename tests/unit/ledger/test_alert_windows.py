"""Aggregates of the log for the rules: the same on both kinds of database, and as counted by hand."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.access_uses import AccessUses
from cloakhouse.ledger.alert_rules_activity import Refused, Tally, Use
from cloakhouse.ledger.alert_rules_state import LogState, ReceiverState
from cloakhouse.ledger.alert_windows import LogWindows
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.forwarding import Position

AT = dt.datetime(2026, 11, 18, 9, 30, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def made(url: str, *events: Event) -> LogWindows:
    log = AuditLog(url)
    log.record(*events)
    return LogWindows(log.engine)


def test_tallies_are_by_actor_action_and_hour_within_the_window(url: str) -> None:
    windows = made(
        url,
        Event("ann", "read", "a", count=3, at=AT - 2 * DAY),
        Event("ann", "read", "a", count=3, at=AT),
        Event("ann", "read", "b", count=4, at=AT + HOUR / 4, decision="refused"),
        Event("bob", "read", "b", count=5, at=AT),
        Event("ann", "query", "b", at=AT + HOUR),
        Event("ann", "tag", "b", at=AT + HOUR),
        Event("ann", "read", "b", at=AT + 2 * DAY),
    )
    ten = AT.replace(minute=0)
    found = windows.tallies(AT - DAY, AT + DAY)
    assert sorted(found, key=lambda t: t.first) == [
        Tally("ann", "read", ten, 2, 7, 1, 2),
        Tally("bob", "read", ten, 1, 5, 3, 3),
        Tally("ann", "query", ten + HOUR, 1, 0, 4, 4),
    ]
    assert windows.tallies(AT + 9 * DAY, AT + 10 * DAY) == []


def test_a_refused_key_and_what_it_was_asked_for_are_one_refusal(url: str) -> None:
    def event(action: str, n: int, actor: str = "ann") -> Event:
        return Event(actor, action, "k", decision="refused", at=AT + n * HOUR / 60)

    actions = ("use key", "detokenize", "use key", "use key", "link", "use key", "read", "use key")
    others = (event("detokenize", 20, "bob"), event("use key", 21, "bob"))
    windows = made(url, *(event(action, n) for n, action in enumerate(actions)), *others)
    assert windows.refusals(AT - DAY, 1) == [
        Refused("ann", 6, AT + HOUR / 60, 1, 7),
        Refused("bob", 2, AT + HOUR / 3, 8, 9),
    ]


def test_runs_of_refusals_end_with_something_allowed_or_failed(url: str) -> None:
    def event(actor: str, decision: str, n: int) -> Event:
        return Event(actor, "use key", "k", decision=decision, at=AT + n * HOUR / 60)

    pattern = "RRRARRRRFRaaRb"
    events = [
        event("ann" if c.isupper() else "bob", {"R": "refused", "F": "failed"}.get(c.upper(), "allowed"), n)
        for n, c in enumerate(pattern)
    ]
    windows = made(url, event("ann", "refused", -60 * 48), *events)
    assert windows.refusals(AT - DAY, 3) == [
        Refused("ann", 3, AT, 1, 3),
        Refused("ann", 4, AT + 4 * HOUR / 60, 5, 8),
    ]
    assert windows.refusals(AT - DAY, 9) == []


def test_first_uses_are_by_actor_key_and_purpose(url: str) -> None:
    def use(actor: str, key: str, at: dt.datetime, purpose: str = "audit", **fields: str) -> Event:
        return Event(actor, "use key", key, purpose, at=at, **fields)

    windows = made(
        url,
        use("ann", "k1", AT - 40 * DAY),
        use("ann", "k1", AT - 30 * DAY),
        use("ann", "k3", AT - 30 * DAY),
        use("ann", "k1", AT),
        use("ann", "k1", AT + HOUR),
        use("ann", "k1", AT, "other"),
        use("ann", "k2", AT, decision="refused"),
        Event("bob", "detokenize", "customers.email", at=AT + HOUR),
    )
    AccessUses(url).record("carol", ["synthetic/plain"], "training", AT)
    AccessUses(url).record("ann", ["k1"], "audit", AT)
    AccessUses(url).record("dave", ["synthetic/plain"], "training", AT - DAY)
    found = windows.uses(AT - 90 * DAY, AT)
    assert sorted(found, key=lambda u: (u.actor, u.key, u.purpose)) == [
        Use("ann", "k1", "audit", AT, 3, AT - 30 * DAY),
        Use("ann", "k1", "other", AT, 5, None),
        Use("bob", "customers.email", "", AT + HOUR, 7, None),
        Use("carol", "synthetic/plain", "training", AT, None, None),
    ]


def test_the_health_of_a_log(url: str) -> None:
    log = AuditLog(url)
    windows = LogWindows(log.engine)
    assert windows.health(AT, 60) == LogState(0)
    log.record(
        Event("p", "verify log", "audit log", at=AT),
        Event("p", "read", "a", at=AT + HOUR),
        Event("p", "read", "a", at=AT + HOUR - dt.timedelta(seconds=90)),
        Event("p", "verify log", "audit log", at=AT + 2 * HOUR, decision="failed"),
    )
    with log.engine.begin() as connection:
        connection.execute(sa.insert(db.audit_checkpoint).values(size=2, at=AT + HOUR, note="x"))
    found = windows.health(AT - DAY, 60)
    assert found == LogState(4, AT, 2, AT + HOUR, AT, (3, AT + 2 * HOUR), found.backwards)
    ((number, at, seconds),) = found.backwards
    assert (number, at, seconds) == (2, AT + HOUR - dt.timedelta(seconds=90), 90.0)
    assert windows.health(AT - DAY, 91).backwards == ()
    log.record(Event("p", "verify log", "audit log", at=AT + 3 * HOUR))
    assert windows.health(AT - DAY, 91).failed is None


@pytest.mark.parametrize(
    ("position", "state"),
    [
        (None, ReceiverState("siem", 2, "", AT)),
        (Position("siem", 1, AT, "forwarding.tls"), ReceiverState("siem", 1, "forwarding.tls", AT + HOUR)),
        (Position("siem", 2, AT), ReceiverState("siem", 0, "", None)),
    ],
)
def test_the_state_of_a_receiver(sqlite_url: str, position: Position | None, state: ReceiverState) -> None:
    windows = made(sqlite_url, Event("p", "read", "a", at=AT), Event("p", "read", "a", at=AT + HOUR))
    assert windows.receiver("siem", position) == state


def test_an_empty_log_has_nothing_to_tell(url: str) -> None:
    windows = LogWindows(AuditLog(url).engine)
    assert windows.tallies(AT - DAY, AT) == []
    assert windows.refusals(AT, 1) == []
    assert windows.uses(AT - DAY, AT) == []
    assert windows.receiver("siem", None) == ReceiverState("siem", 0, "", None)
