"""The DAG of retention, run for real: nothing is due, and the night leaves its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.house import protected

from cloakhouse.flow.environment import prepare

pytestmark = [pytest.mark.airflow, pytest.mark.path]

RUN = """
import json, os
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag
run = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags["keep_retention"].test()
print(json.dumps([str(run.state), [[t.task_id, str(t.state)] for t in run.get_task_instances()]]))
"""


def test_a_night_leaves_its_report(tmp_path: Path) -> None:
    house = protected().copy(tmp_path / "home")
    folder = tmp_path / "dags"
    folder.mkdir()
    text = (house.settings.project / "dags" / "cloakhouse_retention.py").read_text()
    (folder / "retention.py").write_text(text)
    variables = {**prepare(house.settings), "AIRFLOW__CORE__DAGS_FOLDER": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env={**os.environ, **variables, "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    state, tasks = json.loads(done.stdout.splitlines()[-1])
    assert (state, dict(tasks)["keep"]) == ("success", "success")
    assert len(list((house.settings.lake / "evidence" / "retention").glob("*.json"))) == 1
