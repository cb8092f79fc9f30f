"""Airflow with its metadata on a real PostgreSQL, and the control database chosen by nothing but a connection in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.airflow.conftest import Console, free_port
from tests.support.databases import Postgres, shared

from cloakhouse.flow.console import running, wait_until_ready
from cloakhouse.flow.environment import airflow_home, prepare
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.settings import Settings

pytestmark = [pytest.mark.stores, pytest.mark.airflow]
DAG = "keep_audit"
BESIDE = """
import os
os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
from airflow import settings
from airflow.models.connection import Connection
from airflow.models.team import Team
from airflow.utils.session import create_session
from cloakhouse.flow.lookup import lookup
from sqlalchemy import text

for model in (Team, Connection):
    model.__table__.create(settings.get_engine())
lookup("cloakhouse_lake")  # a connection that the pool keeps when the process is forked
with create_session() as session:
    session.execute(text("CREATE TABLE half_done (number int)"))
    child = os.fork()
    for _ in range(200):
        assert lookup("cloakhouse_lake") is None
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    session.execute(text("INSERT INTO half_done VALUES (1)"))
    session.rollback()
with create_session() as session:
    assert session.execute(text("SELECT to_regclass('half_done')")).scalar() is None
print("done")
"""
WITHIN_S = 600


@pytest.fixture
def server() -> Postgres:
    return shared()


@pytest.fixture
def settings(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of an Airflow on PostgreSQL that names no control database."""
    for name in ("DATABASE", "KEYS", "LAKE"):
        monkeypatch.delenv(f"CLOAKHOUSE_{name}", raising=False)
    metadata = server.create()
    made = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")}).with_home(tmp_path / "home")
    own = f"sqlite:///{made.home / 'control.db'}"
    yield replace(made, database=own, airflow_database=server.url(metadata, tcp=True))
    server.drop(metadata)


@pytest.fixture
def control(server: Postgres) -> Iterator[str]:
    """The name of an empty control database that is not told to the processes."""
    name = server.create(template=server.template)
    yield name
    server.drop(name)


def airflow(settings: Settings, *arguments: str) -> str:
    program = Path(sys.executable).with_name("airflow")
    environment = {**os.environ, **prepare(settings)}
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def connect(settings: Settings, server: Postgres, control: str) -> None:
    """Add the connection, as docs/engines.md shows."""
    place = ("--conn-host", "127.0.0.1", "--conn-port", str(server.port), "--conn-schema", control)
    who = ("--conn-login", "postgres", "--conn-password", server.password)
    airflow(settings, "connections", "add", "cloakhouse_control", "--conn-type", "postgres", *place, *who)


def states(log: AuditLog) -> set[tuple[str, str, object]]:
    """Return what the listener told of the DAG's runs and tasks; the tasks' own events of it have no state."""
    told = (event for event in log.events() if event.dag == DAG and "state" in event.facts)
    return {(event.action, event.task or event.dag, event.facts["state"]) for event in told}


def test_tasks_and_listeners_of_a_running_airflow_use_the_connection(
    settings: Settings, server: Postgres, control: str
) -> None:
    port = free_port()
    airflow(settings, "db", "migrate")
    connect(settings, server, control)
    with running(settings, port) as processes:
        wait_until_ready(port, processes)
        console = Console(settings, port, tuple(process.pid for process in processes.values()))
        console.unpause(DAG)
        run = console.call("POST", f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None})
        assert console.finished(DAG, "manual", WITHIN_S)["dag_run_id"] == run["dag_run_id"]
    found = states(AuditLog(server.url(control)))
    assert {("run", DAG, "running"), ("run", DAG, "success")} <= found
    assert {state for action, _, state in found if action == "task"} == {"success"}
    assert not (settings.home / "control.db").exists()  # nobody fell back to the default
    assert not (airflow_home(settings) / "airflow.db").exists()
    for file in (settings.home / "airflow").rglob("*"):  # logs of components and tasks
        if file.is_file() and file.name != "airflow.cfg":
            assert server.password.encode() not in file.read_bytes(), file.name


def test_the_whole_path_in_one_process_uses_the_connection(
    settings: Settings, server: Postgres, control: str, tmp_path: Path
) -> None:
    """The folder of contracts is empty, so that the path is the DAG that keeps the audit log."""
    contracts = tmp_path / "contracts"
    contracts.mkdir()
    settings = replace(settings, contracts=contracts)
    airflow(settings, "db", "migrate")
    connect(settings, server, control)
    environment = {**os.environ, **settings.environment_of_airflow()}
    command = [Path(sys.executable).with_name("cloakhouse"), "run", "--no-sample"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("run", DAG, "success") in states(AuditLog(server.url(control)))
    assert not (settings.home / "control.db").exists()
    assert not (airflow_home(settings) / "airflow.db").exists()


def test_a_variable_that_says_otherwise_stops_the_run(settings: Settings, server: Postgres, control: str) -> None:
    airflow(settings, "db", "migrate")
    connect(settings, server, control)
    elsewhere = f"sqlite:///{settings.home / 'elsewhere.db'}"
    environment = {**os.environ, **settings.environment_of_airflow(), "CLOAKHOUSE_DATABASE": elsewhere}
    command = [Path(sys.executable).with_name("cloakhouse"), "run", "--no-sample"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 2
    assert "configuration.engines" in done.stderr
    assert server.password not in done.stdout + done.stderr
    assert not (settings.home / "elsewhere.db").exists()


def test_a_lookup_leaves_the_schedulers_transaction_alone_also_in_a_forked_process(settings: Settings) -> None:
    """Neither commits what the scheduler has half done, nor shares its socket: a server that two processes talk to at
    once over one answers `can't change 'autocommit' now: connection in transaction status INTRANS`."""
    environment = {**os.environ, **prepare(settings)}
    done = subprocess.run(
        [sys.executable, "-c", BESIDE], env=environment, capture_output=True, text=True, timeout=WITHIN_S
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "done"
