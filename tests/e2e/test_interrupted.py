"""A run that ends in the middle leaves no process and nothing half visible, and the next run goes on from there.

Killed outright, the run can't end its Spark job: that job ends by itself, and its result counts or is done again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings

pytestmark = [pytest.mark.path, pytest.mark.spark, pytest.mark.airflow]
CLI = str(Path(sys.executable).with_name("cloakhouse"))


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _runs_spark(process: psutil.Process) -> bool:
    try:
        return "SparkSubmit" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_ended_in_the_middle_of_spark_goes_on_in_the_next(number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "CLOAKHOUSE_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    settings = Settings.from_environment(environment)
    write_feed(settings.inbox, weeks=range(2, 3), wanted=lambda name: name.startswith("products"))
    process = subprocess.Popen([CLI, "run", "--no-sample"], env=environment, stdout=subprocess.DEVNULL)
    root = psutil.Process(process.pid)
    deadline = time.monotonic() + 120
    while not any(_runs_spark(p) for p in _family(root)):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    time.sleep(2)
    family = _family(root)
    process.send_signal(number)
    assert process.wait(timeout=90) == (130 if number == signal.SIGTERM else -signal.SIGKILL)
    _, left = psutil.wait_procs(family, timeout=90)
    assert not [p for p in left if _runs(p)]
    catalogue = Catalogue(settings.database)
    assert not [p for p in catalogue.protected("products").values() if p.validated]
    again = subprocess.run([CLI, "run", "--no-sample"], env=environment, capture_output=True, text=True, timeout=300)
    assert "12 checks passed on 1 partition" in again.stdout, again.stdout
    assert [(p.rows, p.validated) for p in catalogue.protected("products").values()] == [(92_331, True)]
    assert len(list((settings.home / "lake" / "protected" / "products").rglob("*.parquet"))) == 1
    assert not list((settings.home / "lake").rglob("*.tmp"))
