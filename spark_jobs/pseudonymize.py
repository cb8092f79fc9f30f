"""Spark job: pseudonymize the landed deliveries that a request manifest lists.

spark-submit pseudonymize.py --request PATH --sha256 HEX --result FILE
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize
from cloakhouse.stages.job import run_stage


def stage(settings: Settings, request: ManifestRef, spark: SparkSession) -> ManifestRef:
    """Return the manifest of what was pseudonymized."""
    return pseudonymize.run(settings, request, spark).manifest


if __name__ == "__main__":
    sys.exit(run_stage("pseudonymize", stage))
