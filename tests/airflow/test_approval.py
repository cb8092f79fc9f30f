"""Approval in a real Airflow: who may answer, four eyes, time-outs; and what the listener records of its runs."""

from __future__ import annotations

import json
import sqlite3
import urllib.error
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.airflow.conftest import Console, free_port, until
from tests.support.approvals import DATASET, asking_house, evidence
from tests.support.elsewhere import bytes_of
from tests.support.published import PublishedHouse

from cloakhouse.flow.console import running, wait_until_ready
from cloakhouse.ledger.approvals import Approvals
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import ManifestRef

pytestmark = [pytest.mark.browser, pytest.mark.airflow]

DAG_ID = f"publish_{DATASET}"
SOURCE = "protect_transactions"
SECRET = "Zwetschgenhuber"
DAGS = """
import json
from pathlib import Path
from airflow.sdk import DAG, Asset, Param
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.flow import tasks
from cloakhouse.flow.factory import _approved, protected_asset, published_asset, reference_task

CONTRACT = load_contracts(Path("{contracts}"))["{dataset}"]

def give(**context):
    return json.loads(Path("{evidence}").read_text())[context["params"]["number"]]

def change(**context):
    told = {{"rows": 7, "sha256": "a" * 64, "note": "Zwetsch"}}
    context["outlet_events"][protected_asset("transactions")].extra = told

with DAG("{source}", schedule=None, params={{"word": Param("", type="string")}}):
    reference_task("validate", outlets=[protected_asset("transactions")])(change)()

with DAG("{dag}", schedule=protected_asset("transactions"), params={{"number": Param(0, type="integer")}}):
    made = reference_task("validate")(give)()
    agreed = _approved(CONTRACT, made)
    reference_task("publish", outlets=[published_asset("{dataset}")])(tasks.publish)("{dataset}", agreed)
"""


@dataclass(frozen=True)
class Asking(Console):
    """An Airflow whose one dataset asks for an approval."""

    house: PublishedHouse = field(default=None)  # type: ignore[assignment]
    evidences: tuple[ManifestRef, ...] = ()

    def start(self, number: int, user: str) -> str:
        """Start a run as `user`, wait until it asks, and return its id."""
        body = {"logical_date": None, "conf": {"number": number}}
        run: str = self.call("POST", f"/api/v2/dags/{DAG_ID}/dagRuns", body, user)["dag_run_id"]
        self.asks(run)
        return run

    def asks(self, run: str) -> None:
        until(lambda: self.task(run, "approve") == "awaiting_input", 90, "the question")
        until(lambda: self.put_aside(run), 90, "the scheduler to know that the worker is free again")

    def put_aside(self, run: str) -> bool:
        """Return whether the scheduler knows that the task waits without a worker: Airflow 3.3 takes this news for a
        failure, and asks again, when the answer came before it."""
        log = (self.settings.home / "airflow" / "components" / "scheduler.log").read_text(errors="replace")
        told = "Received executor event with state success for task instance"
        return any(told in line and run in line and "'approve'" in line for line in log.splitlines())

    def task(self, run: str, task: str) -> str | None:
        found = self.call("GET", f"/api/v2/dags/{DAG_ID}/dagRuns/{run}/taskInstances/{task}")["state"]
        return None if found is None else str(found)

    def answer(self, run: str, user: str, option: str = "Approve", **typed: Any) -> int:
        """Answer as `user`; return the HTTP status."""
        path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
        typed = {"reason": "reviewed", "reference": "DPO-17"} | typed
        try:
            self.call("PATCH", path, {"chosen_options": [option], "params_input": typed}, user)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code
        return 200

    def ended(self, run: str) -> str:
        """Return the state of a run once it ended."""
        path, state = f"/api/v2/dags/{DAG_ID}/dagRuns/{run}", [""]

        def done() -> bool:
            state[0] = self.call("GET", path)["state"]
            return state[0] in ("success", "failed")

        until(done, 90, "the end of the run")
        return state[0]

    def told(self, run: str) -> None:
        """Return once the ends of a run and of its tasks are recorded: a worker tells Airflow that its task ended, and
        the audit log right afterwards, when the scheduler may have ended the run already."""
        path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run}"
        ended = {
            (task["task_id"], task["state"])
            for task in self.call("GET", f"{path}/taskInstances")["task_instances"]
            if task["state"] in ("success", "failed")
        }
        state = self.call("GET", path)["state"]

        def all_recorded() -> bool:
            tasks = {(e.task, e.facts["state"]) for e in self.events(run, "task")}
            return ended <= tasks and state in {e.facts["state"] for e in self.events(run, "run")}

        until(all_recorded, 60, "the events of a run that ended")

    def events(self, run: str, action: str) -> list[Event]:
        """Return the events of a run."""
        return [e for e in AuditLog(self.settings.database).events() if e.run == run and e.action == action]


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    folder = tmp_path_factory.mktemp("approval")
    project = folder / "project"
    house = asking_house(folder / "home", project / "dags" / "contracts")
    made = tuple(evidence(house) for _ in range(7))
    shipped = house.settings.project
    (project / "infra").symlink_to(shipped / "infra")
    (project / "plugins").mkdir()
    (project / "plugins" / "audit_listener.py").write_text((shipped / "plugins" / "audit_listener.py").read_text())
    listed = project / "evidence.json"
    listed.write_text(json.dumps([ref.as_dict() for ref in made]))
    text = DAGS.format(contracts=house.settings.contracts, dataset=DATASET, evidence=listed, source=SOURCE, dag=DAG_ID)
    (project / "dags" / "approval.py").write_text(text)
    settings = replace(house.settings, project=project)
    port = free_port()
    with running(settings, port) as processes:
        wait_until_ready(port, processes)
        pids = tuple(process.pid for process in processes.values())
        console = Asking(settings, port, pids, PublishedHouse(settings, house.contract), made)
        console.unpause(DAG_ID)
        console.unpause(SOURCE)
        yield console


