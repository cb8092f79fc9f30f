"""What a Spark job runs with: the platform's properties, folders of its own, a secret, and the cluster's properties."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from cloakhouse.errors import ConfigurationError
from cloakhouse.flow.masters import fields_of, makes_the_secret, properties_of
from cloakhouse.keys.files import storage_error
from cloakhouse.settings import Settings

LOOPBACK = "127.0.0.1"
DEPLOY_MODE = "spark.submit.deployMode"
ENFORCED = ("spark.io.encryption.enabled", "spark.authenticate", "spark.network.crypto.enabled")
NAMES_A_SECRET = re.compile("(?i)secret|password|token|credential")
PROTECTING = ("spark.kubernetes.executor.podTemplateFile", "spark.kubernetes.executor.podTemplateContainerName")


def write_properties(
    settings: Settings,
    master: str,
    folder: Path,
    cluster: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Write the job's properties (mode 0600): infra/spark/spark-defaults.conf, folders, a fresh secret, what
    the master needs with the fields of `extra`, and what `cluster` says.

    Raises ConfigurationError when `cluster` is readable by others, turns encryption or authentication off, changes what
    protects executors, or wants a driver elsewhere; and as `fields_of` does.
    """
    values = _properties((settings.project / "infra" / "spark" / "spark-defaults.conf").read_text())
    required = {key: values[key] for key in ENFORCED}
    values["spark.local.dir"] = str(folder)
    if not makes_the_secret(master):
        values["spark.authenticate.secret"] = secrets.token_hex(32)
    own = properties_of(master, fields_of(master, extra or {}), settings.project)
    values |= own
    required |= {name: own[name] for name in own if name in PROTECTING} | {DEPLOY_MODE: "client"}
    values[DEPLOY_MODE] = "client"
    if master.startswith("local"):
        values |= {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}
    values["spark.driver.extraJavaOptions"] = f'"-Djava.io.tmpdir={folder}" -XX:-UsePerfData -Duser.timezone=UTC'
    values["spark.sql.warehouse.dir"] = str(folder / "warehouse")
    if cluster is not None:
        values |= _properties(_private(cluster))
    if any(values[key] != value for key, value in required.items()):
        raise _unsafe("encryption, authentication, the pod's protection and client mode on", "a setting that ends one")
    path = folder / "spark.properties"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.writelines(f"{key} {value}\n" for key, value in values.items())
    return path


def submitted_properties(settings: Settings, own: Mapping[str, str], cluster: Path | None = None) -> dict[str, str]:
    """Return the properties of a job that a service starts: infra/spark/spark-defaults.conf, `own`, and what `cluster`
    says. The service keeps what it is told, and has memory for drivers of its own measure.

    Raises ConfigurationError when `cluster` is readable by others, changes what is in `own`, turns encryption or
    authentication off, or names a secret.
    """
    values = _properties((settings.project / "infra" / "spark" / "spark-defaults.conf").read_text())
    required = {**{key: values[key] for key in ENFORCED}, **own}
    del values["spark.driver.memory"]
    told = _properties(_private(cluster)) if cluster is not None else {}
    values |= required | told
    if any(NAMES_A_SECRET.search(key) for key in told) or any(values[key] != value for key, value in required.items()):
        raise _unsafe("encryption, authentication and the image's environment on, and no secret", "another setting")
    return values


def _properties(text: str) -> dict[str, str]:
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {key: " ".join(value).strip() for key, *value in lines}


def _private(path: Path) -> str:
    try:
        with path.open() as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077:
                raise _unsafe("a file that only its owner may read: it holds a secret", "one that others may open")
            return stream.read()
    except OSError as fault:
        raise storage_error(fault, path, "the job was not submitted") from None


def _unsafe(expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where="properties of the Spark cluster",
        expected=expected,
        found=found,
        not_done="the job was not submitted",
        remedy="correct that file (chmod 600; leave spark.authenticate and encryption alone), then run again",
        code="spark-properties",
    )
