"""The tasks of a pseudonymization on Spark: handed to workers by number, watched, and their outcomes put together."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import CloakhouseError, StageError, internal
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.carried import worker_settings
from cloakhouse.stages.sieve_lists import Listed
from cloakhouse.stages.treating import DeliveryTask, Treater

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

POLL_S = 0.5
ATTEMPTS_END_S = 15.0
PYTHON_ENDS_S = 3.0  # Spark ends a killed task's Python 2 s later (spark.python.task.killTimeout)


def on_spark(
    settings: Settings,
    contract: Contract,
    references: dict[str, tuple[FileEntry, ...]],
    tasks: list[DeliveryTask],
    spark: SparkSession,
    progress: Progress,
    persons: Listed,
) -> list[dict[str, Any]]:
    """Return the outcome of every task, in their order. The plan that Spark sees is a range of task numbers."""
    fields = settings.for_workers()

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        worker = Worker(worker_settings(fields), contract, references, persons)
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield worker.outcome(tasks[number])

    numbers = spark.range(0, len(tasks), 1, numPartitions=len(tasks))
    frame = numbers.mapInArrow(work, "outcome string")
    with watching(spark, len(tasks), progress.step, "splits"):
        rows = frame.collect()
    let_attempts_end(spark)
    outcomes = [json.loads(row[0]) for row in rows]
    for outcome in outcomes:
        if "error" in outcome:
            raise _failed(contract, outcome)
    return outcomes


def let_attempts_end(spark: SparkSession) -> None:
    """Wait until attempts that lost to a speculative one have ended, for a bounded time: they may still write files."""
    if spark.conf.get("spark.speculation", "false") != "true":
        return
    tracker = spark.sparkContext._jsc.sc().statusTracker()
    deadline = time.monotonic() + ATTEMPTS_END_S
    while sum(executor.numRunningTasks() for executor in tracker.getExecutorInfos()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    time.sleep(PYTHON_ENDS_S)


def together(outcomes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one outcome per partition: sums, and the files of its splits in their order."""
    found: dict[str, dict[str, Any]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: (outcome["partition"], outcome["split"])):
        empty: dict[str, Any] = {"rows": 0, "withheld": 0, "quarantined": {}, "files": [], "quarantine": []}
        whole = found.setdefault(outcome["partition"], {"partition": outcome["partition"], **empty})
        whole["rows"] += outcome["rows"]
        whole["withheld"] += outcome["withheld"]
        whole["quarantined"] = dict(sorted((Counter(whole["quarantined"]) + Counter(outcome["quarantined"])).items()))
        whole["files"] += outcome["files"]
        whole["quarantine"] += outcome["quarantine"]
    return list(found.values())


class Worker:
    """Treats splits in a Spark worker. Every exception is a result: Spark would log its text, which may quote
    values."""

    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        references: dict[str, tuple[FileEntry, ...]],
        persons: Listed | None = None,
    ) -> None:
        self._arguments = (settings, contract, references, persons)
        self._treater: Treater | None = None

    def outcome(self, task: DeliveryTask) -> pa.RecordBatch:
        """Return the outcome of one split as one JSON text."""
        try:
            self._treater = self._treater or Treater(*self._arguments)
            outcome = self._treater.run(task)
        except CloakhouseError as problem:
            outcome = {"partition": task.partition, "error": problem.as_dict()}
        except Exception as fault:  # noqa: BLE001 - see the class
            outcome = {"partition": task.partition, "error": internal("pseudonymize", fault).as_dict()}
        return pa.RecordBatch.from_pydict({"outcome": [json.dumps(outcome)]})


def _failed(contract: Contract, outcome: dict[str, Any]) -> StageError:
    problem = outcome["error"]
    return StageError(
        where=f"{contract.name} {outcome['partition']}: {problem['code']} at {problem['where']}",
        expected=problem["expected"],
        found=problem["found"],
        not_done="no partition of this job became visible; " + problem["not_done"],
        remedy=problem["remedy"],
        code="task",
    )


class watching:
    """Reports finished Spark tasks while the block runs."""

    def __init__(self, spark: SparkSession, total: int, report: Callable[[int, int, str], None], unit: str) -> None:
        self._tracker = spark.sparkContext.statusTracker()
        self._total = total
        self._report = report
        self._unit = unit
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        last = -1
        while not self._stop.wait(POLL_S):
            stages = [self._tracker.getStageInfo(s) for s in self._tracker.getActiveStageIds()]
            done = sum(stage.numCompletedTasks for stage in stages if stage)
            if stages and done != last:
                last = done
                self._report(done, self._total, self._unit)
