"""The whole path, run once on every real server and once embedded, for the tests of this folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support import engine_figures
from tests.support.engine_runs import DAG, ended, pause, start
from tests.support.engines import Engines, engines
from tests.support.house import House

from cloakhouse.sample import week_start, write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land

CLI = str(Path(sys.executable).with_name("cloakhouse"))
WEEKS = range(1, 3)
LATER = range(3, 8)  # a week for each fault
PRODUCTS = ("baskets_private", "baskets_synthetic", "households_synthetic")
PUBLISHING = (*(f"publish_{name}" for name in PRODUCTS), "aggregate_weekly_sales")
FIGURES = ("deliveries", "partitions", "columns", "persons", "budgets", "verdicts", "steps")
WITHIN_S = 1_200.0  # of one run; much is left for a machine that does other work, too


@dataclass(frozen=True)
class Both:
    """Both installations after the path; their figures by name, and the cells of the aggregate, taken then."""

    there: Engines
    here: House
    figures_there: dict[str, Any]
    figures_here: dict[str, Any]
    seconds: float  # of the path on the servers


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Run the path on all servers, and embedded beside it, on the same weeks."""
    root = tmp_path_factory.mktemp("whole")
    home = root / "embedded"
    environment = {**os.environ, "CLOAKHOUSE_HOME": str(home), "TMPDIR": str(tmp_path_factory.mktemp("t"))}
    write_feed(home / "inbox", weeks=WEEKS)
    with engines(root / "engines") as there, (root / "embedded.log").open("wb") as log:
        write_feed(there.settings.inbox, weeks=WEEKS)
        embedded = subprocess.Popen([CLI, "run", "--no-sample"], env=environment, stdout=log, stderr=log)
        try:
            began = time.monotonic()
            _whole_path(there)
            seconds = time.monotonic() - began
            assert embedded.wait(WITHIN_S) == 0, (root / "embedded.log").read_text()
        finally:
            embedded.kill()
        here = House(Settings.from_environment({}).with_home(home))
        yield Both(there, here, _figures(there.settings), _figures(here.settings), seconds)


@pytest.fixture(scope="session")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the weeks after the path's."""
    folder = tmp_path_factory.mktemp("later")
    write_feed(folder, weeks=LATER, wanted=lambda name: name.startswith("transactions"))
    return folder


@pytest.fixture(scope="session")
def clean(both: Both, later: Path) -> House:
    """The embedded installation with the later weeks, too, taken by the stages' own code where nothing fails."""
    house = both.here
    for path in later.glob("transactions*"):
        (house.settings.inbox / path.name).write_bytes(path.read_bytes())
    land(house.settings, house.contracts["transactions"])
    house.protect("transactions", [week_start(week).isoformat() for week in LATER])
    from cloakhouse.stages.validate import validate_protected

    validate_protected(house.settings, house.contracts["transactions"])
    return house


def _whole_path(there: Engines) -> None:
    """Unpause DAG after DAG as an engineer does; schedules and assets start the runs. Then keep the audit log."""
    console = there.console
    for dag_id in ("protect_customers", "protect_products"):
        console.unpause(dag_id)
    for dag_id in ("protect_customers", "protect_products"):
        assert console.finished(dag_id, "scheduled", WITHIN_S)["state"] == "success", _why(there)
    for dag_id in PUBLISHING:
        console.unpause(dag_id)
    console.unpause(DAG)
    assert console.finished(DAG, "scheduled", WITHIN_S)["state"] == "success", _why(there)
    for dag_id in PUBLISHING:
        assert console.finished(dag_id, "asset_triggered", WITHIN_S)["state"] == "success", _why(there)
    for dag_id in PUBLISHING:  # the faults' weeks make no further versions
        pause(console, dag_id)
    console.unpause("keep_audit")
    assert ended(console, start(console, "keep_audit"), "keep_audit", WITHIN_S) == "success"


def _why(there: Engines) -> str:
    """Return the platform's own explanations in the tasks' logs; they hold no values."""
    logs = sorted((there.settings.home / "airflow" / "logs").rglob("*.log"), key=lambda path: path.stat().st_mtime)
    return "\n".join(text[-3_000:] for path in logs if "not done" in (text := path.read_text(errors="replace")))[
        -9_000:
    ]


def _figures(settings: Settings) -> dict[str, Any]:
    found = {name: getattr(engine_figures, name)(settings) for name in FIGURES}
    return {**found, "cells": engine_figures.cells(settings, "weekly_sales")}