def published(asking: Asking) -> int:
    return len(asking.house.register.versions(DATASET))


def test_an_approver_who_did_not_start_the_run_lets_it_publish(asking: Asking) -> None:
    before = published(asking)
    run = asking.start(1, "engineer")
    assert {user: asking.answer(run, user) for user in ("model", "auditor", "engineer")} == {
        "model": 403,
        "auditor": 403,
        "engineer": 403,
    }
    assert asking.answer(run, "approver") == 200
    assert asking.answer(run, "admin") == 409
    assert asking.ended(run) == "success"
    assert published(asking) == before + 1
    (event,) = asking.events(run, "approve")
    assert (event.actor, event.decision, event.code) == ("airflow:approver", "allowed", "")
    assert event.reason == "evidence reviewed: the figures suit the purpose (DPO-17)"
    assert event.facts["requester"] == "engineer"
    assert event.facts["evidence"] == asking.evidences[1].sha256
    decision = Approvals(asking.settings.database).newest(DATASET, asking.evidences[1].sha256)
    assert decision is not None
    assert (decision.approver, decision.decision) == ("approver", "approved")


def test_who_started_the_run_does_not_approve_it(asking: Asking) -> None:
    before = published(asking)
    run = asking.start(2, "admin")
    assert asking.answer(run, "admin") == 200  # Airflow takes it: admin is assigned
    assert asking.ended(run) == "failed"
    assert asking.task(run, "publish") == "upstream_failed"
    (event,) = asking.events(run, "approve")
    assert (event.actor, event.decision, event.code) == ("airflow:admin", "refused", "access.four-eyes")
    assert published(asking) == before


