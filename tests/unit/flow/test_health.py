"""What Airflow needs: Java and Spark, its database, DAGs that can be imported."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cloakhouse.flow import health
from cloakhouse.settings import Settings
from cloakhouse.stages.health_model import State

SAME = {"cloakhouse_lake": "same", "cloakhouse_keys": "none", "cloakhouse_control": "none"}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv(health.CONNECTION, raising=False)
    return Settings.from_environment({}).with_home(tmp_path / "home")


def states(settings: Settings, **limits: float) -> list[State]:
    return [one.found.state for one in health.airflow(settings, **limits)]


def test_an_airflow_that_never_ran_is_no_fault_and_nothing_is_made(settings: Settings) -> None:
    assert states(settings) == [State.NOTE, State.NOTE, State.SKIPPED]
    assert not settings.home.exists()


def test_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    found = health.programs().found
    assert found.state is State.WRONG
    assert "install" in found.remedy


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"database": "current", "dags": 9, "broken": [], "connections": SAME}, [State.OK, State.OK, State.OK]),
        ({"database": "older", "dags": 9, "broken": ["x.py"]}, [State.WRONG, State.WRONG, State.SKIPPED]),
        ({"database": "away", "dags": 0, "broken": []}, [State.WRONG, State.WRONG, State.SKIPPED]),
        ({}, [State.WRONG, State.WRONG, State.SKIPPED]),
    ],
)
def test_what_airflow_answers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], expected: list[State]
) -> None:
    monkeypatch.setattr(health, "_asked", lambda *_: answer)
    monkeypatch.setenv(health.CONNECTION, "sqlite://")
    assert states(settings) == expected


def test_an_airflow_that_does_not_answer_in_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(health.CONNECTION, "sqlite://")
    assert states(settings, limit_s=0.05) == [State.WRONG, State.WRONG, State.SKIPPED]


@pytest.mark.airflow
@pytest.mark.path
def test_a_real_airflow(settings: Settings, tmp_path: Path) -> None:
    environment = health.prepare(settings)
    program = str(Path(sys.executable).with_name("airflow"))
    subprocess.run([program, "db", "migrate"], env=environment, check=True, capture_output=True, timeout=300)
    assert states(settings) == [State.OK, State.OK, State.OK]
    extra = '{"uri": "s3://retail/lake?region=eu-west-1"}'
    add = [program, "connections", "add", "cloakhouse_lake", "--conn-type", "generic", "--conn-extra", extra]
    subprocess.run(add, env=environment, check=True, capture_output=True, timeout=300)
    *_, found_choices = health.airflow(settings)
    assert found_choices.found.state is State.WRONG
    assert "CLOAKHOUSE_LAKE is empty" in found_choices.found.text
    *_, same = health.airflow(replace(settings, store="s3://retail/lake?region=eu-west-1"))
    assert same.found.state is State.OK
    project = tmp_path / "project"
    (project / "dags").mkdir(parents=True)
    for name in ("infra", "plugins"):
        (project / name).symlink_to(settings.project / name)
    (project / "dags" / "broken.py").write_text("from airflow.sdk import DAG\nraise RuntimeError\n")
    found = list(health.airflow(replace(settings, project=project)))
    assert [one.found.state for one in found][:2] == [State.OK, State.WRONG]
    assert "broken.py" in found[1].found.text
    with sqlite3.connect(settings.home / "airflow" / "airflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '000000000000'")
    assert states(settings)[:2] == [State.WRONG, State.OK]
