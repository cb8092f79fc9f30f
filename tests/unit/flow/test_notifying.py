"""Alerts through Airflow's notifiers: the file, one message for each alert, markup, faults, and a real mail server."""

from __future__ import annotations

import datetime as dt
import email
import json
import socket
from collections.abc import Iterator
from email import policy
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseNotifier

from cloakhouse.errors import ContractError, StageError
from cloakhouse.flow import audit_tasks, notifying
from cloakhouse.flow.notifiers import Channel, channels_of, parse_channels
from cloakhouse.flow.notifying import Told, tell
from cloakhouse.ledger.alert_rules import Alert
from cloakhouse.ledger.alerts import AlertRegister
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.settings import Settings

NOW = dt.datetime(2026, 11, 22, 15, tzinfo=dt.UTC)
HOSTILE = "{{ 7*7 }} <b>x</b> {% for a in b %}"
SENT: list[tuple[str, str]] = []
FAULTS: list[Exception] = []


class Kept(BaseNotifier):  # type: ignore[misc]
    """Keeps what it is given; raises what FAULTS holds."""

    template_fields = ("subject", "text")

    def __init__(self, text: str, subject: str = "", **_: Any) -> None:
        super().__init__()
        self.text, self.subject = text, subject

    def notify(self, context: Any) -> None:
        if FAULTS:
            raise FAULTS.pop()
        SENT.append((self.subject, self.text))


PATH = f"{__name__}.Kept"
ONE = f"notifiers:\n- {{name: one, class: {PATH}, arguments: {{}}, title: subject, text: text, form: plain}}\n"
TWO = ONE + f"- {{name: two, class: {PATH}, text: text, form: html, severities: [high]}}\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    SENT.clear(), FAULTS.clear()
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLOAKHOUSE_CONTRACTS", str(tmp_path / "dags" / "contracts"))
    monkeypatch.delenv("CLOAKHOUSE_DATABASE", raising=False)
    (tmp_path / "dags" / "contracts").mkdir(parents=True)
    return Settings.from_environment()


def write(settings: Settings, text: str) -> None:
    (settings.contracts.parent / "alerts.yaml").write_text(text)


def alarm(settings: Settings, subject: str, severity: str = "high", at: dt.datetime = NOW) -> None:
    alert = Alert("bursts", subject, at, severity, f"why {HOSTILE}", "normal: 3 a day", (4, 5))
    AlertRegister(settings.database).raise_([alert], at=at)


def test_each_notifier_is_told_of_each_alert_once_and_in_order(settings: Settings) -> None:
    assert tell(settings, NOW) == ()
    write(settings, TWO)
    alarm(settings, "ann"), alarm(settings, "bob", "low")
    assert tell(settings, NOW) == (Told("one", 2, 0), Told("two", 1, 0))
    assert [title for title, _ in SENT] == ["[high] bursts: ann", "[low] bursts: bob", ""]
    assert tell(settings, NOW) == (Told("one", 0, 0), Told("two", 0, 0))
    alarm(settings, "eve")
    assert tell(settings, NOW + dt.timedelta(days=99)) == (Told("one", 1, 0), Told("two", 1, 0))
    told = [e for e in AuditLog(settings.database).events() if e.actor.startswith("notifier:")]
    assert [(e.actor, e.facts["alert"]) for e in told] == [
        ("notifier:one", 1),
        ("notifier:one", 2),
        ("notifier:two", 1),
        ("notifier:one", 3),
        ("notifier:two", 3),
    ]


def test_nothing_of_an_alert_becomes_a_template_or_markup(settings: Settings) -> None:
    write(settings, TWO)
    alarm(settings, HOSTILE)
    tell(settings, NOW)
    (title, plain), (_, marked) = SENT
    assert title == f"[high] bursts: {HOSTILE}"
    assert f"Why: why {HOSTILE}\nNormal: normal: 3 a day\nEntries of the audit log: 4, 5.\n" in plain
    assert "{{ 7*7 }} &lt;b&gt;x&lt;/b&gt;" in marked
    assert "<b>" not in marked


def test_a_notifier_that_fails_keeps_its_place_and_the_others_are_told(settings: Settings) -> None:
    write(settings, TWO)
    alarm(settings, "ann"), alarm(settings, "bob")
    FAULTS.append(ConnectionError("password=hunter2"))
    assert tell(settings, NOW) == (Told("one", 0, 2, "notifier.ConnectionError"), Told("two", 2, 0))
    FAULTS.append(ConnectionError("password=hunter2"))
    with pytest.raises(StageError, match="notifier") as fault:
        audit_tasks.tell_alerts()
    assert fault.value.retryable
    assert "hunter2" not in str(fault.value)
    assert audit_tasks.tell_alerts() == 2
    assert len(SENT) == 4