def test_who_started_the_run_behind_an_asset_does_not_approve_what_comes_of_it(asking: Asking) -> None:
    before = published(asking)
    body = {"logical_date": None, "conf": {"word": SECRET}}
    source = asking.call("POST", f"/api/v2/dags/{SOURCE}/dagRuns", body, "admin")["dag_run_id"]
    found: list[str] = []

    def started() -> bool:
        found[:] = [r["dag_run_id"] for r in asking.runs(DAG_ID) if r["run_type"] == "asset_triggered"]
        return bool(found)

    until(started, 90, "the run that the asset starts")
    run = found[0]
    asking.asks(run)
    assert asking.answer(run, "admin") == 200
    assert asking.ended(run) == "failed"
    (event,) = asking.events(run, "approve")
    assert (event.actor, event.code) == ("airflow:admin", "access.four-eyes")
    assert published(asking) == before
    (asset,) = [e for e in asking.events(source, "asset") if e.facts["state"] == "changed"]
    assert asset.object == "cloakhouse://protected/transactions"
    assert asset.facts == {"state": "changed", "rows": 7, "sha256": "a" * 64}


def test_nobody_in_time_is_a_rejection(asking: Asking) -> None:
    before = published(asking)
    run = asking.start(3, "engineer")
    with closing(sqlite3.connect(asking.settings.home / "airflow" / "airflow.db", timeout=60)) as airflow, airflow:
        airflow.execute(
            "UPDATE task_instance SET trigger_timeout = '2020-01-01 00:00:00' WHERE run_id = ? AND task_id = 'approve'",
            (run,),
        )
    assert asking.ended(run) == "failed"
    (event,) = asking.events(run, "approve")
    assert (event.actor, event.decision, event.code) == ("platform", "refused", "approval.lapsed")
    assert published(asking) == before


def test_a_rejection_with_its_reason_is_kept_and_nothing_published(asking: Asking) -> None:
    before = published(asking)
    run = asking.start(4, "engineer")
    assert asking.answer(run, "approver", "Reject", reason="figures", reference="") == 200
    assert asking.ended(run) == "failed"
    (event,) = asking.events(run, "approve")
    assert (event.decision, event.code) == ("refused", "approval.rejected")
    assert event.reason == "figures too near to their thresholds"
    assert published(asking) == before


def test_what_is_typed_freely_is_refused_and_gets_into_no_log(asking: Asking) -> None:
    run = asking.start(5, "engineer")
    assert asking.answer(run, "approver", reason=f"{SECRET} called") == 200
    assert asking.ended(run) == "failed"
    (event,) = asking.events(run, "approve")
    assert event.code == "configuration.reason"
    home = asking.settings.home
    texts = [p.read_bytes() for p in (home / "airflow" / "logs").rglob("*") if p.is_file()]
    assert texts
    assert not any(SECRET.encode() in text for text in texts)
    assert SECRET.encode() not in bytes_of(home / "control.db")


def test_marking_the_question_as_answered_publishes_nothing(asking: Asking) -> None:
    before = published(asking)
    run = asking.start(6, "engineer")
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run}/taskInstances/approve"
    asking.call("PATCH", path, {"new_state": "success"}, "engineer")
    assert asking.ended(run) == "failed"
    assert published(asking) == before
    asking.told(run)
    tasks = [(e.task, e.facts["state"], e.facts.get("set_by")) for e in asking.events(run, "task")]
    assert ("approve", "success", "a person") in tasks
    assert ("publish", "failed", None) in tasks


def test_each_run_and_each_end_of_a_task_is_recorded_once(asking: Asking) -> None:
    for run in asking.runs(DAG_ID):
        name = run["dag_run_id"]
        asking.told(name)
        states = Counter(e.facts["state"] for e in asking.events(name, "run"))
        assert states == Counter(["running", run["state"]]), name
        tasks = Counter((e.task, e.facts["state"]) for e in asking.events(name, "task"))
        assert tasks, name
        assert set(tasks.values()) == {1}, name
        starter = [e.facts.get("triggered_by", "") for e in asking.events(name, "run") if e.facts["state"] == "running"]
        assert starter == [run["triggering_user_name"] or ""]


def test_nothing_that_was_typed_is_in_the_audit_log(asking: Asking) -> None:
    entries = AuditLog(asking.settings.database).entries(limit=10_000)
    assert len(entries) > 20
    assert not [entry for entry in entries if SECRET.encode() in entry.content or b"Zwetsch" in entry.content]
