"""The DAG of erasures, run for real: an erasure that the command line only requested goes to its certificate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.erasures import Attic, requested

from cloakhouse.flow.environment import prepare
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings

pytestmark = [pytest.mark.airflow, pytest.mark.path]

RUN = """
import json, os, sys
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag
from airflow.settings import Session
from sqlalchemy import text
run = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags["erase_subjects"].test(run_conf=json.loads(sys.argv[1]))
tasks = [[t.task_id, t.map_index, str(t.state)] for t in run.get_task_instances()]
query = text("select value from xcom where task_id != 'recut'")
xcoms = [int(value) for value, in Session().execute(query)]
print(json.dumps({"state": str(run.state), "tasks": sorted(tasks), "xcoms": xcoms}))
"""


def run_dag(settings: Settings, conf: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Run the DAG with `dag.test()` in a process of its own; return what came of it, and all that it printed."""
    folder = settings.home.parent / "dags"
    folder.mkdir(exist_ok=True)
    text = (settings.project / "dags" / "cloakhouse_erasures.py").read_text()
    (folder / "erasures.py").write_text(text)
    variables = {**prepare(settings), "AIRFLOW__CORE__DAGS_FOLDER": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(conf)],
        env={**os.environ, **variables, "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def test_an_open_erasure_of_nobody_known_goes_to_its_certificate(tmp_path: Path) -> None:
    attic = Attic.at(tmp_path / "home")
    batch = requested(attic.settings, attic.persons(4711))
    found, log = run_dag(attic.settings, {})
    assert (found["state"], log.count("Traceback")) == ("success", 0), log
    assert found["tasks"] == [[name, -1, "success"] for name in ("cut", "prove", "recut", "renew")]
    assert found["xcoms"] == [1, 1, 1]
    done = Erasures(attic.settings.database).get(batch.name)
    assert done.certificate is not None
    assert not [path for path in attic.files("rights") if batch.name in path and "certificates" not in path]
