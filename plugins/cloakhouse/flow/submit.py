"""Running a job of `spark_jobs/` with spark-submit: the command, the bounded wait, the result."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloakhouse.errors import ConfigurationError, MissingDependency, StageError
from cloakhouse.flow import emr
from cloakhouse.flow.masters import Kind, fields_of, kind_of, sends_the_package
from cloakhouse.flow.properties import LOOPBACK, write_properties
from cloakhouse.settings import Settings

JAVA_FLOOR = 17
KILL_AFTER_S = 20
LONGEST_S = 4 * 3600.0
CONNECTION = "spark"  # Airflow's connection with the Spark master
AIRFLOW_SECRETS = ("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW__")  # the last: any option may be a secret
_RUNNING: set[subprocess.Popen[Any]] = set()  # jobs of this process, so that a signal can end them
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cluster:
    """Where Spark runs: the master's URL, the file of the cluster's properties (see `Job.cluster`), other fields."""

    master: str = "local[*]"
    properties: Path | None = None
    extra: tuple[tuple[str, str], ...] = ()

    def job(self, name: str, arguments: tuple[str, ...], timeout_s: float = LONGEST_S) -> Job:
        """Return the job that runs `name` here."""
        return Job(name, arguments, self.master, timeout_s, self.properties, self.extra)


@dataclass(frozen=True)
class Job:
    """One submission.

    Attributes:
        name: file in spark_jobs without `.py`.
        arguments: arguments of its main(); references only, nothing secret.
        master: Spark master URL.
        timeout_s: longest run (seconds); then it is killed.
        cluster: file of mode 0600 with the cluster's properties: its secret (`spark.authenticate.secret`, which a
            standalone master shares with its jobs), memory, cores, `spark.driver.host`. None for a local master.
        extra: what the master needs more (`flow.masters.FIELDS`).
    """

    name: str
    arguments: tuple[str, ...]
    master: str = "local[*]"
    timeout_s: float = LONGEST_S
    cluster: Path | None = None
    extra: tuple[tuple[str, str], ...] = ()


def cluster_at(host: str | None, port: int | str | None, extra: Any) -> Cluster:
    """Return the cluster that a connection of Airflow's names; the local one for a connection without a host.

    Raises ConfigurationError for a master that is none of those that are known, and for fields that it hasn't.
    """
    if not host:
        return Cluster()
    given = dict(extra) if isinstance(extra, Mapping) else {}
    properties = given.pop("properties", None)
    master = f"{host}:{port}" if port else str(host)
    kind_of(master)
    return Cluster(master, Path(properties) if properties else None, tuple(sorted(fields_of(master, given).items())))


def check_java(environment: Mapping[str, str] | None = None) -> None:
    """Raise MissingDependency unless Java 17 or newer is to be found (JAVA_HOME, else PATH)."""
    env = os.environ if environment is None else environment
    home = env.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=env.get("PATH"))
    found = "no java program"
    if program and Path(program).exists():
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60, check=False)
        match = re.search(r'version "(\d+)', answer.stderr)
        if match and int(match.group(1)) >= JAVA_FLOOR:
            return
        found = f"Java {match.group(1)}" if match else "a java program that tells no version"
    raise MissingDependency(
        where="Apache Spark",
        expected=f"Java {JAVA_FLOOR} or newer on PATH or under JAVA_HOME",
        found=found,
        not_done="nothing was pseudonymized; landed files wait",
        remedy="install it (Debian: apt-get install openjdk-17-jre-headless) and run again",
        code="java",
    )


def submit_command(job: Job, settings: Settings, properties: Path, package: Path, result: Path) -> list[str]:
    """Return the spark-submit command line of `job`. Nothing secret is on it: secrets are in `properties`."""
    import pyspark

    spark_home = Path(pyspark.__file__).parent
    files = ["--py-files", str(package)] if sends_the_package(job.master) else []
    return [
        str(spark_home / "bin" / "spark-submit"),
        "--master",
        job.master,
        "--name",
        f"cloakhouse-{job.name}",
        "--properties-file",
        str(properties),
        *files,
        str(settings.project / "spark_jobs" / f"{job.name}.py"),
        *job.arguments,
        "--result",
        str(result),
    ]


def package_zip(settings: Settings, folder: Path) -> Path:
    """Write the package `cloakhouse` as a zip for --py-files into `folder` and return its path."""
    root = settings.project / "plugins"
    target = folder / "cloakhouse.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((root / "cloakhouse").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(root))
    return target


def run_job(job: Job, settings: Settings) -> dict[str, Any]:
    """Run `job` and return what it wrote to its result file.

    Everything temporary lives in one folder under TMPDIR that is removed at the end. Raises MissingDependency
    without Java, StageError when the job refused, crashed or ran out of time; on EMR Serverless as `emr.run_away`.
    """
    if kind_of(job.master) is Kind.EMR:
        return _wanted(emr.run_away(job, settings))
    check_java()
    _check_yarn(job.master, os.environ)
    with _work_folder(settings) as folder:
        result = folder / "result.json"
        properties = write_properties(settings, job.master, folder, job.cluster, dict(job.extra))
        command = submit_command(job, settings, properties, package_zip(settings, folder), result)
        code = _run(command, settings, folder, job)
        if not result.exists():
            raise _crashed(job, f"exit code {code} without a result")
        outcome: dict[str, Any] = json.loads(result.read_text())
    return _wanted(outcome)


def _wanted(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return a job's result, or raise what it refused."""
    if "error" in outcome:
        raise _refused(outcome["error"])
    return outcome


