"""A small real installation (`tests.support.published`) that has published one dataset, a copy for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.published import PublishedHouse, empty_house

from cloakhouse.settings import Settings


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> PublishedHouse:
    made = empty_house(tmp_path_factory.mktemp("template") / "home")
    made.publish("households_synthetic")
    return made


@pytest.fixture
def house(tmp_path: Path, template: PublishedHouse) -> PublishedHouse:
    """An installation with households_synthetic@1."""
    settings = Settings.from_environment({}).with_home(tmp_path / "home")
    shutil.copytree(template.home, settings.home)
    return PublishedHouse(settings, template.contract, list(template.published))
