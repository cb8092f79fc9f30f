"""Counters from the audit log. Each entry is read once in the life of a process: a scrape looks at what is new.

Which operations are counted is a closed list: those about single persons (erasures, consents, holds, copies for
persons, detokenization, links) are not among them.

Validations that went wrong are told of from 0 on: Prometheus' `increase` doesn't see the first of a series that begins
at 1.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import ALLOWED, FAILED, REFUSED, Action, decode
from cloakhouse.stages.metrics_model import Sample, whole_thousands

OTHER = "other"  # a dataset that no contract is about any more
ROWS = (Action.LAND, Action.PSEUDONYMIZE, Action.SYNTHESIZE, Action.PUBLISH)
COUNTED = (
    *ROWS,
    Action.VALIDATE,
    Action.APPROVE,
    Action.ROLL_BACK,
    Action.WITHDRAW,
    Action.EXPIRE,
    Action.ROTATE_KEY,
    Action.RUN,
    Action.TASK,
    Action.ALERT,
    Action.VERIFY_LOG,
)
MOST_TASKS = 2_000  # ends of tasks whose facts one scrape reads
STAGES = ("land", "pseudonymize", "synthesize", "validate", "publish", "aggregate", "rewrite")
_T = db.audit_entry


class LogTotals:
    """What the log comes to, by operation, dataset and decision. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._next = 0
        self._first: int | None = None  # the entry from which CPU time is counted: the log's end at the first reading
        self._events: Counter[tuple[str, str, str]] = Counter()
        self._rows: Counter[tuple[str, str]] = Counter()
        self._cpu_ms: Counter[tuple[str, str]] = Counter()

    def read(self, connection: sa.Connection, datasets: Collection[str]) -> list[Sample]:
        """Return the counters up to the newest entry; `datasets` are the names that contracts have now.

        Raises what the database does; nothing is counted then, and the next reading begins where this one did.
        """
        with self._lock:
            newest = connection.execute(sa.select(sa.func.max(_T.c.number))).scalar_one()
            end = 0 if newest is None else int(newest) + 1
            if end < self._next:  # another database in the place of the one that was read
                self._forget()
            if end > self._next:
                self._add(connection, end)
            return list(self._samples(frozenset(datasets)))

    def _add(self, connection: sa.Connection, end: int) -> None:
        new = _T.c.number.between(self._next, end - 1)
        columns = (_T.c.action, _T.c.dataset, _T.c.decision)
        sums = sa.select(*columns, sa.func.count().label("events"), sa.func.sum(_T.c["count"]).label("rows"))
        found = connection.execute(sums.where(new, _T.c.action.in_(COUNTED)).group_by(*columns)).all()
        cpu = [] if self._first is None else list(_task_cpu(connection, max(self._next, self._first), end))
        for row in found:
            self._events[row.action, row.dataset, row.decision] += row.events
            if row.action in ROWS and row.decision == ALLOWED:
                self._rows[row.action, row.dataset] += int(row.rows or 0)
        for stage, dataset, spent in cpu:
            self._cpu_ms[stage, dataset] += spent
        self._first = end if self._first is None else self._first
        self._next = end

    def _samples(self, datasets: Collection[str]) -> Iterator[Sample]:
        events = Counter({(_word(Action.VALIDATE), name, bad): 0 for name in datasets for bad in (FAILED, REFUSED)})
        for (action, dataset, decision), count in self._events.items():
            events[_word(action), _known(dataset, datasets), decision] += count
        rows: Counter[tuple[str, str]] = Counter()
        for (action, dataset), count in self._rows.items():
            rows[_word(action), _known(dataset, datasets)] += count
        cpu: Counter[tuple[str, str]] = Counter()
        for (stage, dataset), spent in self._cpu_ms.items():
            cpu[stage, _known(dataset, datasets)] += spent
        yield from (Sample("cloakhouse_events_total", n, labels) for labels, n in sorted(events.items()))
        yield from (Sample("cloakhouse_rows_total", whole_thousands(n), labels) for labels, n in sorted(rows.items()))
        yield from (Sample("cloakhouse_task_cpu_seconds_total", n / 1e3, labels) for labels, n in sorted(cpu.items()))


def _task_cpu(connection: sa.Connection, first: int, end: int) -> Iterator[tuple[str, str, int]]:
    """Yield stage, dataset and CPU time (ms) of the newest tasks that say it, 2,000 at most."""
    wanted = sa.select(_T.c.content).where(_T.c.action == Action.TASK, _T.c.number.between(first, end - 1))
    for (content,) in connection.execute(wanted.order_by(_T.c.number.desc()).limit(MOST_TASKS)):
        try:
            event = decode(bytes(content))
        except ValueError:
            continue  # for the verification of the log to tell
        spent = event.facts.get("cpu_ms")
        if isinstance(spent, int) and spent >= 0:
            yield _stage(event.task), event.dag.partition("_")[2], spent


def _stage(task: str) -> str:
    return next((stage for stage in STAGES if task.split(".")[-1].startswith(stage)), OTHER)


def _word(action: str) -> str:
    return action.replace(" ", "_")


def _known(dataset: str, datasets: Collection[str]) -> str:
    return dataset if not dataset or dataset in datasets else OTHER
