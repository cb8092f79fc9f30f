"""The register of alerts: once each, with their events in the same transaction."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from cloakhouse.errors import AccessRefused, ConfigurationError, NotFound, StorageError
from cloakhouse.ledger import alerts as module
from cloakhouse.ledger.alert_rules import Alert
from cloakhouse.ledger.alerts import Acknowledgement, AlertRegister, Raised
from cloakhouse.ledger.audit import AuditLog

AT = dt.datetime(2026, 11, 22, 15, 0, tzinfo=dt.UTC)
ONE = Alert("unusual-volume", "ann: read", AT, "high", "500 values", "at most 60", (4, 9))
TWO = replace(ONE, subject="bob: read")


def test_an_alert_is_raised_once_with_its_event(url: str) -> None:
    register = AlertRegister(url)
    assert register.raise_([ONE], at=AT) == (Raised(1, ONE, AT),)
    assert register.raise_([ONE], at=AT) == ()
    assert register.raise_([ONE, TWO, TWO], at=AT) == (Raised(2, TWO, AT),)
    assert register.raise_([]) == ()
    assert [raised.alert for raised in register.open()] == [TWO, ONE]
    events = AuditLog(url).events()
    assert [(e.actor, e.action, e.object, e.count, dict(e.facts)) for e in events] == [
        ("platform", "alert", f"unusual-volume: {one.subject}", 2, {"alert": n, "rule": one.rule, "severity": "high"})
        for n, one in ((1, ONE), (2, TWO))
    ]


def test_an_alert_is_acknowledged_once_and_the_same_again_changes_nothing(url: str) -> None:
    register = AlertRegister(url)
    register.raise_([ONE, TWO], at=AT)
    seen = register.acknowledge(1, "carol", " a planned audit ", AT)
    assert seen == Raised(1, ONE, seen.at, Acknowledgement("carol", AT, "a planned audit"))
    assert register.acknowledge(1, "carol", "a planned audit") == seen
    for actor, note in (("carol", "another note"), ("dave", "a planned audit")):
        with pytest.raises(AccessRefused) as refused:
            register.acknowledge(1, actor, note)
        assert refused.value.code == "access.acknowledged"
    assert [raised.id for raised in register.open()] == [2]
    assert register.get(1) == seen
    assert [raised.id for raised in register.all()] == [2, 1]
    assert [raised.id for raised in register.all(1)] == [2]
    assert [raised.id for raised in register.all(5, before=2)] == [1]
    last = AuditLog(url).events()[-1]
    assert (last.actor, last.action, last.object, last.reason) == (
        "carol",
        "acknowledge alert",
        "alert 1: unusual-volume",
        "a planned audit",
    )
    assert AuditLog(url).size() == 3
    assert seen.as_dict()["acknowledged"]["note"] == "a planned audit"
    assert register.get(2).as_dict()["acknowledged"] is None


@pytest.mark.parametrize("number", [-1, 0, 2, 2**31, 2**70])
def test_an_unknown_alert_is_not_found(sqlite_url: str, number: int) -> None:
    register = AlertRegister(sqlite_url)
    register.raise_([ONE])
    for call in (register.get, lambda n: register.acknowledge(n, "carol", "note")):
        with pytest.raises(NotFound) as missing:
            call(number)
        assert missing.value.code == "not-found.alert"


@pytest.mark.parametrize("note", ["", "  ", "x" * 501, "two\nlines"])
def test_a_note_that_can_not_stand_is_refused(sqlite_url: str, note: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        AlertRegister(sqlite_url).acknowledge(1, "carol", note)
    assert refused.value.code == "configuration.note"


def test_without_its_event_there_is_no_alert_and_no_acknowledgement(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register = AlertRegister(url)
    register.raise_([ONE])

    def full(*_: object) -> int:
        raise StorageError(where="", expected="", found="", not_done="", remedy="")

    monkeypatch.setattr(module, "append", full)
    with pytest.raises(StorageError):
        register.raise_([TWO])
    with pytest.raises(StorageError):
        register.acknowledge(1, "carol", "a planned audit")
    assert [raised.acknowledged for raised in register.all()] == [None]


@pytest.mark.parametrize(
    "fields",
    [
        {"severity": "huge"},
        {"since": AT.replace(tzinfo=None)},
        {"subject": ""},
        {"subject": "x" * 201},
        {"subject": "a\nb"},
        {"entries": tuple(range(21))},
    ],
)
def test_an_alert_that_could_not_be_kept_is_none(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="an alert"):
        replace(ONE, **fields)  # type: ignore[arg-type]
