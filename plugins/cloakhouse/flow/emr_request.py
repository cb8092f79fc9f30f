"""What StartJobRun of EMR Serverless is asked for; pure. AWS keeps all of it: nothing here is secret.

Sources: Amazon EMR Serverless API Reference, StartJobRun; EMR Serverless User Guide, "Using custom images", "Spark job
properties", "Inter-worker encryption", "Secrets Manager for data protection" (`EMR.secret@`).
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from cloakhouse.ledger.run_names import name_of, run_name
from cloakhouse.settings import Settings

DRIVER, EXECUTOR = "spark.emr-serverless.driverEnv.", "spark.executorEnv."
OWN_END_S = 300.0  # the service ends a job by itself this long after its submitter would have
RUN = {"AIRFLOW_CTX_DAG_ID": name_of, "AIRFLOW_CTX_DAG_RUN_ID": run_name, "AIRFLOW_CTX_TASK_ID": name_of}


def job_name(settings: Settings, job: str, dataset: str) -> str:
    """Return the name of a job run: that of one job on one dataset of one lake, whoever submits it."""
    return f"cloakhouse-{hashlib.sha256(settings.store.encode()).hexdigest()[:12]}-{job}-{dataset}"


def properties_of(settings: Settings, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the properties that a job needs there, beside the platform's own.

    The service hands each worker a certificate of its own (`spark.ssl.internode.enabled`), and reads the secret of
    Spark's authentication itself: `EMR.secret@` names it.
    """
    python, package = fields["python"], fields["package"]
    both = {"PYTHONPATH": package, "PYSPARK_PYTHON": python}
    driver = {**both, "PYSPARK_DRIVER_PYTHON": python, **_environment(settings, fields["region"])}
    return {
        "spark.ssl.internode.enabled": "true",
        "spark.authenticate.secret": f"EMR.secret@{fields['spark_secret']}",
        "spark.pyspark.python": python,
        "spark.pyspark.driver.python": python,
        **{f"{EXECUTOR}{name}": value for name, value in both.items()},
        **{f"{DRIVER}{name}": value for name, value in driver.items()},
    }


def request(
    fields: Mapping[str, str],
    name: str,
    token: str,
    job: str,
    arguments: Sequence[str],
    properties: Mapping[str, str],
    timeout_s: float,
) -> dict[str, Any]:
    """Return the parameters of StartJobRun.

    The code is the image's. The service keeps no logs: what drivers write is for the task's log, and Spark's own
    messages may quote more than the platform's do. A job is tried once: Airflow tries again, and knows what stands.
    """
    entry = PurePosixPath(fields["package"]).parent / "spark_jobs" / f"{job}.py"
    return {
        "applicationId": fields["application"],
        "clientToken": token,
        "name": name,
        "executionRoleArn": fields["role"],
        "executionTimeoutMinutes": math.ceil((timeout_s + OWN_END_S) / 60),
        "retryPolicy": {"maxAttempts": 1},
        "jobDriver": {"sparkSubmit": {"entryPoint": f"local://{entry}", "entryPointArguments": list(arguments)}},
        "configurationOverrides": {
            "applicationConfiguration": [{"classification": "spark-defaults", "properties": dict(properties)}],
            "monitoringConfiguration": {"managedPersistenceMonitoringConfiguration": {"enabled": False}},
        },
    }


def _environment(settings: Settings, region: str) -> dict[str, str]:
    """Return the driver's variables: what the installation is but for its home and its databases, and the run."""
    told = {
        "CLOAKHOUSE_LAKE": settings.store,
        "CLOAKHOUSE_KEYS": settings.keys,
        "CLOAKHOUSE_PURPOSE": settings.purpose,
        "CLOAKHOUSE_REGION": region,
        "CLOAKHOUSE_CACHE_BYTES": str(settings.cache_bytes),
        **{name: form(os.environ.get(name, "")) for name, form in RUN.items()},
    }
    return {name: value for name, value in told.items() if value}
