"""Questions to the log, compared with looking at every entry."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.audit_logs import NOON, event, filled

from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger import audit_query
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.audit_query import Page, Query, count_days, find, page

SIZE = 120
MINUTE = dt.timedelta(minutes=1)
QUESTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "actor": {"actor": "ann"},
    "actor and decision": {"actor": "ann", "decision": "refused"},
    "four": {"actor": "bob", "decision": "allowed", "dataset": "", "action": "read"},
    "nobody": {"actor": "nobody"},
    "never together": {"actor": "platform", "dataset": "baskets"},
    "run": {"run": "run-7"},
    "since": {"since": NOON + 90 * MINUTE},
    "until": {"until": NOON + 20 * MINUTE},
    "window": {"since": NOON + 50 * MINUTE, "until": NOON + 60 * MINUTE},
    "window and actor": {"since": NOON + 50 * MINUTE, "until": NOON + 90 * MINUTE, "actor": "carla"},
    "window before all": {"until": NOON},
    "window after all": {"since": NOON + 1_000 * MINUTE},
    "open window": {"since": NOON - MINUTE, "until": NOON + 1_000 * MINUTE},
    "text": {"text": "THING 11"},
    "text and actor": {"text": "thing 1", "actor": "ann"},
}


def meets(one: Event, asked: dict[str, Any]) -> bool:
    same = all(getattr(one, name) == asked[name] for name in ("actor", "decision", "action", "run") if name in asked)
    assert one.at is not None
    return (
        same
        and asked.get("dataset", "") in ("", one.dataset)
        and asked.get("since", one.at) <= one.at
        and ("until" not in asked or one.at < asked["until"])
        and asked.get("text", "").casefold() in one.object
    )


@pytest.fixture(autouse=True)
def _few_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_query, "SCANNED", 20)


def test_the_answer_is_that_of_looking_at_every_entry(url: str) -> None:
    log = filled(url, SIZE)
    log.record(event(7), event(3))  # of a clock that went backwards
    every = [(n, event(n)) for n in range(SIZE)] + [(SIZE, event(7)), (SIZE + 1, event(3))]
    for name, asked in QUESTIONS.items():
        expected = [number for number, one in reversed(every) if meets(one, asked)]
        found = find(log, Query(**asked), limit=200)
        assert [entry.number for entry in found] == expected[:200], name
        assert all(entry.event == dict(every)[entry.number] for entry in found)
        assert list(all_pages(log, Query(**asked), 7)) == expected, name


def all_pages(log: AuditLog, query: Query, limit: int) -> list[int]:
    found: list[int] = []
    before = None
    for _ in range(500):
        one = page(log, query, before, limit)
        assert len(one.entries) <= limit
        found += [entry.number for entry in one.entries]
        before = one.before
        if before is None:
            return found
    raise AssertionError("no end")


def test_an_empty_log(url: str) -> None:
    log = AuditLog(url)
    assert page(log, Query()) == page(log, Query(actor="ann", since=NOON, text="x")) == Page((), None)
    assert find(log, Query()) == []


def test_text_with_quotes_and_letters_beyond_ascii(url: str) -> None:
    log = AuditLog(url)
    log.record(event(0, reason='he said "Größe"'), event(1, reason="back\\slash"), event(2, code="access.key"))
    for text, number in (('"GRÖSSE"', 0), ("GRÖßE", 0), ("k\\s", 1), ("ACCESS.", 2)):
        assert [entry.number for entry in find(log, Query(text=text))] == [number], text


@pytest.mark.parametrize(
    "asked",
    [
        {"decision": "maybe"},
        {"since": NOON.replace(tzinfo=None)},
        {"since": NOON, "until": NOON},
        {"since": NOON, "until": NOON - MINUTE},
        {"actor": "x" * 1_001},
        {"text": "a\nb"},
        {"run": "\x00"},
    ],
)
def test_what_cannot_be_asked(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Query(**asked)
    assert refusal.value.code == "configuration.audit-query"


def test_pages_are_bounded(sqlite_url: str) -> None:
    log = filled(sqlite_url, 5)
    for limit in (0, -1, 201):
        with pytest.raises(ConfigurationError):
            page(log, Query(), limit=limit)
    assert [entry.number for entry in page(log, Query(), 3, 200).entries] == [2, 1, 0]
    assert page(log, Query(), 0).entries == ()
    assert page(log, Query(), 10**30 % 2**62).entries != ()


def test_counts(url: str) -> None:
    log = AuditLog(url)
    day = dt.timedelta(days=1)
    midnight = NOON.replace(hour=0)
    times = (midnight, midnight + day - MINUTE, midnight + day, NOON + 2 * day)
    log.record(*(event(number, at=at) for number, at in enumerate(times)))
    log.record(event(4, at=NOON))
    first = midnight.date()
    assert count_days(log, first, first + 3 * day) == {
        first: {"allowed": 2, "refused": 1},
        first + day: {"allowed": 1},
        first + 2 * day: {"allowed": 1},
        first + 3 * day: {},
    }
    for last in (first - day, first + 402 * day):
        with pytest.raises(ConfigurationError):
            count_days(log, first, last)


@pytest.mark.parametrize(("asked", "index"), [({"actor": "ann"}, "actor"), ({"run": "run-1", "actor": "ann"}, "run")])
def test_each_filter_is_served_by_its_index(sqlite_url: str, asked: dict[str, str], index: str) -> None:
    log = filled(sqlite_url, 50)
    plans: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "content" in statement:
            raw = connection.connection.driver_connection
            plans.extend(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    sa.event.listen(log.engine, "after_cursor_execute", explain)
    page(log, Query(**asked), None, 10)
    assert len(plans) == 1
    assert f"ix_audit_entry_{index}_number" in plans[0]
