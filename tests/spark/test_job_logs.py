"""A Spark job's log lines carry the run of the task that submitted it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.spark, pytest.mark.path]
JOB = """
import sys
from cloakhouse.progress import Progress
from cloakhouse.stages.job import run_stage

def stage(settings, request, spark):
    Progress("pseudonymize", "customers").step(1, 2, "deliveries")
    return request

sys.exit(run_stage("pseudonymize", stage))
"""
RUN = {
    "AIRFLOW_CTX_DAG_ID": "protect_customers",
    "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-11-22T00:00:00+00:00",
    "AIRFLOW_CTX_TASK_ID": "pseudonymize",
}


def test_a_job_writes_json_lines_with_its_run(tmp_path: Path) -> None:
    given = ["--request", "x.json", "--sha256", "0" * 64, "--result", str(tmp_path / "result.json")]
    environment = {**os.environ, **RUN, "CLOAKHOUSE_LOG_FORMAT": "json", "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [sys.executable, "-c", JOB, *given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = [json.loads(one) for one in done.stdout.splitlines() if one.startswith("{")]
    assert (line["event"], line["dataset"], line["counts"]) == ("step", "customers", {"done": 1, "total": 2})
    assert (line["dag"], line["run"], line["task"]) == tuple(RUN.values())
