"""Spark job: make the synthetic dataset that a request manifest asks for; workers count and sample.

spark-submit synthesize.py --request PATH --sha256 HEX --result FILE
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.settings import Settings
from cloakhouse.stages import synthesize
from cloakhouse.stages.job import run_stage
from cloakhouse.stages.workers import SparkWorkers


def stage(settings: Settings, request: ManifestRef, spark: SparkSession) -> ManifestRef:
    """Return the manifest of the synthetic dataset."""
    return synthesize.run(settings, request, SparkWorkers(spark))


if __name__ == "__main__":
    sys.exit(run_stage("synthesize", stage))
