"""One installation for all Spark tests: the sample feed's first two weeks, landed and run through spark-submit.

Starting Spark costs seconds, so the jobs of the fixture run once, and tests that break something work on a copy.
The home's path holds a space on purpose. Its contracts ask for no consent, so that every row of the feed is counted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.house import without_consent
from tests.support.lake import Lake

from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land

ORDER = ("products", "customers", "transactions")


@pytest.fixture(scope="session")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The delivered files, kept in clear to compare with."""
    folder = tmp_path_factory.mktemp("feed")
    write_feed(folder, weeks=range(1, 3))
    return folder


@pytest.fixture(scope="session")
def landed(feed: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """An installation where the feed has landed and nothing was pseudonymized."""
    home = tmp_path_factory.mktemp("cloak house")
    shutil.copytree(feed, home / "inbox")
    settings = without_consent(Settings.from_environment({}).with_home(home))
    place = Lake(settings)
    for name in ORDER:
        land(settings, place.contracts[name])
    return place


@pytest.fixture(scope="session")
def lake(landed: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """An installation whose customers and transactions went through spark-submit. Tests only read it."""
    place = landed.copy(tmp_path_factory.mktemp("cloak house"))
    place.protect("products")  # as Spark's workers would; no other feed needs it
    for name in ORDER[1:]:
        request = place.plan(name)
        assert request is not None
        place.submit(request)
    return place


@pytest.fixture
def own(lake: Lake, tmp_path: Path) -> Lake:
    """A copy of `lake` for the test to damage."""
    return lake.copy(tmp_path / "own house")


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """TMPDIR of the test; a job has to leave it empty."""
    folder = tmp_path_factory.mktemp("tmp dir")
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert not list(folder.iterdir())
