from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.crash import limit_file_size
from tests.support.forks import at_once
from tests.support.processes import in_fork

from cloakhouse.errors import AccessRefused, StorageError
from cloakhouse.ledger.audit import RATE, AuditLog
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED, Event

HOUR = dt.timedelta(hours=1)
NOON = dt.datetime(2030, 5, 17, 12, tzinfo=dt.UTC)
EVENT = Event("ann", "detokenize", "customers.email", "service desk", "case 4711: receipts", 4)


def test_an_event_comes_back_as_it_was_written(url: str) -> None:
    log = AuditLog(url)
    refused = replace(EVENT, decision=REFUSED, code="access.key", count=2**40, at=NOON)
    log.record(refused)
    log.record(EVENT)
    first, second = AuditLog(url).events()
    assert first == refused
    assert second.at is not None
    assert abs(dt.datetime.now(dt.UTC) - second.at) < dt.timedelta(minutes=1)
    assert replace(second, at=None) == EVENT
    assert first.as_dict() == {
        "actor": "ann",
        "action": "detokenize",
        "object": "customers.email",
        "purpose": "service desk",
        "reason": "case 4711: receipts",
        "count": 2**40,
        "decision": "refused",
        "code": "access.key",
        "at": "2030-05-17T12:00:00.000000Z",
        **dict.fromkeys(("role", "dataset", "dag", "run", "task"), ""),
        "facts": {},
    }
    assert EVENT.as_dict()["at"] is None


def test_the_limit_is_reached_and_never_passed(url: str) -> None:
    log = AuditLog(url)
    for _ in range(2):
        log.record_within(EVENT, 10, HOUR)
    with pytest.raises(AccessRefused) as refusal:
        log.record_within(EVENT, 10, HOUR)
    assert refusal.value.code == RATE
    assert refusal.value.expected == "at most 10 values in 1 h"
    assert refusal.value.found == "8 allowed already, and 4 asked for"
    log.record_within(replace(EVENT, count=2), 10, HOUR)
    assert [(e.count, e.decision, e.code) for e in log.events()] == [
        (4, ALLOWED, ""),
        (4, ALLOWED, ""),
        (4, REFUSED, RATE),
        (2, ALLOWED, ""),
    ]


def test_a_limit_of_nothing_allows_nothing(url: str) -> None:
    log = AuditLog(url)
    with pytest.raises(AccessRefused):
        log.record_within(replace(EVENT, count=1), 0, HOUR)
    log.record_within(replace(EVENT, count=0), 0, HOUR)
    assert [e.decision for e in log.events()] == [REFUSED, ALLOWED]


def test_counted_is_who_did_the_same_and_was_allowed_in_the_window(url: str) -> None:
    log = AuditLog(url)
    for other in (
        replace(EVENT, actor="bob"),
        replace(EVENT, action="link"),
        replace(EVENT, decision=REFUSED, code="access.key"),
        replace(EVENT, at=NOON - HOUR),
    ):
        log.record(replace(other, count=10, at=other.at or NOON))
    log.record(replace(EVENT, at=NOON - HOUR + dt.timedelta(microseconds=1)))
    log.record(replace(EVENT, at=NOON + HOUR))  # of a clock that was ahead: counts, too
    log.record_within(replace(EVENT, count=2, at=NOON), 10, HOUR)
    with pytest.raises(AccessRefused):
        log.record_within(replace(EVENT, count=1, at=NOON), 10, HOUR)
    log.record_within(replace(EVENT, count=3, at=NOON + HOUR), 10, HOUR)  # what was allowed at noon counts no more


def test_fifty_processes_at_once_never_pass_the_limit(url: str) -> None:
    """Each asks twice for three values, of which 100 are allowed: 33 requests are, and every request is recorded."""

    def twice(_number: int) -> list[str]:
        log, answers = AuditLog(url), []
        for _ in range(2):
            try:
                log.record_within(replace(EVENT, count=3), 100, HOUR)
                answers.append("allowed")
            except AccessRefused:
                answers.append("refused")
        return answers

    answers = at_once(twice, 50)
    assert (answers.count("allowed"), answers.count("refused")) == (33, 67)
    found = AuditLog(url).events()
    assert sum(e.count for e in found if e.decision == ALLOWED) == 99
    assert len(found) == 100


def test_an_event_that_cannot_be_written_is_an_error(sqlite_url: str, tmp_path: Path) -> None:
    url = sqlite_url
    log = AuditLog(url)

    def on_a_full_disk() -> None:
        limit_file_size(0)
        for record in (lambda: log.record(EVENT), lambda: log.record_within(EVENT, 10, HOUR)):
            with pytest.raises(StorageError):
                record()

    assert in_fork(on_a_full_disk) == 0
    assert AuditLog(url).events() == []
    with pytest.raises(StorageError):
        AuditLog(f"sqlite:///{tmp_path}")
