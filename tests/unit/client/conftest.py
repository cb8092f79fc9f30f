"""A small real installation (`tests.support.published`), a copy for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.published import PublishedHouse, empty_house, make_table

from cloakhouse.settings import Settings


@pytest.fixture
def small_table() -> pa.Table:
    """What `house` has published."""
    return make_table()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({}).with_home(tmp_path / "home")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> PublishedHouse:
    """What `house` is a copy of: making one takes a second."""
    made = empty_house(tmp_path_factory.mktemp("template") / "home")
    made.publish()
    return made


@pytest.fixture
def house(settings: Settings, template: PublishedHouse) -> PublishedHouse:
    """An installation with people_synthetic@1."""
    shutil.copytree(template.home, settings.home)
    return PublishedHouse(settings, template.contract, list(template.published))
