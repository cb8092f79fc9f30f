"""Looking at an installation: what is new is raised once, and what can't be looked at stops nothing else."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import AccessRefused, ConfigurationError, KeyServiceError
from cloakhouse.keys.protocol import FILE, zone_key
from cloakhouse.ledger.alerts import AlertRegister
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.audited_keys import service_of
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.settings import Settings
from cloakhouse.stages import alerting, forwarding_receivers
from cloakhouse.stages.spending import allowance, balances

NOW = dt.datetime.now(dt.UTC)
BY = Event("platform", "spend", "a test")
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv(forwarding_receivers.VARIABLE, raising=False)
    return Settings.from_environment({}).with_home(tmp_path / "home")


def rules(settings: Settings, now: dt.datetime = NOW) -> list[tuple[str, str]]:
    return sorted((alert.rule, alert.subject) for alert in alerting.evaluate(settings, now))


def test_a_fresh_installation_has_no_alert(settings: Settings) -> None:
    assert rules(settings) == []


def test_refusals_are_raised_once_and_seen_by_whoever_acknowledges(settings: Settings) -> None:
    log = AuditLog(settings.database)
    log.record(*(Event("ann", "use key", "protected/direct", decision="refused", at=NOW - HOUR) for _ in range(5)))
    assert rules(settings) == [("refusals-in-a-row", "ann")]
    assert rules(settings) == []
    (raised,) = AlertRegister(settings.database).open()
    with pytest.raises(ConfigurationError):
        alerting.acknowledge(settings, raised.id, "mail to ann.miller@example.org went out")
    seen = alerting.acknowledge(settings, raised.id, "a wrong identity file, put right")
    assert seen.acknowledged is not None
    assert seen.acknowledged.actor == "platform"
    with pytest.raises(AccessRefused):
        alerting.acknowledge(settings, raised.id, "a wrong identity file, put right", who="carol")


def test_a_key_whose_rotation_is_overdue(settings: Settings) -> None:
    name = zone_key("landing", FILE)
    service_of(settings).generate(name, {"use": "a test"})
    later = NOW + settings.rotation_period + 8 * DAY
    found = rules(settings, later)
    assert ("rotation-overdue", name) in found
    assert rules(settings, NOW + settings.rotation_period) == []


def test_a_budget_that_is_nearly_gone(settings: Settings) -> None:
    state = next(one for one in balances(settings))
    ledger = PrivacyLedger(settings.database)
    budget = load_contracts(settings.contracts)[state.account.dataset].privacy_budget
    assert budget is not None
    allowed = allowance(budget, state.account.consumer)
    ledger.reserve("one", {state.account: allowed}, allowed.rho * 0.5, 0.0, "a test", BY, NOW)
    assert rules(settings) == []
    ledger.reserve("two", {state.account: allowed}, allowed.rho * 0.45, 0.0, "a test", BY, NOW)
    assert rules(settings) == [("privacy-budget-nearly-gone", str(state.account))]
    assert rules(settings, NOW + HOUR / 60) == []


def test_plaintext_in_the_lake_is_critical(settings: Settings) -> None:
    stray = settings.lake / "landing" / "customers" / "forgotten.csv"
    stray.parent.mkdir(parents=True)
    stray.write_text("id\n1\n")
    (alert,) = (a for a in alerting.evaluate(settings, NOW) if a.rule == "coverage-under-100")
    assert (alert.subject, alert.severity) == ("lake", "critical")
    assert alert.why == "0.00 % of the bytes are encrypted; 1 files are not as agreed"


def test_the_lake_is_measured_once_a_day_and_leaves_one_event(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = settings.lake / "landing" / "customers" / "forgotten.csv"
    stray.parent.mkdir(parents=True)
    stray.write_text("id\n1\n")
    assert [a.rule for a in alerting.evaluate(settings, NOW)] == ["coverage-under-100"]
    (event,) = (e for e in AuditLog(settings.database).events() if e.action == "measure coverage")
    assert (event.object, event.count, event.decision, event.code) == ("lake", 1, "failed", "integrity.coverage")
    assert event.facts == {"encrypted_bytes": 0, "plaintext_bytes": 5, "findings": 1}
    monkeypatch.setattr(alerting, "open_ring", None)  # no second look
    size = AuditLog(settings.database).size()
    assert alerting.evaluate(settings, NOW) == ()
    assert [a.rule for a in alerting.found(settings, NOW) if a.rule.startswith("coverage")] == ["coverage-under-100"]
    assert AuditLog(settings.database).size() == size


def test_a_receiver_that_is_down(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "receivers.yaml"
    path.write_text(
        "apiVersion: cloakhouse.receivers/v1\nreceivers:\n  siem: {kind: file, path: /nowhere/at/all.jsonl}\n"
    )
    monkeypatch.setenv(forwarding_receivers.VARIABLE, str(path))
    AuditLog(settings.database).record(Event("ann", "read", "b", at=NOW - 2 * HOUR))
    assert rules(settings) == [("forwarding-behind", "siem")]


def test_what_can_not_be_looked_at_is_an_alert_and_stops_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise KeyServiceError(where="", expected="", found="", not_done="", remedy="", code="unreachable")

    def broken(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(alerting, "key_status", away)
    monkeypatch.setattr(alerting, "receivers_of", broken)
    AuditLog(settings.database).record(*(Event("ann", "read", "b", decision="refused", at=NOW) for _ in range(5)))
    assert rules(settings) == [
        ("not-checked", "receivers of the log"),
        ("not-checked", "rotation of keys"),
        ("refusals-in-a-row", "ann"),
    ]


def test_the_rules_over_the_log_find_a_burst_a_volume_an_odd_hour_and_a_first_use(settings: Settings) -> None:
    today = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - n * DAY for n in range(28, 0, -1)]
    usual = [Event("ann", "detokenize", "customers.email", "desk", count=2, at=day + 10 * HOUR) for day in days]
    more = [Event("bob", "query", "baskets", at=day + hour * HOUR) for day in days for hour in range(9, 12)]
    odd = Event("ann", "detokenize", "customers.phone", "desk", count=500, at=today)
    many = [Event("bob", "query", "baskets", at=today) for _ in range(60)]
    AuditLog(settings.database).record(*sorted([*usual, *more], key=lambda e: e.at or NOW), odd, *many)
    found = rules(settings, today + HOUR / 60)
    assert {rule for rule, _ in found} == {
        "checkpoint-stale",
        "detokenization-burst",
        "first-use-of-grant",
        "unusual-hour",
        "unusual-volume",
        "verification-stale",
    }
    assert ("first-use-of-grant", "ann: customers.phone: desk") in found
