"""Entry of the spark image: an executor on Kubernetes, or a standalone master or worker, started without a shell.

Java is started with the class path of the installed pyspark. On Kubernetes the driver's variables say what to run
(`BasicExecutorFeatureStep` of Spark 4); a standalone master and worker read their secret from a file, as a property,
so that no argument and no variable holds it.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

JAVA = "/usr/bin/java"
PRIVATE = Path("/run/cloakhouse/private")  # a folder of our own: the one above belongs to root where it is a volume
BACKEND = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
DEPLOY = "org.apache.spark.deploy"
EXECUTOR = {  # argument: the variable that Spark's driver gives the pod
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}
MASTER_PORT = 7077
ALIVE_S = 5.0


class Refused(Exception):
    """What is missing; never a value."""


def class_path(environment: Mapping[str, str]) -> str:
    """Return Java's class path: what the driver adds, and the jars of the installed pyspark."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise Refused("pyspark is not installed")
    added = environment.get("SPARK_EXTRA_CLASSPATH", "")
    return ":".join(filter(None, (added, f"{Path(spec.origin).parent}/jars/*")))


def executor(environment: Mapping[str, str]) -> list[str]:
    """Return the command of an executor on Kubernetes. Raises Refused when the driver's variables are incomplete."""
    missing = [name for name in (*EXECUTOR.values(), "SPARK_EXECUTOR_MEMORY") if not environment.get(name)]
    if missing:
        raise Refused(f"variables of the driver are missing: {', '.join(missing)}")
    numbered = [
        (int(found[1]), value)
        for name, value in environment.items()
        if (found := re.fullmatch(r"SPARK_JAVA_OPT_(\d+)", name))
    ]
    memory = environment["SPARK_EXECUTOR_MEMORY"]
    options = [value for _, value in sorted(numbered)]
    arguments = [part for flag, name in EXECUTOR.items() for part in (flag, environment[name])]
    return [JAVA, *options, f"-Xms{memory}", f"-Xmx{memory}", "-cp", class_path(environment), BACKEND, *arguments]


def copied(secrets: Path, private: Path) -> None:
    """Copy the files of `secrets` into `private` (mode 0600): the key services' clients want theirs private."""
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in sorted(secrets.glob("*")):
        if path.is_file():
            target = private / path.name
            target.unlink(missing_ok=True)
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(path.read_bytes())


def standalone(role: str, environment: Mapping[str, str], private: Path) -> list[str]:
    """Return the command of a standalone `role` (master or worker); its properties are a file of mode 0600.

    Raises Refused without the secret's file (CLOAKHOUSE_SPARK_SECRET).
    """
    source = Path(environment.get("CLOAKHOUSE_SPARK_SECRET", "/run/secrets/spark"))
    if not source.is_file() or not (secret := source.read_text().strip()):
        raise Refused("the secret `spark` is missing or empty")
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    properties = private / "spark.conf"
    properties.unlink(missing_ok=True)
    with os.fdopen(os.open(properties, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(
            f"spark.authenticate true\nspark.authenticate.secret {secret}\nspark.network.crypto.enabled true\n"
            "spark.io.encryption.enabled true\nspark.master.rest.enabled false\nspark.ui.enabled false\n"
            "spark.master.ui.decommission.allow.mode DENY\nspark.worker.cleanup.enabled true\n"
        )
    host = environment.get("CLOAKHOUSE_SPARK_NAME") or socket.gethostname()
    own = {
        "master": [f"{DEPLOY}.master.Master", "--host", host, "--port", str(MASTER_PORT)],
        "worker": [
            f"{DEPLOY}.worker.Worker",
            "--host",
            host,
            "--work-dir",
            "/tmp/work",  # noqa: S108 - a volume
            "--cores",
            environment.get("CLOAKHOUSE_SPARK_CORES", "1"),
            "--memory",
            environment.get("CLOAKHOUSE_SPARK_MEMORY", "1g"),
            environment.get("CLOAKHOUSE_SPARK_MASTER", f"spark://spark-master:{MASTER_PORT}"),
        ],
    }[role]
    return [JAVA, "-Xmx512m", "-cp", class_path(environment), own[0], "--properties-file", str(properties), *own[1:]]


def alive(commands: list[bytes], environment: Mapping[str, str]) -> bool:
    """Return whether a Java process of Spark runs, and, of a master, whether its port answers."""
    running = [command for command in commands if b"org.apache.spark." in command]
    if not any(b".master.Master" in command for command in running):
        return bool(running)
    try:
        host = environment.get("CLOAKHOUSE_SPARK_NAME") or socket.gethostname()
        socket.create_connection((host, MASTER_PORT), ALIVE_S).close()
    except OSError:
        return False
    return True


def main(arguments: list[str]) -> int:
    """Become the process that the argument names (executor, master, worker), or tell its health."""
    role = arguments[0] if arguments else ""
    os.umask(0o077)
    if role == "health":
        return 0 if alive([path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")], os.environ) else 1
    try:
        if role not in ("executor", "master", "worker"):
            raise Refused("expected executor, master, worker or health")
        copied(Path(os.environ.get("CLOAKHOUSE_SECRETS") or "/run/secrets"), PRIVATE)
        command = executor(os.environ) if role == "executor" else standalone(role, os.environ, PRIVATE)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return os.execve(command[0], command, {**os.environ, "PYSPARK_PYTHON": sys.executable})  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
