"""Spark job: pseudonymize the landed deliveries that a request manifest lists.

    spark-submit pseudonymize.py --request PATH --sha256 HEX --result FILE

Settings come from the CLOAKHOUSE_ variables. The result file gets the result manifest's reference, or the
refusal's fields; the exit code is 0, or that of the refusal.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from cloakhouse.errors import CloakhouseError, StageError, internal
from cloakhouse.keys.files import replacing
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize


def lost(found: str) -> StageError:
    """Return the refusal for a job that Spark gave up, such as after a worker was killed."""
    return StageError(
        where="Spark job pseudonymize",
        expected="every task to end",
        found=f"Spark gave up ({found})",
        not_done="nothing of the job became visible",
        remedy="look for a lost worker (memory, disk) on the machines of the cluster, then run again",
        code="spark",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the job; return its exit code."""
    parser = argparse.ArgumentParser(description="pseudonymize landed deliveries")
    parser.add_argument("--request", required=True, help="path of the request manifest within the lake")
    parser.add_argument("--sha256", required=True, help="its digest")
    parser.add_argument("--result", required=True, type=Path, help="file for the result")
    options = parser.parse_args(arguments)
    spark = SparkSession.builder.appName("cloakhouse pseudonymize").getOrCreate()
    try:
        done = pseudonymize.run(Settings.from_environment(), ManifestRef(options.request, options.sha256), spark)
        outcome = done.manifest.as_dict()
        code = 0
    except CloakhouseError as problem:
        outcome, code = {"error": problem.as_dict()}, problem.exit_code
    except (PySparkException, Py4JError) as fault:
        problem = lost(type(fault).__name__)
        outcome, code = {"error": problem.as_dict()}, problem.exit_code
    except Exception as fault:  # noqa: BLE001 - its text may quote values: only its class and place are told
        problem = internal("pseudonymize", fault)
        outcome, code = {"error": problem.as_dict()}, problem.exit_code
    finally:
        spark.stop()
    with replacing(options.result) as stream:
        stream.write(json.dumps(outcome).encode())
    return code


if __name__ == "__main__":
    sys.exit(main())
