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


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv(health.CONNECTION, raising=False)
    return Settings.from_environment({}).with_home(tmp_path / "home")


def states(settings: Settings, **limits: float) -> list[State]:
    return [one.found.state for one in health.airflow(settings, **limits)]


def test_an_airflow_that_never_ran_is_no_fault_and_nothing_is_made(settings: Settings) -> None:
    assert states(settings) == [State.NOTE, State.NOTE]
    assert not settings.home.exists()


def test_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    found = health.programs().found
    assert found.state is State.WRONG
    assert "install" in found.remedy


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"database": "current", "dags": 9, "broken": []}, [State.OK, State.OK]),
        ({"database": "older", "dags": 9, "broken": ["x.py"]}, [State.WRONG, State.WRONG]),
        ({"database": "away", "dags": 0, "broken": []}, [State.WRONG, State.WRONG]),
        ({}, [State.WRONG, State.WRONG]),
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
    assert states(settings, limit_s=0.05) == [State.WRONG, State.WRONG]


@pytest.mark.airflow
@pytest.mark.path
def test_a_real_airflow(settings: Settings, tmp_path: Path) -> None:
    environment = health.prepare(settings)
    program = str(Path(sys.executable).with_name("airflow"))
    subprocess.run([program, "db", "migrate"], env=environment, check=True, capture_output=True, timeout=300)
    assert states(settings) == [State.OK, State.OK]
    project = tmp_path / "project"
    (project / "dags").mkdir(parents=True)
    for name in ("infra", "plugins"):
        (project / name).symlink_to(settings.project / name)
    (project / "dags" / "broken.py").write_text("from airflow.sdk import DAG\nraise RuntimeError\n")
    found = list(health.airflow(replace(settings, project=project)))
    assert [one.found.state for one in found] == [State.OK, State.WRONG]
    assert "broken.py" in found[1].found.text
    with sqlite3.connect(settings.home / "airflow" / "airflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '000000000000'")
    assert states(settings) == [State.WRONG, State.OK]
