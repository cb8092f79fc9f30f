"""A week is taken while a server is lost: the run ends well, nothing is lost and nothing is there twice.

Each test delivers a week of its own. What it must come to is what the embedded installation made of the same week.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.conftest import Both
from tests.support.cluster import HOSTS
from tests.support.engine_runs import Before, EveryNth, check_once, deliver, ended, failed_attempts, start
from tests.support.engines import Engines
from tests.support.fault_proxy import Fault
from tests.support.house import House
from tests.support.waiting import until

from cloakhouse.sample import week_start

pytestmark = [pytest.mark.spark, pytest.mark.airflow, pytest.mark.cluster]
WORK_WITHIN_S = 300.0
AWAY_S = 8.0  # longer than the pause before a task's next attempt here (5 s)


@pytest.fixture
def there(both: Both, clean: House) -> Iterator[Engines]:
    """The servers, all of them up when the test ends."""
    engines = both.there
    yield engines
    engines.proxy.rules.clear()


def _begin(there: Engines, later: Path, week: int) -> tuple[Before, str, str]:
    """Deliver `week` and start a run; return what there was before, the partition and the run."""
    partition, before = week_start(week).isoformat(), Before.of(there)
    deliver(later / f"transactions-{partition}.csv.gz", there.settings.inbox)
    return before, partition, start(there.console)


def _in_the_middle(there: Engines) -> str:
    """Return the host whose worker treats rows, as soon as one does; a small week is one split, on either of them."""
    return str(until(lambda: next(filter(there.spark.working, HOSTS), None), "work on a host", WORK_WITHIN_S))


def test_a_worker_killed_in_the_middle_of_a_job(there: Engines, clean: House, later: Path) -> None:
    before, partition, run = _begin(there, later, 3)
    host = _in_the_middle(there)
    for pid in there.spark.executors(host):
        os.kill(pid, signal.SIGKILL)
    os.killpg(there.spark.workers[host].pid, signal.SIGKILL)
    try:
        assert ended(there.console, run) == "success"
    finally:
        there.spark.start_worker(host)
    check_once(there, before, partition, clean)


def test_the_master_restarted_in_the_middle_of_a_job(there: Engines, clean: House, later: Path) -> None:
    before, partition, run = _begin(there, later, 4)
    _in_the_middle(there)
    there.spark.kill_master()
    there.spark.start_master()
    assert ended(there.console, run) == "success"
    check_once(there, before, partition, clean)


def test_the_key_service_sealed_for_a_while(there: Engines, clean: House, later: Path) -> None:
    there.bao.seal()
    try:
        before, partition, run = _begin(there, later, 5)
        until(lambda: failed_attempts(there, before), "an attempt that finds the key service sealed")
        time.sleep(AWAY_S)
    finally:
        there.bao.unseal()
    assert ended(there.console, run) == "success"
    assert {task for task, _ in failed_attempts(there, before)} == {"land"}
    check_once(there, before, partition, clean)


def test_postgresql_lost_at_once_and_started_again(there: Engines, clean: House, later: Path) -> None:
    """It holds Airflow's metadata and the control database: both are away in the middle of a task."""
    before, partition, run = _begin(there, later, 6)
    _in_the_middle(there)
    there.postgres.stop(signal.SIGQUIT)
    time.sleep(AWAY_S)
    there.postgres.start()
    assert ended(there.console, run) == "success"
    check_once(there, before, partition, clean)


def test_one_call_of_the_store_in_twenty_fails(there: Engines, clean: House, later: Path) -> None:
    faults = (Fault("status", 503, "SlowDown"), Fault("reset"), Fault("status", 500), Fault("lose"))
    rule = EveryNth(".", faults[0], nth=20, faults=faults)
    there.proxy.rules.append(rule)
    before, partition, run = _begin(there, later, 7)
    assert ended(there.console, run) == "success"
    there.proxy.rules.clear()
    assert rule.hits >= 3
    check_once(there, before, partition, clean)
