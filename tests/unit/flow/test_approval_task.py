"""The task that asks: what it shows, whom it asks, when it doesn't, and what an answer does."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput
from tests.support.approvals import DATASET, asking_house, evidence
from tests.support.published import PublishedHouse

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.flow import approval, factory
from cloakhouse.flow.approval import ApproveRelease, body, form
from cloakhouse.flow.xcom import allowed
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.stages.approving import evidence_of

RUN = "manual__2026-11-22T15:36:16.464682+00:00"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedHouse:
    made = asking_house(tmp_path / "home", tmp_path / "dags" / "contracts")
    for name, value in made.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CLOAKHOUSE_CACHE"), monkeypatch.delenv("CLOAKHOUSE_IDENTITY")
    return made


def task(made: ManifestRef) -> ApproveRelease:
    with DAG("publish"):
        return ApproveRelease(
            task_id="approve",
            dataset=DATASET,
            evidence=made.as_dict(),
            approvers=("approver", "admin"),
            hours=24,
            params=form(),
        )


def context(user: str | None = "engineer", run: str = RUN, consumed: tuple[Any, ...] = ()) -> dict[str, Any]:
    instance = SimpleNamespace(id="1", dag_id=f"publish_{DATASET}", run_id=run, task_id="approve")
    return {
        "ti": instance,
        "task_instance": instance,
        "dag_run": SimpleNamespace(triggering_user_name=user, consumed_asset_events=consumed),
    }


def answered(option: str = "Approve", user: str = "approver", **typed: Any) -> dict[str, Any]:
    typed = {"reason": "reviewed", "reference": ""} | typed
    who = {"id": user, "name": user}
    return {"chosen_options": [option], "params_input": typed, "responded_by_user": who, "timedout": False}


def codes(house: PublishedHouse) -> list[str]:
    return [e.code for e in AuditLog(house.settings.database).events() if e.action == Action.APPROVE]


def test_it_asks_the_approvers_and_shows_no_value(house: PublishedHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **k: asked.append(k))
    made = evidence(house)
    with pytest.raises(TaskAwaitingInput) as waits:
        task(made).execute(context())
    assert waits.value.timeout == dt.timedelta(hours=24)
    (question,) = asked
    assert question["assigned_users"] == [{"id": n, "name": n} for n in ("approver", "admin")]
    assert (question["defaults"], question["options"]) == (["Reject"], ["Approve", "Reject"])
    assert question["subject"] == f"Publish {DATASET}, under contract 1.0.0?"
    assert question["body"].splitlines() == [
        "Dataset **baskets\\_synthetic**, contract 1.0.0, purpose analytics.",
        f"Evidence [`{made.sha256[:16]}`](/auditor/evidence/{made.sha256}): passed.",
        "",
        "| figure | result | margin |",
        "| --- | --- | --- |",
        "| excess of exact copies, upper 95 % bound | within | 0.009 of 0.01 |",
        "| k\\-anonymity of customers | within | 2 of 5 |",
    ]


def test_an_answer_is_recorded_and_the_reference_passed_on(house: PublishedHouse) -> None:
    made = evidence(house)
    passed_on = task(made).execute_complete(context(), answered())
    assert passed_on == made.as_dict()
    assert allowed(passed_on)
    assert task(made).execute(context()) == made.as_dict()  # a rerun asks nobody
    assert codes(house) == [""]


def test_a_rejection_ends_its_run_for_good_and_the_next_run_asks_again(house: PublishedHouse) -> None:
    made = evidence(house)
    with pytest.raises(AirflowFailException, match=r"approval\.rejected"):
        task(made).execute_complete(context(), answered("Reject", reason="purpose"))
    with pytest.raises(AirflowFailException, match=r"approval\.rejected"):
        task(made).execute(context())
    with pytest.raises(AirflowSkipException):
        task(made).execute(context(approval.TESTER, "manual__2026-11-23T15:36:16+00:00"))
    assert codes(house) == ["approval.rejected"]


FAILING: list[tuple[dict[str, Any], str]] = [
    ({**answered("Reject"), "timedout": True}, "approval.lapsed"),
    ({**answered(), "responded_by_user": None}, "approval.lapsed"),
    ({"error": "x", "error_type": "timeout"}, "approval.lapsed"),
    (answered(user="model"), "access.approver"),
    (answered(reason=None), "configuration.reason"),
    (answered(reference="household 17"), "configuration.reason"),
    ({**answered(), "params_input": None}, "configuration.reason"),
    ({**answered(), "chosen_options": []}, "approval.rejected"),
]


def test_anything_but_an_approval_fails_the_run(house: PublishedHouse) -> None:
    made = evidence(house)
    for number, (event, code) in enumerate(FAILING, 1):
        with pytest.raises(AirflowFailException, match=re.escape(code)):
            task(made).execute_complete(context(), event)
        assert len(codes(house)) == number
        assert codes(house)[-1] == code


def test_four_eyes_reach_back_through_assets(house: PublishedHouse) -> None:
    made, log = evidence(house), AuditLog(house.settings.database)
    starter = {"triggered_by": "approver"}
    log.record(Event("platform", Action.RUN, "x", dag="protect_transactions", run=RUN, facts=starter))
    source = SimpleNamespace(source_dag_id="protect_transactions", source_run_id=RUN)
    outside = SimpleNamespace(source_dag_id=None, source_run_id=None)
    with pytest.raises(AirflowFailException, match=r"access\.four-eyes"):
        task(made).execute_complete(context(None, consumed=(outside, source)), answered())
    assert task(made).execute_complete(context(None, consumed=(outside,)), answered()) == made.as_dict()


def test_where_nobody_can_answer_the_run_skips(house: PublishedHouse) -> None:
    with pytest.raises(AirflowSkipException):
        task(evidence(house)).execute(context(approval.TESTER))
    assert codes(house) == []


def test_of_a_release_under_a_guarantee_figures_are_withheld(house: PublishedHouse) -> None:
    made = evidence(house)
    content = dict(evidence_of(house.settings, made))
    private = load_contracts(house.settings.contracts)["baskets_private"]
    content["gate"] = [
        *content["gate"],
        {"name": "a|b", "value": None, "threshold": 1.0, "at_most": True, "passed": False},
    ]
    content["account"] = {"spent_epsilon": 1.5, "left_epsilon": 0.25}
    text = body(private, made, content)
    assert text.splitlines()[-5:] == [
        "| excess of exact copies, upper 95 % bound | within | withheld |",
        "| k\\-anonymity of customers | within | withheld |",
        "| a\\|b | **OUTSIDE** | withheld |",
        "",
        "Budget: epsilon 1.5 spent, 0.25 left.",
    ]
    shown = body(replace(private, synthesis=None), made, content)
    assert "| a\\|b | **OUTSIDE** | not computed |" in shown


def test_the_dags_have_the_task_where_the_contract_asks(house: PublishedHouse) -> None:
    dags = factory.build_dags(house.settings)
    shape = {t.task_id: sorted(t.downstream_task_ids) for t in dags[f"publish_{DATASET}"].tasks}
    assert shape["validate"] == ["approve"]
    assert shape["approve"] == ["publish"]
    assert "approve" not in dags["publish_baskets_private"].task_dict
    aggregate = replace(load_contracts(house.settings.contracts)["weekly_sales"], approval=house.contract.approval)
    shape = {t.task_id: sorted(t.downstream_task_ids) for t in factory._aggregate_dag(aggregate).tasks}
    assert shape == {"aggregate": ["approve"], "approve": ["publish"], "publish": ["report"], "report": []}
