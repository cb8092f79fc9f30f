"""Airflow with its real components: assets start publication, a backfill repeats a week, nothing listens outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
from pathlib import Path

import psutil
import pytest
from tests.airflow.conftest import Console, until

from cloakhouse.flow.environment import prepare
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.versions import Selector, VersionRegister
from cloakhouse.stages.version_checks import open_release

pytestmark = [pytest.mark.path, pytest.mark.airflow, pytest.mark.spark]


def test_nothing_listens_beyond_this_machine(console: Console) -> None:
    listening = []
    for pid in console.pids:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            listening += [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert console.port in {address.port for address in listening}


def test_assets_carry_the_feed_from_the_inbox_to_publication(console: Console) -> None:
    for dag_id in (
        "publish_baskets_synthetic",
        "publish_households_synthetic",
        "protect_customers",
        "protect_products",
    ):
        console.unpause(dag_id)
    for dag_id in ("protect_customers", "protect_products"):
        assert console.finished(dag_id, "scheduled")["state"] == "success"
    console.unpause("protect_transactions")
    assert console.finished("protect_transactions", "scheduled")["state"] == "success"
    register, names = VersionRegister(console.settings.database), ("baskets_synthetic", "households_synthetic")
    until(lambda: all(register.versions(name) for name in names), 480, "both datasets to be published")
    for name in names:
        assert console.finished(f"publish_{name}", "asset_triggered")["state"] == "success"
        assert [v.version for v in register.versions(name)] == [1]
        run = open_release(console.settings, register.resolve(Selector(name))).run
        assert run["dag"] == f"publish_{name}"
        assert run["run"].startswith("asset_triggered")


def test_asset_events_hold_references_and_counts_only(console: Console) -> None:
    events = console.call("GET", "/api/v2/assets/events?limit=100")["asset_events"]
    assert events
    for event in events:
        assert set(event["extra"]) <= {"path", "sha256", "rows", "partitions", "version"}


def test_a_backfill_takes_its_week_again_and_changes_nothing_else(console: Console) -> None:
    catalogue = Catalogue(console.settings.database)
    before = catalogue.protected("transactions")
    airflow = str(Path(sys.executable).with_name("airflow"))
    week = ("--from-date", "2017-01-02", "--to-date", "2017-01-02")
    subprocess.run(
        [airflow, "backfill", "create", "--dag-id", "protect_transactions", *week],
        env={**os.environ, **prepare(console.settings, console.port)},
        check=True,
        capture_output=True,
        timeout=180,
    )
    assert console.finished("protect_transactions", "backfill")["state"] == "success"
    after = catalogue.protected("transactions")
    assert after.keys() == before.keys()
    again, untouched = after["2017-01-02"], after["2016-12-26"]
    assert untouched == before["2016-12-26"]
    assert again.manifest != before["2017-01-02"].manifest
    assert (again.rows, again.quarantined) == (before["2017-01-02"].rows, before["2017-01-02"].quarantined)
    assert again.validated


def test_a_viewer_can_look_and_not_run(console: Console) -> None:
    assert console.call("GET", "/api/v2/dags", user="auditor")["total_entries"] == 15
    with pytest.raises(urllib.error.HTTPError) as refusal:
        console.call("POST", "/api/v2/dags/protect_products/dagRuns", {"logical_date": None}, user="auditor")
    assert refusal.value.code == 403
    refusal.value.close()


def test_no_password_is_in_a_log(console: Console) -> None:
    home = console.settings.home / "airflow"
    passwords = json.loads((home / "passwords.json").read_text()).values()
    logs = [p for p in home.rglob("*.log") if p.is_file()]
    assert logs
    text = "\n".join(p.read_text(errors="replace") for p in logs)
    assert not [p for p in passwords if p in text]


def test_stopping_leaves_no_process(console: Console) -> None:
    """The fixture ends the components after this module; here one is asked to end and must take its children along."""
    scheduler = psutil.Process(console.pids[1])
    family = [scheduler, *scheduler.children(recursive=True)]
    scheduler.terminate()
    until(
        lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family),
        60,
        "the scheduler's end",
    )


def alive(process: psutil.Process) -> bool:
    """Return whether a process still runs; one that waits for its parent to notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
