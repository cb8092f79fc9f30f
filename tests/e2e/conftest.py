"""One run of the whole path, as a stranger would start it, shared by the tests of this folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.planted import MARKERS, PlantedFeed, write_planted_feed
from tests.support.sweep import Sweep, Watch

CLI = str(Path(sys.executable).with_name("cloakhouse"))


@dataclass(frozen=True)
class FirstRun:
    """What `cloakhouse run` did on the planted feed.

    `outside` holds the run's TMPDIR and HOME, so that everything it wrote is below `home` or `outside`.
    """

    home: Path
    outside: Path
    feed: PlantedFeed
    done: subprocess.CompletedProcess[str]
    sweep: Sweep
    watch: Watch
    environment: Mapping[str, str]

    def cloakhouse(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against this home."""
        return subprocess.run(
            [CLI, *arguments], env=dict(self.environment), capture_output=True, text=True, timeout=600, check=False
        )


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    """Run the path once on weeks 1 and 2 with planted markers, watched all the while."""
    root = tmp_path_factory.mktemp("path")
    home, outside = root / "home", root / "outside"
    for folder in (outside / "tmp", outside / "user"):
        folder.mkdir(parents=True)
    feed = write_planted_feed(home / "inbox")
    environment = {
        **os.environ,
        "CLOAKHOUSE_HOME": str(home),
        "TMPDIR": str(outside / "tmp"),
        "HOME": str(outside / "user"),
        "XDG_DATA_HOME": str(outside / "user" / "data"),
        "PIP_CONFIG_FILE": os.devnull,
    }
    environment.pop("CLOAKHOUSE_PROGRESS", None)
    sweep = Sweep(MARKERS)
    with Watch(sweep, [home, outside], skip=[home / "inbox"]) as watch:
        done = subprocess.run(
            [CLI, "run", "--no-sample"], env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    return FirstRun(home, outside, feed, done, sweep, watch, environment)
