"""The masters that Spark jobs run on, and what each of them needs beyond the platform's own properties.

The driver is the task's own process (client mode): it holds the settings, keys and credentials, and its result is a
file of its own. `cluster` as deploy mode is refused. EMR Serverless has no other mode: its jobs are submitted by its
API, with all that a driver needs in a bag of its own (`cloakhouse.flow.emr`).

Sources: Apache Spark 4, "Running Spark on Kubernetes", "Running Spark on YARN", "Spark Security".
"""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.aws_services import REGION


class Kind(enum.Enum):
    """What kind of master a text names; the value is its form."""

    LOCAL = r"local(\[(\*|[1-9]\d{0,3})(,[1-9]\d?)?\])?"
    STANDALONE = r"spark://[A-Za-z0-9.\-_\[\]:]+(,[A-Za-z0-9.\-_\[\]:]+)*"
    YARN = "yarn"
    KUBERNETES = r"k8s://https://[A-Za-z0-9.\-]+(:\d{1,5})?(/[A-Za-z0-9./\-]*)?"
    EMR = "emr-serverless"


NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # of Kubernetes objects: RFC 1123
IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/\-]{0,500}@sha256:[0-9a-f]{64}")
PLACE = re.compile(r"/[A-Za-z0-9._/\-]{1,200}")
ARCHIVE = re.compile(r"(hdfs|s3a|abfss|gs)://[A-Za-z0-9._:/@\-]{1,500}\.(tar\.gz|tgz|zip)")
QUEUE = re.compile(r"[A-Za-z0-9_.\-]{1,200}")
APPLICATION = re.compile(r"[0-9a-z]{1,64}")
ROLE = re.compile(r"arn:aws[a-z\-]*:iam::\d{12}:role/[\w+=,.@/\-]{1,512}", re.ASCII)
SECRET = re.compile(r"[A-Za-z0-9/_+=.@:\-]{1,512}")
ENDPOINT = re.compile(r"(https?://[A-Za-z0-9.:\[\]\-]{1,300})?")
FIELDS: Mapping[Kind, Mapping[str, tuple[re.Pattern[str], str]]] = {  # extra of the connection; "" has to be given
    Kind.LOCAL: {},
    Kind.STANDALONE: {},
    Kind.YARN: {"archive": (ARCHIVE, ""), "queue": (QUEUE, "default")},
    Kind.KUBERNETES: {
        "namespace": (NAME, ""),
        "service_account": (NAME, ""),
        "image": (IMAGE, ""),
        "python": (PLACE, "/opt/cloakhouse/.venv/bin/python"),
        "package": (PLACE, "/opt/cloakhouse/plugins"),
    },
    Kind.EMR: {
        "application": (APPLICATION, ""),
        "role": (ROLE, ""),
        "region": (REGION, ""),
        "database_secret": (SECRET, ""),
        "spark_secret": (SECRET, ""),
        "python": (PLACE, "/opt/venv/bin/python"),
        "package": (PLACE, "/opt/cloakhouse/plugins"),
        "endpoint": (ENDPOINT, ""),
        "secrets_endpoint": (ENDPOINT, ""),
    },
}


def kind_of(master: str) -> Kind:
    """Return the kind of `master`. Raises ConfigurationError for a text that is none."""
    for kind in Kind:
        if re.fullmatch(kind.value, master):
            return kind
    raise ConfigurationError(
        where="Airflow's connection spark",
        expected="as host: local[*], spark://HOST, yarn, k8s://https://HOST or emr-serverless",
        found="another master",
        not_done="the job was not submitted",
        remedy="correct the connection (docs/engines.md); in a URI, Airflow takes spark:// for the connection's type",
        code="master",
    )


def fields_of(master: str, extra: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that `extra` gives for a master of Spark's, with defaults; `properties` is not one of them.

    Raises ConfigurationError for a field that is missing, unknown or not of its form.
    """
    known = FIELDS[kind_of(master)]
    given = {name: value for name, value in extra.items() if name != "properties"}
    merged = {name: given.get(name, default) for name, (_, default) in known.items()}
    bad = set(given) - set(known) | {name for name, value in merged.items() if not _fits(known[name][0], value)}
    if bad:
        raise ConfigurationError(
            where="Airflow's connection spark",
            expected=f"in its extra {', '.join(known) or 'nothing'}, and properties; an image by its sha256 digest",
            found=f"missing, unknown or malformed: {', '.join(sorted(bad & set(known))) or 'a field of another name'}",
            not_done="the job was not submitted",
            remedy="correct the connection; see docs/engines.md",
            code="master",
        )
    return merged


def properties_of(master: str, fields: Mapping[str, str], project: Path) -> dict[str, str]:
    """Return the properties that a master of this kind needs; pure. `fields` is what `fields_of` returned."""
    kind = kind_of(master)
    if kind is Kind.KUBERNETES:
        return _kubernetes(fields, project)
    return _yarn(fields) if kind is Kind.YARN else {}


def makes_the_secret(master: str) -> bool:
    """Return whether Spark itself makes the job's authentication secret and hands it to the executors."""
    return kind_of(master) in (Kind.YARN, Kind.KUBERNETES)


def sends_the_package(master: str) -> bool:
    """Return whether the package goes to the executors from here; on Kubernetes it is in their image."""
    return kind_of(master) is not Kind.KUBERNETES


def _kubernetes(fields: Mapping[str, str], project: Path) -> dict[str, str]:
    return {
        "spark.kubernetes.namespace": fields["namespace"],
        "spark.kubernetes.container.image": fields["image"],
        "spark.kubernetes.authenticate.executor.serviceAccountName": fields["service_account"],
        "spark.kubernetes.executor.podTemplateFile": str(project / "infra" / "spark" / "executor-pod.yaml"),
        "spark.kubernetes.executor.podTemplateContainerName": "executor",
        "spark.kubernetes.executor.deleteOnTermination": "true",
        "spark.kubernetes.executor.enablePollingWithResourceVersion": "true",
        "spark.kubernetes.submission.connectionTimeout": "10000",  # milliseconds
        "spark.kubernetes.submission.requestTimeout": "30000",
        "spark.kubernetes.allocation.executor.timeout": "600s",
        "spark.executorEnv.PYTHONPATH": fields["package"],
        "spark.pyspark.python": fields["python"],
        "spark.pyspark.driver.python": sys.executable,
    }


def _yarn(fields: Mapping[str, str]) -> dict[str, str]:
    return {
        "spark.yarn.queue": fields["queue"],
        "spark.yarn.maxAppAttempts": "1",  # Airflow runs a task again, and knows what stands already
        "spark.yarn.dist.archives": f"{fields['archive']}#environment",
        "spark.pyspark.python": "./environment/bin/python",
        "spark.pyspark.driver.python": sys.executable,
    }


def _fits(form: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None
