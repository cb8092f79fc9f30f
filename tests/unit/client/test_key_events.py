"""What each command for keys and access leaves in the audit log: exactly one event for each thing done."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.ledger.test_audited_keys import held

from cloakhouse.client.cli import cli
from cloakhouse.errors import StorageError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import KeyName, KeyState, new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.keys.shares import Shares
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.settings import Settings

DIRECT = "protected/direct"
BASKETS, VISITS = (DatasetKey("synthetic", "plain", name) for name in ("baskets", "visits"))
REASON = "case 4711: an identity file was lost"
POLICY = """\
apiVersion: cloakhouse.access/v1
roles:
  reader:
    purposes: [reporting]
    reviewBy: 2099-12-31
    reads: [{reads}]
principals:
  ann: {{roles: [reader]}}
"""
ALL_OF_IT = "{zones: [synthetic], datasets: ['*'], classes: [plain]}"
BASKETS_ONLY = "{zones: [synthetic], datasets: [baskets], classes: [plain]}"
Run = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation with three dataset keys, and ann."""
    made = replace(Settings.from_environment({}).with_home(tmp_path / "home"), policy=tmp_path / "access.yaml")
    ring = open_ring(made)
    for key in (DatasetKey("protected", "direct", "baskets"), BASKETS, VISITS):
        ring.wrap(key, new_data_key(), {})
    service_of(made).enrol("ann", identity=tmp_path / "ann.txt")  # type: ignore[attr-defined]
    made.policy.write_text(POLICY.format(reads=ALL_OF_IT))
    return made


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run `cloakhouse ...` in this process as the platform, or as `who`."""
    cleared = {f"CLOAKHOUSE_{name}": None for name in ("KEYS", "DATABASE", "IDENTITY", "PURPOSE", "DEBUG")}

    def run(*arguments: str, who: str = "", code: int = 0) -> Result:
        env = {**cleared, "CLOAKHOUSE_HOME": str(settings.home), "CLOAKHOUSE_POLICY": str(settings.policy)}
        env |= {"CLOAKHOUSE_IDENTITY": str(settings.home.parent / f"{who}.txt")} if who else {}
        result = CliRunner().invoke(cli, arguments, env=env, prog_name="cloakhouse")
        assert result.exit_code == code, result.stderr
        return result

    return run


def events(settings: Settings, *, uses: bool = False) -> list[Event]:
    """Return the events; without `uses`, those that aren't of a key being opened or made."""
    found = AuditLog(settings.database).events()
    return [event for event in found if uses or event.action not in ("use key", "make key")]


def told(settings: Settings) -> list[tuple[str, str, str, int]]:
    return [(event.action, event.object, event.decision, event.count) for event in events(settings)]


GRANT = ("--role", "ann", "--zone", "synthetic", "--class", "plain", "--purpose", "reporting")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("keys", "enrol", "bob", "--identity", "bob.txt"), [("enrol", "bob")]),
        (("keys", "grant", *GRANT), [("grant", "synthetic/footer"), ("grant", "synthetic/plain")]),
        (("keys", "rotate", DIRECT), [("rotate key", DIRECT)]),
        (("keys", "rotate", "--all"), [("rotate key", DIRECT), ("rotate key", "synthetic/plain")]),
        (("keys", "rotate", "--due"), []),
        (("keys", "disable", DIRECT), [("disable key", DIRECT)]),
        (("keys", "enable", DIRECT), [("enable key", DIRECT)]),
        (("keys", "shred", "--yes", "--key", DIRECT), [("shred key", DIRECT)]),
        (
            ("keys", "shred", "--yes", "--dataset", "baskets"),
            [("shred key", "protected/direct/baskets"), ("shred key", "synthetic/plain/baskets")],
        ),
        (("access", "apply"), [("grant", "synthetic/footer"), ("grant", "synthetic/plain")]),
    ],
)
def test_each_command_leaves_its_events_and_no_more(
    settings: Settings, run: Run, tmp_path: Path, arguments: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    given = [str(tmp_path / text) if text == "bob.txt" else text for text in arguments]
    run(*given, "--reason", REASON)
    found = events(settings)
    assert told(settings) == [(action, what, "allowed", 1) for action, what in expected]
    assert {(e.actor, e.role, e.purpose, e.reason) for e in found} <= {("platform", "", "operations", REASON)}


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "grant", *GRANT),
        ("keys", "rotate", DIRECT),
        ("keys", "rotate", DIRECT, "--rewrite"),
        ("keys", "disable", DIRECT),
        ("keys", "shred", "--dataset", "baskets"),
        ("access", "apply"),
    ],
)
def test_a_dry_run_leaves_none(settings: Settings, run: Run, arguments: tuple[str, ...]) -> None:
    run(*arguments, "--dry-run")
    assert events(settings, uses=True) == []


def test_a_grant_names_whom_and_what_for_and_its_withdrawal_too(settings: Settings, run: Run) -> None:
    run("keys", "grant", *GRANT)
    run("keys", "revoke", *GRANT)
    found = events(settings)
    assert [(e.action, e.object, e.decision) for e in found] == [
        ("grant", "synthetic/footer", "allowed"),
        ("grant", "synthetic/plain", "allowed"),
        ("revoke", "synthetic/footer", "allowed"),
        ("revoke", "synthetic/plain", "allowed"),
    ]
    assert {json.dumps(dict(sorted(e.facts.items()))) for e in found} == {
        '{"granted_for": "reporting", "principal": "ann"}'
    }
    assert {e.reason for e in found} == {""}


