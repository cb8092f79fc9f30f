"""Every server of an installation on several machines, on loopback: started together, ended together.

- a Spark cluster of a master and two workers, authenticated and encrypted (`tests.support.cluster`);
- PostgreSQL, with a database for Airflow's metadata and one for the control database (`tests.support.databases`);
- OpenBao over TLS, whose storage is on disk so that it may be sealed and killed (`tests.support.service_bao`);
- rclone's S3 server over TLS (`tests.support.stores`), reached through a proxy that can fail chosen calls
  (`tests.support.fault_proxy`);
- Airflow: scheduler with LocalExecutor, DAG processor, triggerer and API server, watched and started again when one
  ends, as a supervisor of services does it.

What can't run here: more than one machine, and S3's conditional writes, which rclone ignores
(`tests.support.stores.LACKS`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.airflow.conftest import Console, free_port
from tests.support.cluster import Cluster
from tests.support.databases import Postgres, folder_of_server, remove
from tests.support.fault_proxy import Proxy, proxy
from tests.support.service_bao import Bao
from tests.support.stores import KEY, SECRET, Rclone

from cloakhouse.flow.console import COMPONENTS, wait_until_ready
from cloakhouse.flow.environment import prepare
from cloakhouse.flow.submit import end_group
from cloakhouse.ledger.database_engine import engine_of, let_go
from cloakhouse.ledger.database_url import database_url
from cloakhouse.ledger.revisions import upgrade
from cloakhouse.settings import Settings

WATCH_S = 0.5
MIGRATE_WITHIN_S = 240.0
FASTER = {  # waits that are minutes in production and would be the whole test here (seconds)
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
}


@dataclass
class Airflow:
    """Airflow's components on `settings`; one that ends is started again until `stop`."""

    settings: Settings
    variables: Mapping[str, str]
    port: int = field(default_factory=free_port)
    restarts: list[str] = field(default_factory=list)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ending: threading.Event = field(default_factory=threading.Event)
    _watcher: threading.Thread | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the components, and of a command line beside them."""
        return {**os.environ, **prepare(self.settings, self.port), **self.variables}

    @property
    def console(self) -> Console:
        """Airflow's public API."""
        return Console(self.settings, self.port, tuple(process.pid for process in self._processes.values()))

    def start(self) -> None:
        """Make the metadata database and start the components; return when the API server answers."""
        environment = self.environment
        made = subprocess.run(
            [_airflow(), "db", "migrate"], env=environment, capture_output=True, text=True, timeout=MIGRATE_WITHIN_S
        )
        assert made.returncode == 0, made.stderr[-2000:]
        for name in COMPONENTS:
            self._processes[name] = self._component(name, environment)
        wait_until_ready(self.port, self._processes)
        self._watcher = threading.Thread(target=self._watch, args=(environment,), daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """End every component."""
        self._ending.set()
        if self._watcher is not None:
            self._watcher.join(30)
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes.values():
            end_group(process)

    def _watch(self, environment: dict[str, str]) -> None:
        while not self._ending.wait(WATCH_S):
            for name, process in list(self._processes.items()):
                if process.poll() is not None and not self._ending.is_set():
                    end_group(process)  # what it left of its group
                    self.restarts.append(name)
                    self._processes[name] = self._component(name, environment)

    def _component(self, name: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        log = self.settings.home / "airflow" / "components" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        extra = ("--port", str(self.port)) if name == "api-server" else ()
        with log.open("ab") as stream:
            return subprocess.Popen(
                [_airflow(), *COMPONENTS[name], *extra],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                cwd=self.settings.home,
            )


@dataclass
class Engines:
    """All servers, and the installation that is on them: `settings` name them, for the tests' own reading.

    Airflow isn't given these settings: it finds the servers by its connections alone.
    """

    settings: Settings
    spark: Cluster
    postgres: Postgres
    bao: Bao
    s3: Rclone
    proxy: Proxy
    airflow: Airflow

    @property
    def console(self) -> Console:
        """Airflow's public API."""
        return self.airflow.console


@contextlib.contextmanager
def engines(folder: Path) -> Iterator[Engines]:
    """Start every server in `folder`, and Airflow on an empty installation there; end all of it, whatever happened."""
    with contextlib.ExitStack() as ends:
        ends.enter_context(_credentials())
        spark = Cluster(_folder(folder / "spark"), environment=_AWS)
        ends.callback(spark.stop)
        spark.start()
        postgres = _postgres(ends)
        bao = Bao(folder / "bao", lasting=True)
        ends.callback(bao.kill)
        s3 = Rclone(_folder(folder / "s3"))
        ends.callback(s3.kill)
        door = ends.enter_context(proxy(_folder(folder / "proxy"), s3.port, s3.authority.ca))
        plain = Settings.from_environment({})
        told = replace(plain.with_home(folder / "home"), airflow_database=postgres.url(postgres.create("airflow")))
        lake = s3.uri("lake", port=door.port, ca=door.ca)
        settings = replace(told, keys=bao.uri("house"), store=lake, database=postgres.url(postgres.create("control")))
        settings.inbox.mkdir(parents=True)
        upgrade(engine_of(database_url(settings.database)))
        airflow = Airflow(told, {**FASTER, **_AWS, **_connections(spark, settings)})
        ends.callback(airflow.stop)
        airflow.start()
        ends.callback(let_go)
        yield Engines(settings, spark, postgres, bao, s3, door, airflow)


_AWS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}


def _connections(spark: Cluster, settings: Settings) -> dict[str, str]:
    """Return Airflow's connections to all servers, as variables; nothing else tells Airflow of them."""
    host, _, port = spark.master.rpartition(":")
    cluster = {"host": host, "port": int(port), "extra": {"properties": str(spark.properties)}}
    uris = {"lake": settings.store, "keys": settings.keys, "control": settings.database}
    found = {"SPARK": cluster, **{f"CLOAKHOUSE_{name.upper()}": {"extra": {"uri": uri}} for name, uri in uris.items()}}
    return {f"AIRFLOW_CONN_{name}": json.dumps({"conn_type": "generic", **fields}) for name, fields in found.items()}


def _postgres(ends: contextlib.ExitStack) -> Postgres:
    folder = folder_of_server()
    ends.callback(remove, folder)
    server = Postgres(folder)
    ends.callback(server.stop)
    return server


@contextlib.contextmanager
def _credentials() -> Iterator[None]:
    """Have this process know the credentials of the S3 server for the block."""
    before = {name: os.environ.get(name) for name in _AWS}
    os.environ.update(_AWS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _airflow() -> str:
    return str(Path(sys.executable).with_name("airflow"))
