"""A derived dataset is made anew, or it is told why not; what may pass by itself is raised."""

from __future__ import annotations

import functools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cloakhouse.errors import StageError, ValidationRefused
from cloakhouse.flow import making_anew
from cloakhouse.flow.making_anew import Anew, cluster_of, make_anew
from cloakhouse.flow.submit import Cluster, cluster_at
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion
from cloakhouse.settings import Settings

NAME = "households_synthetic"
FACTS = {"where": "here", "expected": "this", "found": "that", "not_done": "it", "remedy": "none"}


@functools.cache
def _project() -> Settings:
    return Settings.from_environment({})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = _project().with_home(tmp_path / "home")
    folder = tmp_path / "contracts"
    folder.mkdir()
    for name in (NAME, "transactions", "customers", "products"):
        shutil.copy(made.contracts / f"{name}.odcs.yaml", folder)
    return replace(made, contracts=folder)


def test_what_has_no_contract_or_no_data_is_not_made_again(settings: Settings) -> None:
    assert make_anew(settings, "nothing", Cluster()) == Anew("nothing", why="contract.none")
    assert make_anew(settings, "transactions", Cluster()).why == "contract.none"
    assert make_anew(settings, NAME, Cluster()) == Anew(NAME, why="not-found")


def test_what_an_approver_has_to_agree_to_is_left_to_its_dag(settings: Settings) -> None:
    path = settings.contracts / f"{NAME}.odcs.yaml"
    text = path.read_text()
    given = "customProperties:\n  - property: approval\n    value: {approvers: [ann], timeoutHours: 24}\n"
    path.write_text(text.replace("customProperties:\n", given, 1))
    assert make_anew(settings, NAME, Cluster()).why == "approval"


def test_a_request_that_came_in_meanwhile_has_it_planned_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Exception | None] = [StageError(**FACTS, code="overtaken"), None]
    version = DatasetVersion(NAME, 2, "f" * 64, "synthetic", 7, ManifestRef("p", "s"), None)  # type: ignore[arg-type]

    def made(*_: object) -> DatasetVersion:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return version

    monkeypatch.setattr(making_anew, "_synthesized", made)
    assert make_anew(settings, NAME, Cluster()) == Anew(NAME, 2, 7)
    answers[:] = [StageError(**FACTS, code="overtaken")] * 3
    with pytest.raises(StageError):
        make_anew(settings, NAME, Cluster())
    answers[:] = [StageError(**FACTS, code="spark")]
    with pytest.raises(StageError):
        make_anew(settings, NAME, Cluster())
    answers[:] = [ValidationRefused(**FACTS, code="failed")]
    assert make_anew(settings, NAME, Cluster()).why == "validation.failed"


def test_spark_runs_where_airflows_connection_says(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SPARK", raising=False)
    assert cluster_of(settings) == Cluster("local[*]", None)
    assert cluster_at("spark://head", 7077, {"properties": "/etc/spark.conf"}) == Cluster(
        "spark://head:7077", Path("/etc/spark.conf")
    )
    assert cluster_at("spark://head", None, {}) == Cluster("spark://head", None)
    assert cluster_at("", 7077, {}) == Cluster()


@pytest.mark.airflow
@pytest.mark.path
def test_the_command_line_asks_airflow_itself(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK", '{"conn_type": "spark", "host": "spark://head", "port": 7077}')
    assert cluster_of(settings) == Cluster("spark://head:7077", None)
