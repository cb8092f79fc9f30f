"""A Spark standalone cluster on loopback: one master, two workers of one core each, secrets and encryption on.

The daemons are pyspark's own. Each worker has an address of its own (127.0.0.1, 127.0.0.2): Spark starts a speculative
attempt on another host only. Ports are chosen free by the daemons themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.lake import processes_of
from tests.support.spark_pages import port_of
from tests.support.spark_projects import private
from tests.support.waiting import until

HOSTS = ("127.0.0.1", "127.0.0.2")
START_S = 60.0
END_S = 20.0
RECOVERED = {"spark.deploy.recoveryMode": "FILESYSTEM"}  # a master that starts again knows workers and jobs
PACKAGE = "org.apache.spark.deploy"


@dataclass
class Cluster:
    """A running cluster. `folder` holds its logs, work folders and properties; `environment` are variables that its
    daemons get, and their executors from them."""

    folder: Path
    master: str = ""
    daemon: subprocess.Popen[bytes] | None = None  # the master
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    _daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def properties(self) -> Path:
        """The properties that a job needs here; submit with `Job.cluster`."""
        return self._file("job.conf", {"spark.driver.host": HOSTS[0], "spark.driver.bindAddress": HOSTS[0]})

    def properties_with(self, **more: str) -> Path:
        """Return `properties` with more of them; `__` in a name stands for the dot."""
        own = {"spark.driver.host": HOSTS[0], "spark.driver.bindAddress": HOSTS[0]}
        return self._file("job-more.conf", own | {name.replace("__", "."): value for name, value in more.items()})

    def start(self) -> None:
        """Start the master and the workers; return when the workers are registered."""
        self.start_master()
        for host in HOSTS:
            self.start_worker(host)

    def start_master(self) -> None:
        """Start the master, or start it again at the same port with the state that it had (recoveryMode)."""
        (self.folder / "master.log").unlink(missing_ok=True)
        port = self.master.rpartition(":")[2] or "0"
        self.daemon = self._daemon("master", HOSTS[0], f"{PACKAGE}.master.Master", port=port)
        self.master = str(
            until(lambda: self._found("master", r"Starting Spark master at (spark://\S+)"), "a master", START_S)
        )

    def kill_master(self) -> None:
        """End the master without a word."""
        assert self.daemon is not None
        os.killpg(self.daemon.pid, signal.SIGKILL)
        self.daemon.wait(END_S)

    def start_worker(self, host: str) -> None:
        """Start the worker of `host`, or start it again, and return when it is registered."""
        name = f"worker-{host}"
        (self.folder / f"{name}.log").unlink(missing_ok=True)
        size = ("--cores", "1", "--memory", "700M", "--work-dir", str(self.folder / name))
        self.workers[host] = self._daemon(name, host, f"{PACKAGE}.worker.Worker", *size, self.master)
        until(lambda: self._found(name, r"(Successfully registered with master)"), "a registered worker", START_S)

    def working(self, host: str) -> list[int]:
        """Return the process ids of the Python workers that treat rows for executors of `host`."""
        found = processes_of(self.folder / f"worker-{host}")
        return [pid for pid, command in found.items() if "pyspark.daemon" in command]

    def executors(self, host: str) -> list[int]:
        """Return the process ids of the executors that the worker of `host` runs."""
        return [
            pid
            for pid, command in processes_of(self.folder / f"worker-{host}").items()
            if "CoarseGrainedExecutorBackend" in command
        ]

    def pages(self) -> list[str]:
        """Return the URLs of the pages of the master and the workers."""
        daemons = [("master", HOSTS[0], "MasterUI"), *((f"worker-{host}", host, "WorkerUI") for host in HOSTS)]
        return [
            f"http://{host}:{port_of(service, (self.folder / f'{name}.log').read_text())}/"
            for name, host, service in daemons
        ]

    def stop(self) -> None:
        """End every process of the cluster; AssertionError when one is left."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in self._daemons:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(END_S)
        for pid in processes_of(self.folder):  # executors have groups of their own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not processes_of(self.folder), "the end of the cluster", END_S)

    def _daemon(self, name: str, host: str, *command: str, port: str = "0") -> subprocess.Popen[bytes]:
        import pyspark

        home = Path(pyspark.__file__).parent
        environment = {
            **{key: os.environ[key] for key in ("PATH", "JAVA_HOME", "HOME", "LANG") if key in os.environ},
            **self.environment,
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": host,  # where its pages listen
            "SPARK_LOCAL_DIRS": str(self.folder / name / "local"),
            "SPARK_DAEMON_MEMORY": "256m",
            "TMPDIR": str(self.folder / name),
        }
        (self.folder / name / "local").mkdir(parents=True, exist_ok=True)
        ours = (
            "--host",
            host,
            "--port",
            port,
            "--webui-port",
            "0",
            "--properties-file",
            str(self._file("daemon.conf", RECOVERED | {"spark.deploy.recoveryDirectory": str(self.folder / "state")})),
        )
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(home / "bin" / "spark-class"), command[0], *ours, *command[1:]],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=_end_with_us,
                cwd=self.folder / name,
            )
        self._daemons.append(process)
        return process

    def _file(self, name: str, more: dict[str, str]) -> Path:
        safe = {
            "spark.authenticate": "true",
            "spark.authenticate.secret": self.secret,
            "spark.network.crypto.enabled": "true",
            "spark.executor.memory": "512m",
            "spark.executor.cores": "1",
        }
        return private(self.folder / name, safe | more)

    def _found(self, name: str, pattern: str) -> str | None:
        found = re.search(pattern, (self.folder / f"{name}.log").read_text())
        return found[1] if found else None


def _end_with_us() -> None:
    """Have the kernel end this process when the tests are killed (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Yield a running cluster and end all of it, whatever happened."""
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
