"""`cloakhouse console`: Airflow with its UI, four components in one process group, listening on 127.0.0.1 only.

The components are started one by one and not through `airflow standalone`, because the log servers of scheduler and
triggerer would listen on every interface: they are told not to serve logs (the UI reads the files instead).
Ctrl-C, SIGTERM, or the end of any component ends all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from cloakhouse.errors import ConfigurationError, StageError
from cloakhouse.flow.environment import airflow_home, passwords_file, prepare
from cloakhouse.flow.submit import check_java, end_group
from cloakhouse.settings import Settings

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server", "--host", "127.0.0.1", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
READY_WITHIN_S = 120.0
MIGRATE_WITHIN_S = 600.0
POLL_S = 0.5


def serve(settings: Settings, port: int = 8080) -> int:
    """Run Airflow until it is interrupted; return 0, or 1 when a component ended by itself.

    Raises ConfigurationError when the port is taken, MissingDependency without Java, StageError when the UI does
    not answer within two minutes.
    """
    check_java()
    _require_free(port)
    stop = _StopSignal()
    with running(settings, port) as processes:
        wait_until_ready(port, processes)
        _introduce(settings, port)
        while not stop.received:
            ended = [name for name, process in processes.items() if process.poll() is not None]
            if ended:
                print(f"{ended[0]} ended; see {_log(settings, ended[0])}", file=sys.stderr)
                return 1
            time.sleep(POLL_S)
    print("\nstopped")
    return 0


@contextlib.contextmanager
def running(settings: Settings, port: int) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start the components, each in a process group of its own; end them all when the block ends."""
    environment = {**os.environ, **prepare(settings, port)}
    airflow = str(Path(sys.executable).with_name("airflow"))
    migrated = subprocess.run(
        [airflow, "db", "migrate"], env=environment, check=False, capture_output=True, timeout=MIGRATE_WITHIN_S
    )
    if migrated.returncode:
        raise _not_ready("a metadata database that could not be made or migrated")
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, arguments in COMPONENTS.items():
            log = _log(settings, name)
            log.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            extra = ("--port", str(port)) if name == "api-server" else ()
            processes[name] = subprocess.Popen(
                [airflow, *arguments, *extra],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                start_new_session=True,
                cwd=settings.home,
            )
            os.close(handle)
        yield processes
    finally:
        for process in processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes.values():
            end_group(process)


def wait_until_ready(port: int, processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Return when the API server answers. Raises StageError when it doesn't, or when a component ended."""
    deadline = time.monotonic() + READY_WITHIN_S
    url = f"http://127.0.0.1:{port}/api/v2/version"
    while time.monotonic() < deadline:
        ended = [name for name, process in processes.items() if process.poll() is not None]
        if ended:
            raise _not_ready(f"{ended[0]} ended")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_S)
    raise _not_ready("no answer")


def _not_ready(found: str) -> StageError:
    return StageError(
        where="Airflow's API server",
        expected=f"an answer within {READY_WITHIN_S:.0f} s",
        found=found,
        not_done="the console was stopped",
        remedy="read the logs under airflow/components in CLOAKHOUSE_HOME",
        code="console",
    )


def _log(settings: Settings, name: str) -> Path:
    return airflow_home(settings) / "components" / f"{name}.log"


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigurationError(
                where="cloakhouse console",
                expected=f"port {port} of 127.0.0.1 to be free",
                found="another program there",
                not_done="Airflow was not started",
                remedy="stop that program, or choose another port: make console PORT=8081",
                code="port",
            ) from None


def _introduce(settings: Settings, port: int) -> None:
    users = ", ".join(json.loads(passwords_file(settings).read_text()))
    print(f"Airflow is at http://127.0.0.1:{port} (this machine only)")
    print(f"users: {users}; their passwords are in {passwords_file(settings)} (readable by you only)")
    print("  engineer runs DAGs, auditor and model look at runs, approver answers approvals, admin does everything")
    print(f"the auditor's console: http://127.0.0.1:{port}/auditor/ (docs/console.md says which user sees what)")
    print("Ctrl-C stops it", flush=True)


class _StopSignal:
    """Remembers SIGINT and SIGTERM instead of raising in the middle of something."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True
