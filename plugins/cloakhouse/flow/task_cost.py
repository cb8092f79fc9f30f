"""What a task costs: CPU time of its own process and of the children that it waited for, as its end is recorded.

A driver of Spark is such a child, and in local mode its executors with it; executors of a cluster are not. A task that
was killed, or whose state a person set, has no cost: it is another process that tells of its end.
"""

from __future__ import annotations

import resource
from typing import Any

_begun: dict[tuple[str, ...], float] = {}
MOST = 64  # tasks of one process that began and were not ended (`dag.test()` runs one after the other)


def begin(instance: Any) -> None:
    """Note that the task `instance` begins in this process."""
    while len(_begun) >= MOST:
        _begun.pop(next(iter(_begun)))
    _begun[_key(instance)] = _cpu_s()


def facts(instance: Any) -> dict[str, int]:
    """Return the CPU time (ms) of a task that began in this process, once, as facts of its event; none else."""
    begun = _begun.pop(_key(instance), None)
    return {} if begun is None else {"cpu_ms": max(0, round((_cpu_s() - begun) * 1_000))}


def _cpu_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _key(instance: Any) -> tuple[str, ...]:
    return tuple(str(getattr(instance, name, "")) for name in ("dag_id", "run_id", "task_id", "map_index"))