def test_a_rewrite_tells_its_begin_what_it_destroys_and_its_end(settings: Settings, run: Run) -> None:
    run("keys", "rotate", DIRECT, "--rewrite", "--grace", "3600", "--reason", REASON)
    assert [(e.action, e.facts.get("step")) for e in events(settings)] == [
        ("rewrite key", "begun"),
        ("rotate key", None),
    ]
    run("keys", "rotate", DIRECT, "--rewrite", "--grace", "0", "--reason", REASON)
    destroyed, done = events(settings)[2:]
    assert (destroyed.object, destroyed.dataset, destroyed.count, dict(destroyed.facts)) == (
        DIRECT,
        "baskets",
        1,
        {"step": "old versions destroyed", "key": "protected/direct/baskets", "below": 2},
    )
    assert dict(done.facts) == {"step": "done", "removed": 0, "retired": 1}
    assert {e.reason for e in events(settings)} == {REASON}


def test_a_share_is_a_grant_of_a_dataset_key(settings: Settings, run: Run) -> None:
    settings.policy.write_text(POLICY.format(reads=BASKETS_ONLY))
    run("access", "apply")
    run("access", "apply")  # which finds nothing to do
    settings.policy.write_text(POLICY.format(reads=BASKETS_ONLY.replace("baskets", "visits")))
    run("access", "apply", "--reason", REASON)
    found = [(e.action, e.object, e.dataset, e.facts.get("shared_with", ""), e.reason) for e in events(settings)]
    assert found == [
        ("grant", "access/reader", "", "", ""),
        ("grant", "synthetic/plain/baskets", "baskets", "reader", ""),
        ("revoke", "synthetic/plain/baskets", "baskets", "reader", REASON),
        ("grant", "synthetic/plain/visits", "visits", "reader", REASON),
    ]


def test_a_share_that_is_only_renewed_gives_nothing_and_is_no_grant(settings: Settings, run: Run) -> None:
    settings.policy.write_text(POLICY.format(reads=BASKETS_ONLY))
    run("access", "apply")
    before = len(events(settings))
    KeyRing(service_of(settings), settings.dataset_keys).rotate(BASKETS)
    run("access", "apply")
    assert len(events(settings)) == before
    [share] = Shares(settings.key_shares).all()
    assert sorted(Shares(settings.key_shares).read(share)) == [1, 2]


def test_a_shredded_dataset_is_shredded_once(settings: Settings, run: Run) -> None:
    for _ in range(2):
        run("keys", "shred", "--yes", "--dataset", "visits")
    assert told(settings) == [("shred key", VISITS.name, "allowed", 1)]


@pytest.mark.parametrize("arguments", [("keys", "disable", DIRECT), ("keys", "grant", *GRANT)])
def test_who_may_not_is_refused_and_the_entry_taken_back(
    settings: Settings, run: Run, arguments: tuple[str, ...]
) -> None:
    (settings.home / "keystore" / "administration.pem").unlink()
    run(*arguments, who="ann", code=3)
    first, second = events(settings)
    assert (first.actor, first.role, first.decision) == ("ann", "reader", "allowed")
    assert (second.decision, second.facts["entry"], second.object) == ("refused", 0, first.object)


def test_a_principal_that_applies_the_policy_is_refused_and_recorded(settings: Settings, run: Run) -> None:
    run("access", "apply", who="ann", code=3)
    [event] = events(settings)
    assert (event.actor, event.action, event.object, event.decision, event.code) == (
        "ann",
        "grant",
        "access policy",
        "refused",
        "access.key",
    )


def test_enrolment_names_the_recipient_and_an_unsound_one_leaves_no_event(settings: Settings, run: Run) -> None:
    recipient = next(
        line.removeprefix("# recipient: ")
        for line in (settings.home.parent / "ann.txt").read_text().splitlines()
        if line.startswith("# recipient: ")
    )
    for name, key in (("Not A Name", recipient), ("bob", "age1nonsense")):
        run("keys", "enrol", name, "--recipient", key, code=6)
    assert events(settings) == []
    run("keys", "enrol", "bob", "--recipient", recipient, code=6)  # which is ann's
    first, second = events(settings)
    assert (first.object, first.decision, first.facts["recipient"]) == ("bob", "allowed", recipient)
    assert (second.decision, second.code, second.facts["entry"]) == ("failed", "key.identity", 0)


def test_a_reason_with_personal_data_is_refused_before_anything_is_done(settings: Settings, run: Run) -> None:
    refused = run("keys", "disable", DIRECT, "--reason", "asked by anna.meyer@example.com", code=2)
    assert "anna.meyer" not in refused.stderr + refused.stdout
    assert events(settings, uses=True) == []
    assert service_of(settings).describe(KeyName(DIRECT)).state is KeyState.ENABLED


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "grant", *GRANT),
        ("keys", "rotate", DIRECT),
        ("keys", "rotate", DIRECT, "--rewrite"),
        ("keys", "disable", DIRECT),
        ("keys", "shred", "--yes", "--key", DIRECT),
        ("keys", "shred", "--yes", "--dataset", "baskets"),
        ("access", "apply"),
        ("keys", "enrol", "eve", "--identity", "eve.txt"),
    ],
)
def test_without_a_log_that_takes_entries_nothing_is_done(
    settings: Settings, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = _state(settings)
    with held(settings):
        run(*arguments, code=StorageError.exit_code)
    assert _state(settings) == before
    assert not (tmp_path / "eve.txt").exists()
    assert AuditLog(settings.database).size() == 0


def _state(settings: Settings) -> dict[str, bytes]:
    """Return every file of keys: keystore, dataset keys, shares."""
    folders = (settings.home / "keystore", settings.dataset_keys, settings.key_shares)
    return {str(p): p.read_bytes() for f in folders for p in f.rglob("*") if p.is_file() and ".lock" not in p.name}
