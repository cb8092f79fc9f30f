"""The tasks of the auditor's DAGs, over real stages in a small home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from tests.support.published import empty_house

from cloakhouse.errors import StageError
from cloakhouse.flow import audit_tasks
from cloakhouse.flow.audit_dags import build_audit_dags
from cloakhouse.flow.environment import USERS, passwords_file, prepare
from cloakhouse.keys.service import open_ring
from cloakhouse.ledger.alerts import AlertRegister
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.settings import Settings
from cloakhouse.stages import forwarding
from cloakhouse.stages.forwarding_origin import UNSIGNED, origin_of, settle


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = empty_house(tmp_path / "home").settings
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(made.home))
    for name in ("KEYS", "DATABASE", "CONTRACTS", "LAKE", "RECEIVERS"):
        monkeypatch.delenv(f"CLOAKHOUSE_{name}", raising=False)
    open_ring(made)
    AuditLog(made.database).record(*[Event("platform", Action.RUN, f"dag_{n}") for n in range(5)])
    return made


def test_a_checkpoint_is_signed_and_the_log_verified(settings: Settings) -> None:
    signed = audit_tasks.sign_checkpoint()
    assert signed >= 5
    assert audit_tasks.verify_log() >= signed
    events = AuditLog(settings.database).events()
    assert [e.decision for e in events if e.action == Action.VERIFY_LOG] == ["allowed"]


def test_a_planted_edit_fails_the_nightly_run(settings: Settings) -> None:
    audit_tasks.sign_checkpoint()
    log = AuditLog(settings.database)
    with log.engine.begin() as connection:
        names = connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
        for name in names:
            connection.execute(sa.text(f'DROP TRIGGER "{name}"'))
        connection.execute(sa.text("UPDATE audit_entry SET actor = 'nobody' WHERE number = 2"))
    with pytest.raises(AirflowFailException, match=r"integrity\.audit-log"):
        audit_tasks.verify_log()


def test_alerts_are_evaluated_and_counted(settings: Settings) -> None:
    new = audit_tasks.evaluate_alerts()
    assert new == len(AlertRegister(settings.database).all())
    assert audit_tasks.evaluate_alerts() == 0
    assert audit_tasks.tell_alerts() == 0


def test_without_receivers_forwarding_skips(settings: Settings) -> None:
    with pytest.raises(AirflowSkipException):
        audit_tasks.forward_log()


def test_forwarding_counts_what_was_sent_and_fails_for_a_receiver_in_trouble(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = [forwarding.Forwarded("a", 3, 0), forwarding.Forwarded("b", 2, 7, forwarding.BUSY)]
    monkeypatch.setenv("CLOAKHOUSE_RECEIVERS", str(_receivers(settings)))
    monkeypatch.setattr(forwarding, "forward", lambda *_: tuple(done))
    assert audit_tasks.forward_log() == 5
    done.append(forwarding.Forwarded("c", 0, 9, "forwarding.refused"))
    with pytest.raises(StageError) as refusal:
        audit_tasks.forward_log()
    assert refusal.value.found == "forwarding.refused; 9 entries wait"
    assert refusal.value.where == "receivers c"


def test_what_is_sent_before_the_first_checkpoint_has_the_origin_of_what_follows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAKHOUSE_RECEIVERS", str(_receivers(settings)))
    assert audit_tasks.forward_log() > 5
    audit_tasks.sign_checkpoint()
    assert audit_tasks.forward_log() > 0
    lines = [json.loads(line) for line in (settings.home / "siem.jsonl").read_text().splitlines()]
    origin = origin_of(settings)
    assert [line["metadata"]["uid"].startswith(origin) for line in lines] == [True] * len(lines)
    assert origin != UNSIGNED


def test_a_signing_key_that_was_lost_is_not_made_anew_for_forwarding(settings: Settings) -> None:
    settle(settings)
    for path in settings.signing_keys.glob("audit.*"):
        path.unlink()
    settle(settings)
    assert not list(settings.signing_keys.glob("audit.*"))


def _receivers(settings: Settings) -> Path:
    path = settings.home / "receivers.yaml"
    siem = f"siem: {{kind: file, path: {settings.home}/siem.jsonl}}"
    path.write_text(f"apiVersion: cloakhouse.receivers/v1\nreceivers:\n  {siem}\n")
    return path


def test_the_dags_verify_even_when_no_checkpoint_can_be_signed() -> None:
    dags = build_audit_dags()
    assert {i: {t.task_id: sorted(t.downstream_task_ids) for t in d.tasks} for i, d in dags.items()} == {
        "watch_audit": {"evaluate": ["notify"], "notify": []},
        "keep_audit": {"checkpoint": ["verify"], "verify": []},
        "forward_audit": {"forward": []},
    }
    assert dags["keep_audit"].task_dict["verify"].trigger_rule is TriggerRule.ALL_DONE
    assert {d.timetable.expression for d in dags.values()} == {"5 * * * *", "15 2 * * *", "* * * * *"}


def test_users_that_came_later_get_a_password_and_the_others_keep_theirs(settings: Settings) -> None:
    prepare(settings)
    file = passwords_file(settings)
    first = json.loads(file.read_text())
    assert set(first) == set(USERS)
    assert len(set(first.values())) == len(USERS)
    older = {user: first[user] for user in ("admin", "auditor")}
    file.write_text(json.dumps(older))
    environment = prepare(settings)
    after = json.loads(file.read_text())
    assert {user: after[user] for user in older} == older
    assert set(after) == set(USERS)
    assert file.stat().st_mode & 0o777 == 0o600
    named = environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]
    assert dict(one.split(":") for one in named.split(",")).keys() == set(USERS)
