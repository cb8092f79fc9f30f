"""`cloakhouse alerts`: lists, acknowledges, looks now."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cloakhouse.client.alerting import alerts
from cloakhouse.client.failures import CarefulGroup
from cloakhouse.ledger.alert_rules import Alert
from cloakhouse.ledger.alerts import AlertRegister
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.settings import Settings

AT = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(tmp_path))
    made = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path)})
    register = AlertRegister(made.database)
    register.raise_([Alert("unusual-hour", who, AT, "medium", "3 events at 02", "09 to 17") for who in ("ann", "bob")])
    return made


def run(*arguments: str) -> Result:
    group = CarefulGroup("cloakhouse", commands=[alerts])
    return CliRunner().invoke(group, ["alerts", *arguments])


def test_open_alerts_are_listed_with_why_and_normal(settings: Settings) -> None:
    table = run()
    assert table.exit_code == 0
    for text in ("unusual-hour", "3 events at 02", "09 to 17", "2026-11-22 00:00"):
        assert text in table.stdout
    found = json.loads(run("--output", "json").stdout)
    assert [(one["id"], one["subject"], one["acknowledged"]) for one in found] == [(2, "bob", None), (1, "ann", None)]


def test_an_acknowledged_alert_is_shown_with_all_only(settings: Settings) -> None:
    done = run("ack", "2", "--note", "bob was on call, as planned", "--output", "json")
    assert json.loads(done.stdout)["acknowledged"]["note"] == "bob was on call, as planned"
    assert [one["id"] for one in json.loads(run("--output", "json").stdout)] == [1]
    assert [one["id"] for one in json.loads(run("--all", "--output", "json").stdout)] == [2, 1]
    assert "on call" in run("--all").stdout
    assert "alert 1 (unusual-hour) is acknowledged" in run("ack", "1", "--note", "so was ann, as planned").stderr
    assert "no alert is open" in run().stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("ack", "9", "--note", "there is none of it"), 5), (("ack", "1", "--note", "short"), 2), (("ack", "0"), 2)],
)
def test_what_can_not_be_acknowledged(settings: Settings, arguments: tuple[str, ...], code: int) -> None:
    assert run(*arguments).exit_code == code


def test_check_raises_what_is_new_and_fails_where_asked(settings: Settings) -> None:
    now = dt.datetime.now(dt.UTC)
    AuditLog(settings.database).record(*(Event("eve", "use key", "k", decision="refused", at=now) for _ in range(6)))
    found = json.loads(run("check", "--output", "json").stdout)
    assert [(one["rule"], one["subject"]) for one in found] == [("refusals-in-a-row", "eve")]
    assert "nothing new" in run("check").stderr
    assert run("check", "--fail").exit_code == 3
