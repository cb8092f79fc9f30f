"""A real Prometheus: its own check of the rules, and a scrape of the real endpoint on which it evaluates them."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
import yaml
from tests.support.console import HeaderGate
from tests.support.prometheus import program
from tests.support.published import empty_house

from cloakhouse.console.app import create_app
from cloakhouse.console.metrics_token import make_token
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import FAILED, Action, Event
from cloakhouse.stages.metrics_model import FAMILIES

pytestmark = [pytest.mark.stores, pytest.mark.prometheus]
INFRA = Path(__file__).parents[2] / "infra"
WAIT_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(app: Any) -> Iterator[int]:
    """Serve `app` on loopback while the block runs."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(30)


@contextlib.contextmanager
def prometheus(folder: Path, config: dict[str, Any]) -> Iterator[Callable[[str], Any]]:
    """Run Prometheus with `config`; yield what asks its API."""
    port = free_port()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:

        def ask(path: str) -> Any:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]

        try:
            until(lambda: _answers(ask))
            yield ask
        finally:
            process.terminate()
            process.wait(30)


def _answers(ask: Callable[[str], Any]) -> bool:
    try:
        return bool(ask("status/buildinfo"))
    except OSError:
        return False


def until(happened: Callable[[], Any]) -> Any:
    """Return what `happened` returns once it is true; fail after a minute."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.5)
    pytest.fail(f"nothing within {WAIT_S:.0f} s")


def test_promtool_accepts_rules_and_configuration() -> None:
    for what, name in (("rules", "cloakhouse-rules.yml"), ("config", "prometheus.yml")):
        command = [program("promtool"), "check", what, *(["--syntax-only"] if what == "config" else []), name]
        done = subprocess.run(command, cwd=INFRA / "prometheus", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_real_prometheus_scrapes_and_its_rules_fire_for_what_is_wrong(tmp_path: Path) -> None:
    house = empty_house(tmp_path / "home")
    house.publish()
    failed = Event("p", Action.VERIFY_LOG, "audit log", decision=FAILED, code="integrity.audit-log")
    AuditLog(house.settings.database).record(failed)
    (tmp_path / "cloakhouse.token").write_text(make_token(house.settings))
    config = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(INFRA / "prometheus" / "cloakhouse-rules.yml")]
    job = config["scrape_configs"][0]
    job |= {"metrics_path": "/metrics", "authorization": {"credentials_file": str(tmp_path / "cloakhouse.token")}}
    with served(create_app(house.settings, HeaderGate())) as port:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
        with prometheus(tmp_path, config) as ask:
            until(lambda: ask("query?query=cloakhouse_log_entries")["result"])
            known = {one for one in ask("label/__name__/values") if one.startswith("cloakhouse_")}
            assert known <= FAMILIES.keys()
            assert len(known) > 15
            firing = until(
                lambda: [a["labels"]["alertname"] for a in ask("alerts")["alerts"] if a["state"] == "firing"]
            )
            assert firing == ["CloakhouseLogNotSound"]
            panels = json.loads((INFRA / "grafana" / "cloakhouse.json").read_text())["panels"]
            for target in (target for panel in panels for target in panel.get("targets", [])):
                asked = target["expr"].replace("$instance", ".*")
                ask(f"query?query={quote(asked)}")  # Prometheus answers 400 to what it can't read
            assert ask(f"query?query={quote('sum(cloakhouse_alerts_open)')}")["result"][0]["value"][1] == "0"


def test_a_wrong_token_is_told_as_a_target_that_is_down(tmp_path: Path) -> None:
    house = empty_house(tmp_path / "home")
    make_token(house.settings)
    job = {"job_name": "cloakhouse", "authorization": {"credentials": "another"}}
    with served(create_app(house.settings, HeaderGate())) as port:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
        with prometheus(tmp_path, config) as ask:
            down = until(lambda: [t for t in ask("targets")["activeTargets"] if t["health"] == "down"])
            assert "401" in down[0]["lastError"]
