"""Work handed out by number, in this process or to Spark's workers, and its answers gathered.

Whoever does the work, every exception becomes a refusal without values: Spark would log its text. The plan that Spark
sees is a range of numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from cloakhouse.errors import CloakhouseError, StageError, internal
from cloakhouse.stages.spark_tasks import let_attempts_end, watching

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Report = Callable[[int, int, str], None]
Work = Callable[[int], bytes]
_ANSWER = pa.schema([("good", pa.bool_()), ("answer", pa.binary())])


class Workers(Protocol):
    """Who does work that is cut into numbered parts."""

    def run(self, stage: str, work: Work, parts: int, unit: str, report: Report) -> list[bytes]:
        """Return `work(number)` for each number below `parts`, in order.

        `stage` names the work in refusals, `unit` its parts in progress. Raises StageError for the first part that
        failed.
        """


class LocalWorkers:
    """Does the work in this process, one part after the other."""

    def run(self, stage: str, work: Work, parts: int, unit: str, report: Report) -> list[bytes]:
        """See Workers.run."""
        answers = []
        for number in range(parts):
            answers.append(_checked(stage, *_answer(stage, work, number)))
            report(number + 1, parts, unit)
        return answers


class SparkWorkers:
    """Does the work in the workers of a Spark session, each part as one task."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def run(self, stage: str, work: Work, parts: int, unit: str, report: Report) -> list[bytes]:
        """See Workers.run. `work` is pickled by value: it holds names and numbers, never keys or rows."""

        def answers(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for number in batch.column(0).to_pylist():
                    good, answer = _answer(stage, work, number)
                    yield pa.RecordBatch.from_pydict({"good": [good], "answer": [answer]}, schema=_ANSWER)

        numbers = self._spark.range(0, parts, 1, numPartitions=parts)
        frame = numbers.mapInArrow(answers, "good boolean, answer binary")
        with watching(self._spark, parts, report, unit):
            rows = frame.collect()
        let_attempts_end(self._spark)
        return [_checked(stage, bool(row[0]), bytes(row[1])) for row in rows]


def _answer(stage: str, work: Work, number: int) -> tuple[bool, bytes]:
    try:
        return True, work(number)
    except CloakhouseError as problem:
        return False, json.dumps(problem.as_dict()).encode()
    except Exception as fault:  # noqa: BLE001 - see the module
        return False, json.dumps(internal(stage, fault).as_dict()).encode()


def _checked(stage: str, good: bool, answer: bytes) -> bytes:
    if good:
        return answer
    problem = json.loads(answer)
    raise StageError(
        where=f"{stage}: {problem['code']} at {problem['where']}",
        expected=problem["expected"],
        found=problem["found"],
        not_done=problem["not_done"],
        remedy=problem["remedy"],
        code="task",
    )
