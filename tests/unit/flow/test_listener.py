"""What Airflow's listener records, and what it leaves out."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.utils.types import DagRunType
from tests.support.crash import limit_file_size
from tests.support.processes import in_fork

from cloakhouse.flow import listener
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.settings import Settings

SECRET = "Zwetschgenhuber"
RUN = "manual__2026-11-22T15:36:16.464682+00:00"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AuditLog:
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(tmp_path))
    monkeypatch.delenv("CLOAKHOUSE_DATABASE", raising=False)
    return AuditLog(Settings.from_environment().database)


def dag_run(**changes: Any) -> Any:
    fields = {
        "dag_id": "protect_customers",
        "run_id": RUN,
        "run_type": DagRunType.MANUAL,
        "triggering_user_name": "engineer",
        "conf": {"note": SECRET},
    }
    return SimpleNamespace(**{**fields, **changes})


def instance(**changes: Any) -> Any:
    fields = {"dag_id": "protect_customers", "run_id": RUN, "task_id": "land", "try_number": 2, "map_index": -1}
    return SimpleNamespace(**{**fields, **changes})


def short(event: Event) -> tuple[Any, ...]:
    return event.action, event.object, event.decision, event.code, dict(event.facts)


def test_runs_are_told_with_who_started_them(log: AuditLog) -> None:
    listener.on_dag_run_running(dag_run(), SECRET)
    listener.on_dag_run_success(dag_run(), SECRET)
    listener.on_dag_run_failed(dag_run(), SECRET)
    kind = {"run_type": "manual"}
    assert [short(e) for e in log.events()] == [
        ("run", "protect_customers", "allowed", "", {"state": "running", **kind, "triggered_by": "engineer"}),
        ("run", "protect_customers", "allowed", "", {"state": "success", **kind}),
        ("run", "protect_customers", "failed", "run.failed", {"state": "failed", **kind}),
    ]
    assert {(e.actor, e.dag, e.run, e.task) for e in log.events()} == {("platform", "protect_customers", RUN, "")}


def test_tasks_are_told_with_attempt_and_whether_a_person_set_them(log: AuditLog) -> None:
    listener.on_task_instance_success("running", instance())
    listener.on_task_instance_failed("running", instance(map_index=3), ValueError(SECRET))
    listener.on_task_instance_success(None, instance(try_number=None))
    assert [short(e) for e in log.events()] == [
        ("task", "land", "allowed", "", {"state": "success", "attempt": 2}),
        ("task", "land", "failed", "task.failed", {"state": "failed", "attempt": 2, "map_index": 3}),
        ("task", "land", "allowed", "", {"state": "success", "attempt": 0, "set_by": "a person"}),
    ]


def test_of_assets_counts_and_digests_are_told(log: AuditLog) -> None:
    asset = SimpleNamespace(uri="cloakhouse://protected/customers")
    extra = {"rows": 7, "version": True, "partitions": "7", "sha256": "a" * 64, "path": SECRET, "note": SECRET}
    changed = SimpleNamespace(
        asset=asset, extra=extra, source_dag_id="protect_customers", source_run_id=RUN, source_task_id="validate"
    )
    listener.on_asset_created(asset)
    listener.on_asset_event_emitted(changed)
    odd = SimpleNamespace(asset=SimpleNamespace(uri=f"s3://{SECRET}"), extra=None)
    listener.on_asset_event_emitted(
        SimpleNamespace(**vars(odd), source_dag_id=None, source_run_id=None, source_task_id=None)
    )
    created, told, other = log.events()
    assert short(created) == ("asset", asset.uri, "allowed", "", {"state": "created"})
    assert short(told) == ("asset", asset.uri, "allowed", "", {"state": "changed", "rows": 7, "sha256": "a" * 64})
    assert (told.dag, told.run, told.task) == ("protect_customers", RUN, "validate")
    assert other.object.startswith("sha256-")


def test_nothing_typed_gets_into_the_log(log: AuditLog) -> None:
    odd = {"dag_id": f"dag {SECRET}", "run_id": f"run {SECRET}"}
    listener.on_dag_run_running(dag_run(**odd, run_type=SECRET, triggering_user_name=f"{SECRET}@example.org"), SECRET)
    listener.on_task_instance_failed("running", instance(**odd, task_id=SECRET), SECRET)
    entries = log.entries()
    assert len(entries) == 2
    assert not [e for e in entries if SECRET.encode() in e.content]
    assert entries[0].event.facts["run_type"] == "other"


def test_forwarding_s_own_successful_runs_are_left_out(log: AuditLog) -> None:
    own: dict[str, Any] = {"dag_id": listener.QUIET, "run_id": "scheduled__2026-11-22T15:36:00+00:00"}
    listener.on_dag_run_running(dag_run(**own, run_type=DagRunType.SCHEDULED), "")
    listener.on_dag_run_success(dag_run(**own, run_type=DagRunType.SCHEDULED), "")
    listener.on_task_instance_success("running", instance(**own))
    assert log.events() == []
    listener.on_task_instance_failed("running", instance(**own), "")
    listener.on_dag_run_failed(dag_run(**own, run_type=DagRunType.SCHEDULED), "")
    listener.on_dag_run_running(dag_run(dag_id=listener.QUIET), "")
    assert [e.facts["state"] for e in log.events()] == ["failed", "failed", "running"]


def test_what_cannot_be_recorded_is_an_error_in_airflow_s_log(
    log: AuditLog, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        limit_file_size(0)
        listener.on_dag_run_running(dag_run(), "")
        (record,) = [r for r in caplog.records if r.name == listener.__name__]
        assert record.levelno == logging.ERROR
        assert "storage" in record.getMessage()

    assert in_fork(full) == 0
    assert log.events() == []

    def strange(*_: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(AuditLog, "record", strange)
    listener.on_dag_run_running(dag_run(), "")
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text
