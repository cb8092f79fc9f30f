"""Exports of the audit log: what was asked for, in order, and the export itself among the entries."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path

import pytest

from cloakhouse.errors import ConfigurationError, StorageError
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.settings import Settings
from cloakhouse.stages import log_export
from cloakhouse.stages.log_export import Choice, export_log

AT = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("cloakhouse.stages.auditing.actor", lambda _: "ann")
    monkeypatch.setattr(log_export, "PAGE", 3)
    made = Settings.from_environment({}).with_home(tmp_path / "home")
    AuditLog(made.database).record(
        *(Event("ann", ("read", "query")[n % 2], f"b@{n}", at=AT + n * HOUR) for n in range(8))
    )
    return made


def exported(settings: Settings, choice: Choice) -> list[int]:
    stream = io.BytesIO()
    count = export_log(settings, choice, stream)
    lines = stream.getvalue().splitlines()
    assert count == len(lines)
    return [json.loads(line)["number"] for line in lines]


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        (Choice(format="jsonl"), [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (Choice(actions=("query",), format="jsonl"), [1, 3, 5, 7]),
        (Choice(since=AT + 3 * HOUR, until=AT + 6 * HOUR, format="jsonl"), [3, 4, 5]),
        (Choice(until=AT + HOUR, format="jsonl"), [0]),
        (Choice(since=(AT + 5 * HOUR).astimezone(dt.timezone(5 * HOUR)), format="jsonl"), [5, 6, 7, 8]),
        (Choice(since=AT + 5 * HOUR, actions=("read", "query"), format="jsonl"), [5, 6, 7]),
    ],
)
def test_what_was_asked_for_and_no_more(settings: Settings, choice: Choice, numbers: list[int]) -> None:
    assert exported(settings, choice) == numbers


def test_the_export_is_an_entry_that_says_what_was_taken(settings: Settings) -> None:
    exported(settings, Choice(since=AT, until=AT + HOUR, actions=("read",), format="jsonl"))
    event = AuditLog(settings.database).events()[-1]
    assert (event.actor, event.action, event.object) == ("ann", "export log", "audit log")
    assert event.facts == {
        "format": "jsonl",
        "actions": "read",
        "since": "2026-11-22T00:00:00.000000Z",
        "until": "2026-11-22T01:00:00.000000Z",
    }


def test_an_export_that_can_not_be_recorded_reads_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise StorageError(where="", expected="", found="", not_done="", remedy="")

    monkeypatch.setattr(log_export, "record", full)
    stream = io.BytesIO()
    with pytest.raises(StorageError):
        export_log(settings, Choice(), stream)
    assert stream.getvalue() == b""


@pytest.mark.parametrize(
    "fields",
    [
        {"since": dt.datetime(2026, 1, 1)},
        {"since": AT, "until": AT},
        {"since": AT, "until": AT - HOUR},
        {"actions": ("teleport",)},
        {"format": "xml"},
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Choice(**fields)  # type: ignore[arg-type]
    assert refused.value.code == "configuration.export"
