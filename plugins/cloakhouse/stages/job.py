"""What every main() of `spark_jobs/` does: read the arguments, run the stage on a session, write the result."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cloakhouse.errors import CloakhouseError, StageError, internal
from cloakhouse.keys.files import replacing
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.logs import configure
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Stage = Callable[[Settings, ManifestRef, "SparkSession"], ManifestRef]


def run_stage(name: str, stage: Stage, arguments: Sequence[str] | None = None) -> int:
    """Run `stage` on the request that the arguments name; return the exit code: 0, or that of the refusal.

    Settings come from the CLOAKHOUSE_ variables. The file that `--result` names gets the reference of the manifest that
    the stage wrote, or the refusal's fields; of an exception that nobody foresaw only class and place.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    parser = argparse.ArgumentParser(description=f"{name} what a request manifest lists")
    parser.add_argument("--request", required=True, help="path of the request manifest within the lake")
    parser.add_argument("--sha256", required=True, help="its digest")
    parser.add_argument("--result", required=True, type=Path, help="file for the result")
    options = parser.parse_args(arguments)
    configure(sys.stdout)  # which the task that submitted the job writes into its log
    spark = SparkSession.builder.appName(f"cloakhouse {name}").getOrCreate()
    problem: CloakhouseError | None = None
    try:
        done = stage(Settings.from_environment(), ManifestRef(options.request, options.sha256), spark)
    except CloakhouseError as refusal:
        problem = refusal
    except (PySparkException, Py4JError) as fault:
        problem = _lost(name, type(fault).__name__)
    except Exception as fault:  # noqa: BLE001 - its text may quote values: only its class and place are told
        problem = internal(name, fault)
    finally:
        spark.stop()
    outcome = {"error": problem.as_dict()} if problem else done.as_dict()
    with replacing(options.result) as stream:
        stream.write(json.dumps(outcome).encode())
    return problem.exit_code if problem else 0


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
