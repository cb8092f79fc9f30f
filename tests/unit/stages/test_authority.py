from __future__ import annotations

import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support import service_aws
from tests.support.principals import REASON

from cloakhouse.errors import AccessRefused, ConfigurationError, KeyServiceError
from cloakhouse.keys.identity import make_identity
from cloakhouse.keys.service import service_of
from cloakhouse.ledger import acting
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import REFUSED, Event
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import UNKNOWN, actor, asked, check_reason, refusals_recorded


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.from_environment({}).with_home(tmp_path / "home")
    service_of(settings).names()
    return settings


def log_of(settings: Settings) -> list[tuple[str, str, str]]:
    return [(e.actor, e.decision, e.code) for e in AuditLog(settings.database).events()]


def enrolled(settings: Settings, name: str) -> Settings:
    file = settings.home.parent / f"{name}.txt"
    service_of(settings).enrol(name, identity=file)  # type: ignore[attr-defined]
    return replace(settings, identity=file, purpose="service desk")


def test_who_acts_is_the_principal_of_the_identity(settings: Settings) -> None:
    assert actor(settings) == "platform"
    assert actor(enrolled(settings, "ann")) == "ann"


def test_elsewhere_it_is_the_users_account_and_no_variable_of_the_environment(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = service_aws.open_service(tmp_path / "service")()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    elsewhere = replace(settings, keys=service.uri)
    assert actor(elsewhere) == f"aws-kms:{pwd.getpwuid(os.getuid()).pw_name}"
    monkeypatch.setattr(acting.os, "getuid", lambda: 4_000_000_000 - 7)
    assert actor(elsewhere) == "aws-kms:uid 3999999993"


def test_a_principal_may_ask_and_nothing_is_recorded_yet(settings: Settings) -> None:
    log, event = asked(enrolled(settings, "ann"), "detokenize", "customers.email", f"  {REASON}\n", 3)
    assert event == Event("ann", "detokenize", "customers.email", "service desk", REASON, 3)
    assert log.events() == []


def test_the_platform_itself_is_refused_and_recorded(settings: Settings) -> None:
    with pytest.raises(AccessRefused) as refusal:
        asked(settings, "link", "customer", REASON, 3)
    assert refusal.value.code == "access.platform"
    assert log_of(settings) == [("platform", REFUSED, "access.platform")]


def test_whom_the_key_service_does_not_know_is_refused_and_recorded(settings: Settings, tmp_path: Path) -> None:
    keystore = service_of(settings)._me().keystore  # type: ignore[attr-defined]
    make_identity(tmp_path / "stranger.txt", "stranger", keystore)
    with pytest.raises(AccessRefused) as refusal:
        asked(replace(settings, identity=tmp_path / "stranger.txt"), "link", "customer", REASON, 3)
    assert refusal.value.code == "access.identity"
    with pytest.raises(KeyServiceError) as missing:
        asked(replace(settings, identity=tmp_path / "none.txt"), "link", "customer", REASON, 3)
    assert missing.value.code == "key.identity"
    assert log_of(settings) == [(UNKNOWN, REFUSED, "access.identity"), (UNKNOWN, REFUSED, "key.identity")]


@pytest.mark.parametrize(
    "reason", ["case 4711", " " * 20, "short     ", "x" * 501, "case 4711\x00 receipts", "a\nlonger one"]
)
def test_a_reason_must_say_something(settings: Settings, reason: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        asked(settings, "link", "customer", reason, 3)
    assert refusal.value.code == "configuration.reason"
    assert log_of(settings) == []


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("asked by anna.meyer@example.com today", "email"),
        ("card 4111 1111 1111 1111 was charged twice", "card"),
        ("call her back on +49 30 1234567 please", "phone"),
        ("what is 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f?", "a token"),
        ("row of ABCDEFGHIJKLMNOPQRSTUVWXY2, withdrawn", "a token"),
    ],
)
def test_a_reason_with_personal_data_is_refused_and_not_quoted(reason: str, kind: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        check_reason(reason)
    assert refusal.value.found == f"what looks like: {kind}"
    assert (
        not set(reason.split()) & set(refusal.value.explain().split()) & {"anna.meyer@example.com", "4111", "1234567"}
    )


@pytest.mark.parametrize(
    "reason", ["x" * 10, "x" * 500, "case 4711: receipts", "Fälle 12 und 13, Rückruf", "ticket OPS-20261122"]
)
def test_other_reasons_stand(reason: str) -> None:
    assert check_reason(f" {reason} ") == reason


def test_whatever_fails_is_recorded_as_refused_once(settings: Settings) -> None:
    log = AuditLog(settings.database)
    event = Event("ann", "link", "customer", "p", REASON, 1)
    with pytest.raises(ZeroDivisionError), refusals_recorded(log, event):
        _ = 1 // 0
    with refusals_recorded(log, event):
        pass
    assert log_of(settings) == [("ann", REFUSED, "internal")]
