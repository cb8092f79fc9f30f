"""The DAG of an aggregate, and its tasks: what they skip, and what they pass on."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import NotFound, ValidationRefused
from cloakhouse.flow import factory, tasks
from cloakhouse.flow.local_run import _order
from cloakhouse.flow.xcom import allowed
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion
from cloakhouse.settings import Settings
from cloakhouse.stages import aggregate as stage
from cloakhouse.stages import publish_answer as publishing

REF = ManifestRef(f"evidence/weekly_sales/{'a' * 32}/validation-{'b' * 16}.json", "c" * 64)
RELEASE = ManifestRef(f"aggregates/weekly_sales/release-{'b' * 16}.json", "d" * 64)
FAULT = {"where": "x", "expected": "x", "found": "x", "not_done": "x", "remedy": "x"}
SHIPPED = Path(__file__).parents[3] / "dags" / "contracts"


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Return the list whose last item the stage answers, or raises."""
    answers: list[Any] = []

    def aggregate(*_: object) -> Any:
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return answers[-1]

    monkeypatch.setenv("CLOAKHOUSE_HOME", str(tmp_path))
    monkeypatch.setattr(tasks, "_sources_without_data", lambda *_: [])
    monkeypatch.setattr(stage, "aggregate", aggregate)
    return answers


def version(tmp_path: Path) -> DatasetVersion:
    return DatasetVersion("weekly_sales", 3, "f" * 64, "aggregates", 10, RELEASE, dt.datetime.now(dt.UTC))


def test_an_answer_is_passed_on_as_a_reference(answer: list[Any]) -> None:
    answer.append(REF)
    found = tasks.aggregate("weekly_sales")
    assert found == REF.as_dict()
    assert allowed(found)


def test_what_is_published_or_has_no_data_is_skipped(
    answer: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for outcome in (version(tmp_path), NotFound(**FAULT)):
        answer.append(outcome)
        with pytest.raises(AirflowSkipException):
            tasks.aggregate("weekly_sales")
    monkeypatch.setattr(tasks, "_sources_without_data", lambda *_: ["products"])
    with pytest.raises(AirflowSkipException):
        tasks.aggregate("weekly_sales")


def test_a_refusal_fails_for_good(answer: list[Any]) -> None:
    answer.append(ValidationRefused(**FAULT, code="too-fine"))
    with pytest.raises(AirflowFailException):
        tasks.aggregate("weekly_sales")


def test_publication_passes_on_what_xcoms_may_hold(
    answer: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(publishing, "publish_answer", lambda *_: version(tmp_path))
    monkeypatch.setattr(tasks, "_tell_asset", lambda _, facts: told.append(facts))
    found = tasks.publish_answer("weekly_sales", REF.as_dict())
    assert allowed(found)
    assert found == {"sha256": RELEASE.sha256, "version": 3, "rows": 10}
    assert told[0]["path"] == RELEASE.path


def test_the_dag_answers_and_publishes_after_every_feed_of_the_query() -> None:
    contracts = load_contracts(SHIPPED)
    dag = factory._aggregate_dag(contracts["weekly_sales"])
    assert dag.dag_id == "aggregate_weekly_sales"
    shape = {t.task_id: sorted(t.downstream_task_ids) for t in dag.tasks}
    assert shape == {"aggregate": ["publish"], "publish": ["report"], "report": []}
    assert [o.uri for t in dag.tasks for o in t.outlets] == ["cloakhouse://aggregates/weekly_sales"]
    assert _order(contracts)[-2:] == ["aggregate_weekly_sales", "keep_audit"]
    assert Settings.from_environment({}).contracts == SHIPPED
