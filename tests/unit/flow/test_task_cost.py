"""The CPU time of a task: its own and its children's, told once, for what began in this process."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

from cloakhouse.flow import task_cost

BUSY = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def instance(task: str = "land") -> SimpleNamespace:
    return SimpleNamespace(dag_id="protect_transactions", run_id="r", task_id=task, map_index=-1)


def test_own_time_and_that_of_children_count_and_waiting_does_not() -> None:
    task_cost.begin(instance())
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    spent = task_cost.facts(instance())["cpu_ms"]
    assert 380 <= spent < 5_000
    task_cost.begin(instance())
    time.sleep(0.3)
    assert task_cost.facts(instance())["cpu_ms"] < 250


def test_it_is_told_once_and_of_nothing_that_began_elsewhere() -> None:
    task_cost.begin(instance())
    assert task_cost.facts(instance("plan")) == {}
    assert task_cost.facts(instance()).keys() == {"cpu_ms"}
    assert task_cost.facts(instance()) == {}


def test_what_never_ends_is_forgotten() -> None:
    for number in range(3 * task_cost.MOST):
        task_cost.begin(instance(str(number)))
    assert task_cost.facts(instance("0")) == {}
    assert task_cost.facts(instance(str(3 * task_cost.MOST - 1))) != {}
    for number in range(3 * task_cost.MOST):
        task_cost.facts(instance(str(number)))
