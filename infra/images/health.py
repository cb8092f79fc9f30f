"""Health of a component of Airflow, by what the container runs: ends with 0 when it answers, else with 1.

The API server is asked over TLS, the scheduler at its own health port on loopback, the others through the metadata
database. Every question is bounded (seconds). What runs to its end by itself (migrations) is healthy while it runs.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

PRIVATE = Path("/run/cloakhouse/private")  # as in entry.py
ANSWER_S = 10.0
JOB_S = 45.0
JOBS = {"dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}


def component(command: bytes) -> str:
    """Return the component of Airflow that `command` (/proc/N/cmdline) runs; empty for another command."""
    words = command.decode(errors="replace").split("\0")
    names = ("api-server", "scheduler", "dag-processor", "triggerer")
    return next((word for word in words if word in names), "")


def answers(url: str, authority: str | None = None) -> bool:
    """Return whether `url` answers with 200 in time; a certificate is checked against `authority`."""
    context = ssl.create_default_context(cafile=authority) if authority else None
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S, context=context) as answer:  # noqa: S310 - our own
            return answer.status == 200
    except OSError:
        return False


def job_lives(kind: str) -> bool:
    """Return whether a job of this `kind` on this host has a fresh heartbeat in the metadata database."""
    airflow = str(Path(sys.executable).with_name("airflow"))
    command = [airflow, "jobs", "check", "--job-type", kind, "--local"]
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(PRIVATE / "airflow"),
        "AIRFLOW_CONFIG": str(PRIVATE / "airflow.cfg"),
        "PGPASSFILE": str(PRIVATE / "pgpass"),
    }
    try:
        return subprocess.run(command, env=environment, capture_output=True, timeout=JOB_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def healthy(name: str) -> bool:
    """Return whether the component `name` is."""
    if name == "api-server":
        host = os.environ.get("CLOAKHOUSE_API_NAME", "api-server")
        return answers(f"https://{host}:8080/api/v2/version", os.environ.get("AIRFLOW__API__SSL_CA_FILE"))
    if name == "scheduler":
        return answers("http://127.0.0.1:8974/health")
    return job_lives(JOBS[name]) if name in JOBS else True


def main() -> int:
    """Return 0 for a healthy container."""
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    name = next((found for found in map(component, commands) if found), "")
    return 0 if healthy(name) else 1


if __name__ == "__main__":
    sys.exit(main())
