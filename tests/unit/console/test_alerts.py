"""Alerts are listed, explained, and acknowledged once, by who may, with a form of this console."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from tests.support.console import Asked, asked

from cloakhouse.console.csrf import HALF_DAY_S, Forms
from cloakhouse.errors import AccessRefused
from cloakhouse.ledger.alert_rules import Alert
from cloakhouse.ledger.alerts import AlertRegister
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.settings import Settings

NOTE = "case 4711: spoke to the service desk"
SINCE = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
MARKUP = "<b>bold</b>"


@pytest.fixture
def raised(settings: Settings) -> AlertRegister:
    register = AlertRegister(settings.database)
    register.raise_([Alert("refusals", f"ben {MARKUP}", SINCE, "high", f"9 refusals {MARKUP}", "2 a day", (0, 1))])
    return register


def token(console: Asked, role: str = "auditor", **headers: str) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', console.get("/alerts/1", role, **headers).text)
    assert found
    return found[1]


def test_an_alert_says_why_it_fired_and_what_is_normal(own: Asked, raised: AlertRegister) -> None:
    text = own.get("/alerts/1").text
    for said in ("why it fired", "9 refusals", "what is normal", "2 a day", "/log/0", "&lt;b&gt;bold"):
        assert said in text
    assert MARKUP not in text
    assert "refusals" in own.get("/").text
    assert "1 alert is open" in own.get("/").text


def test_acknowledging_is_recorded_with_its_event_and_once(
    own: Asked, raised: AlertRegister, settings: Settings
) -> None:
    sent = {"token": token(own), "note": NOTE}
    before = AuditLog(settings.database).size()
    answer = own.post("/alerts/1/acknowledge", sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts/1")
    (entry,) = AuditLog(settings.database).entries(before)
    assert (entry.event.actor, entry.event.action) == ("ann", "acknowledge alert")
    seen = raised.get(1).acknowledged
    assert seen is not None
    assert (seen.actor, seen.note) == ("ann", NOTE)
    text = own.get("/alerts/1").text
    assert NOTE in text
    assert 'name="token"' not in text
    assert "No alert is open" in own.get("/alerts").text
    assert "refusals" in own.get("/alerts?show=all").text
    again = own.post("/alerts/1/acknowledge", {**sent, "note": "another note, by another"}, x_name="eve")
    assert again.status_code == 403
    assert AuditLog(settings.database).size() == before + 1


@pytest.mark.parametrize("note", ["", "short", "x" * 501, "mail ann@example.org about it"])
def test_a_note_that_cannot_stand_is_asked_for_again(own: Asked, raised: AlertRegister, note: str) -> None:
    answer = own.post("/alerts/1/acknowledge", {"token": token(own), "note": note})
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert "example.org" not in answer.text
    assert raised.get(1).acknowledged is None


@pytest.mark.parametrize("role", ["model", "approver", "viewer"])
def test_who_may_not_write_is_refused_even_with_a_form(own: Asked, raised: AlertRegister, role: str) -> None:
    answer = own.post("/alerts/1/acknowledge", {"token": token(own), "note": NOTE}, role)
    assert answer.status_code == 403
    assert raised.get(1).acknowledged is None
    assert own.post("/alerts/1/acknowledge", {"token": token(own), "note": NOTE}, "").status_code == 401


def test_forms_of_others_are_refused(own: Asked, raised: AlertRegister, settings: Settings) -> None:
    good = token(own)
    for sent in (
        {"note": NOTE},
        {"token": "0" * 64, "note": NOTE},
        {"token": good[::-1], "note": NOTE},
        {"token": "ä"},
    ):
        assert own.post("/alerts/1/acknowledge", sent).status_code == 403
    sent = {"token": good, "note": NOTE}
    assert own.post("/alerts/1/acknowledge", sent, x_name="eve").status_code == 403
    for headers in (
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://evil.example"},
    ):
        assert own.post("/alerts/1/acknowledge", sent, **headers).status_code == 403
    assert own.post("/alerts/2/acknowledge", sent).status_code == 403
    assert (
        own.post("/alerts/9/acknowledge", {**sent, "token": Forms(settings.home).token("ann", "alert 9")}).status_code
        == 404
    )
    assert (
        own.client.post("/alerts/1/acknowledge", content=b"x" * 9_000, headers={"x-role": "auditor"}).status_code == 400
    )
    assert raised.get(1).acknowledged is None
    fine = own.post("/alerts/1/acknowledge", sent, origin="http://127.0.0.1:8090", sec_fetch_site="same-origin")
    assert fine.status_code == 303


def test_a_form_lasts_half_a_day_at_least_and_a_day_at_most(settings: Settings) -> None:
    forms = Forms(settings.home)
    made = forms.token("ann", "alert 1", 10.0)
    forms.check(made, "ann", "alert 1", HALF_DAY_S + 10.0)
    with pytest.raises(AccessRefused, match=r"access\.form"):
        forms.check(made, "ann", "alert 1", 2 * HALF_DAY_S)
    assert Forms(settings.home).token("ann", "alert 1", 10.0) == made
    file = settings.home / "console" / "forms.key"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"short")
    with pytest.raises(AccessRefused):
        forms.token("ann", "alert 1")


def test_many_alerts_come_in_pages(settings: Settings) -> None:
    alerts = [Alert("refusals", f"number {n}", SINCE, "low", "why", "normal") for n in range(60)]
    AlertRegister(settings.database).raise_(alerts)
    console = asked(settings)
    first = console.get("/alerts").text
    assert first.count("number ") == 50
    assert console.get("/alerts?before=11").text.count("number ") == 10
    assert "before=11" in first