def test_a_new_notifier_begins_with_the_last_seven_days(settings: Settings) -> None:
    write(settings, ONE)
    alarm(settings, "old", at=NOW - dt.timedelta(days=8))
    alarm(settings, "new", at=NOW - dt.timedelta(days=6))
    assert tell(settings, NOW) == (Told("one", 1, 0),)
    assert SENT[0][0].endswith("new")


def test_more_than_a_run_may_send_waits_for_the_next(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "MOST", 2)
    monkeypatch.setattr(notifying, "PAGE", 2)
    write(settings, ONE)
    for number in range(5):
        alarm(settings, f"u{number}")
    assert [tell(settings, NOW)[0] for _ in range(3)] == [Told("one", 2, 3), Told("one", 2, 1), Told("one", 1, 0)]
    assert [title[-2:] for title, _ in SENT] == ["u0", "u1", "u2", "u3", "u4"]


@pytest.mark.parametrize("path", ["json.loads", "no.such.Thing", "os.path.Nothing", "pathlib.Path"])
def test_what_is_no_notifier_is_told_nothing(settings: Settings, path: str) -> None:
    write(settings, ONE.replace(PATH, path))
    alarm(settings, "ann")
    assert tell(settings, NOW) == (Told("one", 0, 1, "configuration.notifier"),)


@pytest.mark.parametrize(
    "text",
    [
        "notifiers: []",
        "notifiers: 3",
        "other: []",
        TWO.replace("name: two", "name: one"),
        ONE.replace("name: one", "name: One"),
        ONE.replace("form: plain", "form: markdown"),
        ONE.replace("arguments: {}", "arguments: {a: {b: 1}}"),
        ONE.replace("arguments: {}", "arguments: {A-b: 1}"),
        ONE.replace("title: subject", "title: 's t'"),
        ONE.replace("form: plain", "form: plain, severities: [loud]"),
        ONE.replace("form: plain", "form: plain, retries: 3"),
        ONE.replace(PATH, "Kept"),
    ],
)
def test_a_file_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_channels(text, "alerts.yaml")


def test_the_file_says_what_a_notifier_takes(settings: Settings) -> None:
    assert channels_of(settings) == ()
    write(settings, ONE.replace("arguments: {}", "arguments: {to: [a, b], n: 3}"))
    assert channels_of(settings) == (Channel("one", PATH, {"to": ["a", "b"], "n": 3}, "subject", "text", "plain", ()),)


@pytest.fixture
def mails() -> Iterator[tuple[int, list[Any]]]:
    """A real mail server on loopback: its port and what arrived."""
    from aiosmtpd.controller import Controller

    arrived: list[Any] = []

    class Handler:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
            arrived.append(envelope)
            return "250 taken"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Controller(Handler(), hostname="127.0.0.1", port=port)
    server.start()
    yield port, arrived
    server.stop()


def test_a_mail_arrives_at_a_real_server(
    settings: Settings, mails: tuple[int, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, arrived = mails
    extra = {"disable_tls": True, "disable_ssl": True, "timeout": 5, "retry_limit": 1}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": json.dumps(extra)}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_ALERTS", json.dumps(connection))
    write(
        settings,
        "notifiers:\n- name: mail\n  class: airflow.providers.smtp.notifications.smtp.SmtpNotifier\n"
        "  arguments: {to: [privacy@shop.example], from_email: cloakhouse@shop.example, smtp_conn_id: smtp_alerts}\n"
        "  title: subject\n  text: html_content\n  form: html\n",
    )
    alarm(settings, "ann {{ conn }} <script>")
    assert tell(settings, NOW) == (Told("mail", 1, 0),)
    (envelope,) = arrived
    assert (envelope.mail_from, envelope.rcpt_tos) == ("cloakhouse@shop.example", ["privacy@shop.example"])
    message = email.message_from_bytes(envelope.content, policy=policy.default)
    assert message["subject"] == "[high] bursts: ann {{ conn }} <script>"
    body = message.get_body(("html",))
    assert body is not None
    assert "ann {{ conn }} &lt;script&gt;" in body.get_content()
