"""Settings of all tests: Hypothesis without a deadline, since the machine that runs them is shared; and no test is
left out without a word: those that need Java are named when there is none, and with CI=true that is a failure."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from cloakhouse.errors import MissingDependency
from cloakhouse.flow.submit import check_java

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

NOT_RUN = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the Airflow that test modules import a home of its own, so that none appears in the user's folder."""
    home = tempfile.mkdtemp(prefix="airflow-of-tests-")
    os.environ["AIRFLOW_HOME"] = home
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests marked `spark` where there is no Java, and keep their names for the report."""
    try:
        check_java()
    except MissingDependency as missing:
        left_out = [item for item in items if item.get_closest_marker("spark")]
        if left_out and os.environ.get("CI") == "true":
            raise pytest.UsageError(missing.explain()) from None
        config.stash[NOT_RUN] = [item.nodeid for item in left_out]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name each test that was not run, and the command that brings what it needs."""
    names = config.stash.get(NOT_RUN, [])
    if names:
        terminalreporter.section("not run: no Java; apt-get install openjdk-17-jre-headless")
        for name in names:
            terminalreporter.line(name)
