"""A home of its own for the Airflow of these tests, and its components where a test needs the real scheduler."""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloakhouse.flow.console import running, wait_until_ready
from cloakhouse.flow.environment import passwords_file, prepare
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def airflow_environment(tmp_path: Path) -> Mapping[str, str]:
    """Return the variables of an Airflow of the test's own, for child processes."""
    settings = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")})
    return {**os.environ, **prepare(settings), "TMPDIR": str(tmp_path)}


@dataclass(frozen=True)
class Console:
    """A running Airflow: its settings, port and processes, and its public API as a user."""

    settings: Settings
    port: int
    pids: tuple[int, ...]

    def call(self, method: str, path: str, body: object = None, user: str = "admin") -> Any:
        """Return the JSON answer of the public API."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token(user)}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def token(self, user: str) -> str:
        """Return an access token of `user`."""
        password = json.loads(passwords_file(self.settings).read_text())[user]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/auth/token",
            data=json.dumps({"username": user, "password": password}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.loads(answer.read())["access_token"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a DAG, oldest first."""
        found = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?order_by=run_after&limit=100")
        return list(found["dag_runs"])

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run a DAG, waiting until it has been parsed."""
        until(lambda: self._known(dag_id), 90, f"{dag_id} to be parsed")
        self.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def _known(self, dag_id: str) -> bool:
        try:
            return bool(self.call("GET", f"/api/v2/dags/{dag_id}")["dag_id"] == dag_id)
        except urllib.error.HTTPError:
            return False

    def finished(self, dag_id: str, run_type: str, within_s: float = 480) -> dict[str, Any]:
        """Return the first finished run of a type, waiting for it."""
        found: list[dict[str, Any]] = []

        def done() -> bool:
            ended = [r for r in self.runs(dag_id) if r["run_type"] == run_type and r["state"] in ("success", "failed")]
            found[:] = ended
            return bool(ended)

        until(done, within_s, f"a finished {run_type} run of {dag_id}")
        return found[0]


def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Return once `condition` holds; fail after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s} s for {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Airflow's four components, with the feed of weeks 1 and 2 in the inbox."""
    home = tmp_path_factory.mktemp("console") / "home"
    settings = Settings.from_environment({"CLOAKHOUSE_HOME": str(home)})
    write_feed(settings.inbox, weeks=range(1, 3))
    port = free_port()
    with running(settings, port) as processes:
        wait_until_ready(port, processes)
        yield Console(settings, port, tuple(process.pid for process in processes.values()))
