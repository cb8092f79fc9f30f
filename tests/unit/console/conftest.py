"""A console over a small real installation with people_synthetic@1; a copy for each test that damages it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.console import Asked, asked
from tests.support.published import PublishedHouse, empty_house

from cloakhouse.settings import Settings
from cloakhouse.stages.checkpointing import checkpoint


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> PublishedHouse:
    """What `house` is a copy of."""
    made = empty_house(tmp_path_factory.mktemp("template") / "home")
    made.publish()
    checkpoint(made.settings)
    return made


@pytest.fixture(scope="session")
def shared(template: PublishedHouse, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A console that nobody damages."""
    home = tmp_path_factory.mktemp("shared") / "home"
    shutil.copytree(template.home, home)
    return asked(template.settings.with_home(home))


@pytest.fixture
def settings(template: PublishedHouse, tmp_path: Path) -> Settings:
    """An installation of the test's own."""
    shutil.copytree(template.home, tmp_path / "home")
    return template.settings.with_home(tmp_path / "home")


@pytest.fixture
def own(settings: Settings) -> Asked:
    """A console over `settings`."""
    return asked(settings)
