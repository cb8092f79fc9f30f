"""Settings of all tests: Hypothesis without a deadline, since the machine that runs them is shared; and no test is
left out without a word: those that need a program that isn't here are named, and with CI=true that is a failure."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from tests.support import databases
from tests.support.browser import there_is_chromium
from tests.support.prometheus import there_is_prometheus
from tests.support.service_pkcs11 import there_is_softhsm

from cloakhouse.errors import MissingDependency
from cloakhouse.flow.submit import check_java

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def there_is_java() -> bool:
    """Return whether Java is here, new enough for Spark."""
    try:
        check_java()
    except MissingDependency:
        return False
    return True


@dataclass(frozen=True)
class Need:
    """What tests with a marker need: a program, how to see whether it is here, and the command that brings it.

    Where the program comes from no package registry, `everywhere` is False: its tests are named, and CI doesn't fail.
    """

    marker: str
    program: str
    here: Callable[[], bool]
    command: str
    everywhere: bool = True


NEEDS = (
    Need("spark", "Java 17 or newer", there_is_java, "apt-get install openjdk-17-jre-headless"),
    Need("browser", "Chromium", there_is_chromium, "apt-get install chromium"),
    Need("hsm", "SoftHSM2", there_is_softhsm, "apt-get install softhsm2"),
    Need("openssl", "OpenSSL's program", lambda: bool(shutil.which("openssl")), "apt-get install openssl"),
    Need("prometheus", "Prometheus", there_is_prometheus, "infra/get-prometheus.sh"),
    Need("terraform", "Terraform", lambda: bool(shutil.which("terraform")), "see developer.hashicorp.com", False),
)
NOT_RUN = pytest.StashKey[dict[Need, list[str]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the Airflow that test modules import a home of its own, so that none appears in the user's folder.

    And no test prints to a terminal: the width that somebody's has, or that pytest-xdist gives its workers, is let go.
    """
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    home = tempfile.mkdtemp(prefix="airflow-of-tests-")
    os.environ["AIRFLOW_HOME"] = home
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    databases.choose()


@pytest.hookimpl(trylast=True)  # after -m: what this run wouldn't take anyway is no loss of it
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests whose need is not here, and keep their names for the report."""
    not_run = config.stash.setdefault(NOT_RUN, {})
    for need in NEEDS:
        left_out = [item for item in items if item.get_closest_marker(need.marker)]
        if left_out and not need.here():
            not_run[need] = [item.nodeid for item in left_out]
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
    missing = [need for need in not_run if need.everywhere]
    if missing and os.environ.get("CI") == "true":
        raise pytest.UsageError("\n".join(f"{len(not_run[need])} tests not run: {_advice(need)}" for need in missing))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name each test that was not run, and the command that brings what it needs."""
    for need, names in config.stash.get(NOT_RUN, {}).items():
        terminalreporter.section(f"not run: {_advice(need)}")
        for name in names:
            terminalreporter.line(name)


def _advice(need: Need) -> str:
    return f"no {need.program}; {need.command}"
