"""What every main() of `spark_jobs/` does: read the arguments, run the stage on a session, write the result.

The driver is at home, where the settings come from the CLOAKHOUSE_ variables and the result is a file, or away, where
both are in the job's bag in the lake (`cloakhouse.stages.away`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloakhouse.errors import CloakhouseError, StageError, internal
from cloakhouse.keys.files import replacing
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.logs import configure
from cloakhouse.settings import Settings
from cloakhouse.stages.away import Away

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Stage = Callable[[Settings, ManifestRef, "SparkSession"], ManifestRef]


@dataclass(frozen=True)
class _AtHome:
    """Where the installation's home is: its settings are the process's, and the result is a file."""

    result: Path

    @contextlib.contextmanager
    def settings(self, spark: SparkSession) -> Iterator[Settings]:
        yield Settings.from_environment()

    def tell(self, outcome: bytes) -> None:
        with replacing(self.result) as stream:
            stream.write(outcome)


def run_stage(name: str, stage: Stage, arguments: Sequence[str] | None = None) -> int:
    """Run `stage` on the request that the arguments name; return the exit code: 0, or that of the refusal.

    What `--result` or `--bag` names gets the reference of the manifest that the stage wrote, or the refusal's fields;
    of an exception that nobody foresaw only class and place.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    options = _parser(name).parse_args(arguments)
    place = Away.of(options) if options.bag else _AtHome(options.result)
    configure(sys.stdout)  # which the task that submitted the job writes into its log
    spark = SparkSession.builder.appName(f"cloakhouse {name}").getOrCreate()
    problem: CloakhouseError | None = None
    try:
        with place.settings(spark) as settings:
            done = stage(settings, ManifestRef(options.request, options.sha256), spark)
    except CloakhouseError as refusal:
        problem = refusal
    except (PySparkException, Py4JError) as fault:
        problem = _lost(name, type(fault).__name__)
    except Exception as fault:  # noqa: BLE001 - its text may quote values: only its class and place are told
        problem = internal(name, fault)
    finally:
        spark.stop()
    outcome = {"error": problem.as_dict()} if problem else done.as_dict()
    place.tell(json.dumps(outcome).encode())
    return problem.exit_code if problem else 0


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=f"{name} what a request manifest lists")
    parser.add_argument("--request", required=True, help="path of the request manifest within the lake")
    parser.add_argument("--sha256", required=True, help="its digest")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--result", type=Path, help="file for the result")
    Away.add_arguments(parser, where)
    return parser


def _lost(name: str, found: str) -> StageError:
    """Return the refusal for a job that Spark gave up, such as after a worker was killed."""
    return StageError(
        where=f"Spark job {name}",
        expected="every task to end",
        found=f"Spark gave up ({found})",
        not_done="nothing of the job became visible",
        remedy="look for a lost worker (memory, disk) on the machines of the cluster, then run again",
        code="spark",
    )