def _check_yarn(master: str, environment: Mapping[str, str]) -> None:
    if kind_of(master) is Kind.YARN and not (environment.get("HADOOP_CONF_DIR") or environment.get("YARN_CONF_DIR")):
        raise ConfigurationError(
            where="Spark on YARN",
            expected="HADOOP_CONF_DIR or YARN_CONF_DIR, a folder with the cluster's own configuration",
            found="neither",
            not_done="the job was not submitted",
            remedy="set it where Airflow's tasks run",
            code="master",
        )


@contextlib.contextmanager
def _work_folder(settings: Settings) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"{settings.scratch}spark-", dir=settings.temporary()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str], settings: Settings, folder: Path, job: Job) -> int:
    """Run `command` in a process group of its own, its output into the log; end the whole group in every case."""
    environment = driver_environment(settings, folder)
    if job.master.startswith("local"):
        environment["SPARK_LOCAL_IP"] = LOOPBACK  # where Spark's pages would listen, if they are turned on
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
        cwd=folder,
    )
    _RUNNING.add(process)
    watchdog = _Watchdog(process, job.timeout_s)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            log.info("spark: %s", line.rstrip())
        return process.wait(timeout=KILL_AFTER_S)
    finally:
        watchdog.cancel()
        end_group(process)
        _RUNNING.discard(process)


def driver_environment(settings: Settings, folder: Path) -> dict[str, str]:
    """Return the driver's variables: this process's but for Airflow's connections and configuration, and `settings`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(AIRFLOW_SECRETS)}
    kept.pop("SPARK_HOME", None)
    own = {"CLOAKHOUSE_AIRFLOW_DATABASE": "", "PYSPARK_PYTHON": _python(), "TMPDIR": str(folder)}
    return {**kept, **settings.environment(), **own}


class _Watchdog:
    """Kills the process group when its time is up."""

    def __init__(self, process: subprocess.Popen[str], timeout_s: float) -> None:
        import threading

        self._timer = threading.Timer(timeout_s, end_group, (process,))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Stop waiting."""
        self._timer.cancel()


def end_running_jobs() -> None:
    """Kill the process groups of all jobs of this process at once, and cancel those elsewhere; for a signal handler."""
    for process in tuple(_RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    emr.end_running()


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a process and its group: SIGTERM, then SIGKILL for the rest, at the latest after a bounded wait."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=KILL_AFTER_S)


def _python() -> str:
    import sys

    return sys.executable


def _crashed(job: Job, found: str) -> StageError:
    return StageError(
        where=f"Spark job {job.name}",
        expected=f"a result within {job.timeout_s:.0f} s",
        found=found,
        not_done="nothing of the job became visible",
        remedy="read the task's log for Spark's own message (memory, disk, a lost worker), then run again",
        code="spark",
    )


def _refused(error: Mapping[str, str]) -> StageError:
    fields = {key: error[key] for key in ("where", "expected", "found", "not_done", "remedy")}
    problem = StageError(**fields)
    problem.code = error["code"]
    problem.args = (problem.explain(),)
    return problem
