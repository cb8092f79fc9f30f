"""The console as people meet it, in a real Chromium: standing alone, and in a real Airflow with its users."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.browser import browser
from tests.support.persons import BY, many, requested
from tests.support.published import empty_house

from cloakhouse.console.session import standing_alone
from cloakhouse.flow.console import MIGRATE_WITHIN_S, wait_until_ready
from cloakhouse.flow.environment import passwords_file, prepare
from cloakhouse.flow.submit import end_group
from cloakhouse.ledger.alert_rules import Alert
from cloakhouse.ledger.alerts import AlertRegister
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import REFUSED, Action, Event
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.checkpointing import checkpoint

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<script>alert(1)</script>"
ERASURE = "er-20261101-0badcafe"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A small real installation: one version, refusals, an alert, markup in a reason, an erasure, a checkpoint."""
    import datetime as dt

    home = tmp_path_factory.mktemp("console") / "home"
    house = empty_house(home)
    house.publish()
    AuditLog(house.settings.database).record(
        *(Event(f"person-{at}", Action.READ, f"people_synthetic@{at}", reason=HOSTILE) for at in range(60)),
        Event("ben", Action.DETOKENIZE, "customers.email", decision=REFUSED, code="access.key", count=40),
    )
    since = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
    alerts = [
        Alert("refusals", f"ben {n}", since, "high", f"40 refusals {HOSTILE}", "2 a day", (1, 2)) for n in range(2)
    ]
    AlertRegister(house.settings.database).raise_(alerts)
    requested(house.settings.database, ERASURE, many(1_234))
    Erasures(house.settings.database).done(ERASURE, "landed/people", {"rows": 4_321, "files": 2}, BY)
    checkpoint(house.settings)
    return house.settings


@dataclass
class Alone:
    """A console that stands alone, its port and the address that opens it once."""

    port: int
    address: str

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="session")
def alone(settings: Settings) -> Iterator[Alone]:
    """A console that stands alone, served by uvicorn in a thread."""
    import uvicorn

    port = free_port()
    app, address = standing_alone(settings, "ann", port)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    yield Alone(port, address)
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A running Chromium."""
    with browser() as running:
        yield running


@dataclass(frozen=True)
class Airflow:
    """An API server: its settings and port."""

    settings: Settings
    port: int

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def password(self, user: str) -> str:
        return str(json.loads(passwords_file(self.settings).read_text())[user])

    def token(self, user: str) -> str:
        """Return an access token of `user`."""
        body = json.dumps({"username": user, "password": self.password(user)}).encode()
        request = urllib.request.Request(f"{self.base}/auth/token", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.loads(answer.read())["access_token"])


@pytest.fixture(scope="session")
def airflow(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """A real Airflow's API server over a copy of the installation; no scheduler, as nothing runs."""
    home = tmp_path_factory.mktemp("airflow") / "home"
    shutil.copytree(settings.home, home)
    own, port = settings.with_home(home), free_port()
    environment = {**os.environ, **prepare(own, port)}
    program = str(Path(sys.executable).with_name("airflow"))
    subprocess.run(
        [program, "db", "migrate"], env=environment, check=True, capture_output=True, timeout=MIGRATE_WITHIN_S
    )
    log = (home / "api-server.log").open("wb")
    process = subprocess.Popen(
        [program, "api-server", "--host", "127.0.0.1", "--workers", "1", "--port", str(port)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd=home,
    )
    try:
        wait_until_ready(port, {"api-server": process})
        yield Airflow(own, port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        end_group(process)
        log.close()
