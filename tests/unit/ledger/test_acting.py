from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cloakhouse.contracts import access_parser
from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.service import service_of
from cloakhouse.ledger.acting import UNPRINTABLE, account, described, printable, role_of
from cloakhouse.ledger.audit_event import LONGEST_TEXT, Action, Event
from cloakhouse.ledger.run_names import digest_of
from cloakhouse.settings import Settings

ROLE = """
  {name}:
    purposes: [{purpose}]
    reviewBy: 2099-12-31
    reads: [{{zones: [synthetic], datasets: ["*"], classes: [plain]}}]"""
POLICY = (
    "apiVersion: cloakhouse.access/v1\nroles:"
    + ROLE.format(name="analyst", purpose="reporting")
    + ROLE.format(name="desk", purpose="service desk")
    + "\nprincipals:\n  ann: {roles: [desk, analyst]}\n  bob: {roles: [analyst]}\n"
)

RUN = "manual__2026-11-22T15:00:00+00:00"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "access.yaml"
    path.write_text(POLICY)
    return replace(Settings.from_environment({}).with_home(tmp_path / "home"), policy=path, purpose="reporting")


def test_the_platform_is_known_before_its_keystore_is_made(settings: Settings) -> None:
    assert account(service_of(settings)) == "platform"
    assert not (settings.home / "keystore").exists()  # asking who acts makes none
    service_of(settings).names()
    assert account(service_of(settings)) == "platform"
    (settings.home / "keystore" / "keystore.json").unlink()
    with pytest.raises(KeyServiceError):
        account(service_of(settings))


@pytest.mark.parametrize(
    ("actor", "purpose", "role"),
    [
        ("ann", "reporting", "analyst"),
        ("ann", "service desk", "desk"),
        ("ann", "curiosity", "analyst, desk"),
        ("bob", "service desk", "analyst"),
        ("aws-kms:ann", "reporting", "analyst"),
        ("aws-kms:eve", "reporting", ""),
        ("platform", "operations", ""),
        ("unknown", "reporting", ""),
        ("", "reporting", ""),
    ],
)
def test_the_role_is_that_of_the_policy(settings: Settings, actor: str, purpose: str, role: str) -> None:
    assert role_of(replace(settings, purpose=purpose), actor) == role


@pytest.mark.parametrize("fault", ["missing", "broken", "binary", "folder", "huge"])
def test_without_a_policy_that_can_be_read_there_is_no_role_and_no_failure(settings: Settings, fault: str) -> None:
    assert role_of(settings, "ann") == "analyst"
    settings.policy.unlink()
    if fault == "folder":
        settings.policy.mkdir()
    elif fault != "missing":
        settings.policy.write_bytes({"broken": b"roles: [", "binary": b"\xff\x00", "huge": b"#" * (2 << 20)}[fault])
    assert role_of(settings, "ann") == ""


def test_the_policy_is_parsed_once_until_its_file_changes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    load = access_parser.load_policy
    monkeypatch.setattr(access_parser, "load_policy", lambda path: parsed.append(path) or load(path))
    assert [role_of(settings, "bob") for _ in range(100)] == ["analyst"] * 100
    assert len(parsed) == 1
    before = settings.policy.stat()
    settings.policy.write_text(POLICY.replace("bob: {roles: [analyst]}", "bob: {roles: [desk]}"))
    os.utime(settings.policy, ns=(before.st_atime_ns, before.st_mtime_ns))  # the size tells
    assert role_of(settings, "bob") == "desk"
    assert len(parsed) == 2
    settings.policy.write_text("roles: [")
    assert [role_of(settings, "bob") for _ in range(100)] == [""] * 100
    assert len(parsed) == 3


def test_an_event_says_who_in_which_role_and_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("DAG_ID", "rotate_keys"), ("DAG_RUN_ID", RUN), ("TASK_ID", "rotate")):
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", value)
    given = {"dataset": "baskets", "count": 3, "reason": "case 4711: receipts", "facts": {"version": 2}}
    assert described(settings, "ann", Action.LINK, "customer", **given) == Event(
        "ann",
        "link",
        "customer",
        "reporting",
        "case 4711: receipts",
        3,
        role="analyst",
        dataset="baskets",
        dag="rotate_keys",
        run=RUN,
        task="rotate",
        facts={"version": 2},
    )


def test_what_an_event_cannot_hold_fails_none(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "a\nrun")
    event = described(replace(settings, purpose="x" * 2_000), "bob", Action.LINK, "customer")
    assert (event.purpose, event.run, event.dag, event.role) == (UNPRINTABLE, digest_of("a\nrun"), "", "analyst")
    assert printable("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
