"""What auditors ask of a whole run: its log, its reports, a bundle to take away, alerts, documents, the console."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import FirstRun
from tests.support.console import asked
from tests.support.planted import MARKERS
from tests.support.sweep import Sweep

from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import ALLOWED, Event
from cloakhouse.settings import Settings

pytestmark = [pytest.mark.path, pytest.mark.spark, pytest.mark.airflow]
PUBLISHED = ("baskets_private", "baskets_synthetic", "households_synthetic", "weekly_sales")


def answer(run: FirstRun, *arguments: str) -> Any:
    """Return what a command answers as JSON."""
    done = run.cloakhouse(*arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def events(first_run: FirstRun) -> list[Event]:
    """The events of the run, up to the first checkpoint and its verification."""
    settings = Settings.from_environment({}).with_home(first_run.home)
    return AuditLog(settings.database).events()


def test_every_step_of_the_run_left_its_events(events: list[Event]) -> None:
    seen = Counter(event.action for event in events)
    assert seen["publish"] == len(PUBLISHED)
    assert seen["synthesize"] == 3
    assert seen["query"] == 1
    assert seen["land"] >= 3
    assert seen["pseudonymize"] >= 3
    assert seen["validate"] >= 6
    assert seen["spend"] >= 2
    assert seen["run"] >= 8
    assert seen["task"] >= 30
    assert seen["make key"] > 10
    assert 50 < seen["use key"] < 2_000
    assert {event.decision for event in events if event.action == "publish"} == {ALLOWED}
    assert {event.object for event in events if event.action == "publish"} == {f"{name}@1" for name in PUBLISHED}


def test_the_nightly_checkpoint_and_verification_are_in_the_log_and_hold(
    first_run: FirstRun, events: list[Event]
) -> None:
    assert [event.decision for event in events if event.action == "verify log"][:1] == [ALLOWED]
    found = answer(first_run, "audit", "verify")
    assert found["findings"] == []
    assert len(found["checkpoints"]) >= 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_bundle_of_each_version_verifies(first_run: FirstRun, name: str, tmp_path: Path) -> None:
    file = tmp_path / "bundle.zip"
    done = first_run.cloakhouse("audit", "bundle", name, "--out", str(file))
    assert done.returncode == 0, done.stderr
    key = first_run.home / "signing-keys" / "releases.pem"
    verified = first_run.cloakhouse("audit", "verify-bundle", str(file), "--key", str(key))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    sweep = Sweep(MARKERS)
    sweep.data(name, file.read_bytes())
    assert sweep.hits == set()
    content = bytearray(file.read_bytes())
    content[zipfile.ZipFile(file).infolist()[3].header_offset + 60] ^= 1
    file.write_bytes(content)
    assert first_run.cloakhouse("audit", "verify-bundle", str(file)).returncode == 4


def test_reports_documents_and_alerts_of_the_run_hold_no_marker(first_run: FirstRun, tmp_path: Path) -> None:
    for name in PUBLISHED:
        done = first_run.cloakhouse("report", name, "--out", str(tmp_path / f"{name}.html"))
        assert done.returncode == 0, done.stderr
    for kind in ("record", "dpia", "transparency"):
        done = first_run.cloakhouse("governance", kind, "--out", str(tmp_path / f"{kind}.html"))
        assert done.returncode == 0, done.stderr
    checked = first_run.cloakhouse("alerts", "check")
    assert checked.returncode == 0, checked.stderr
    sweep = Sweep(MARKERS)
    sweep.folder(tmp_path)
    sweep.data("alerts", (checked.stdout + checked.stderr).encode())
    assert sweep.files == len(PUBLISHED) + 3
    assert sweep.hits == set()


def test_the_console_shows_the_run(first_run: FirstRun) -> None:
    console = asked(Settings.from_environment({}).with_home(first_run.home))
    sweep = Sweep(MARKERS)
    pages = ["/", "/datasets", "/budgets", "/keys", "/access", "/approvals", "/alerts", "/log", "/log/0", "/downloads"]
    pages += [f"/datasets/{name}" for name in PUBLISHED] + [f"/datasets/{name}/1" for name in PUBLISHED]
    for path in (*pages, "/log.csv", "/log.jsonl"):
        found = console.get(path)
        assert found.status_code == 200, path
        sweep.data(path, found.content)
    assert sweep.hits == set()
    assert "Nothing that should make you look" in console.get("/").text
