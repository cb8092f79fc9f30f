"""A shelf lies beside home and lake, never in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cloakhouse.errors import ConfigurationError
from cloakhouse.settings import Settings
from cloakhouse.stages.backup_shelf import check_apart

LAKE = "s3://house/lake?region=eu-west-1"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")})


def refused(settings: Settings, place: str) -> bool:
    try:
        check_apart(settings, place)
    except ConfigurationError as refusal:
        return refusal.code == "configuration.shelf"
    return False


def test_a_folder_in_the_home_is_no_shelf(settings: Settings, tmp_path: Path) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    (tmp_path / "link").symlink_to(settings.home)
    for place in (settings.home, settings.home / "backups", settings.lake / "x", tmp_path / "link" / "backups"):
        assert refused(settings, str(place)), place
    assert not refused(settings, str(tmp_path / "shelf"))
    assert not refused(settings, f"{settings.home}-backups")
    assert not refused(settings, LAKE)


@pytest.mark.parametrize(
    ("place", "no"),
    [
        ("s3://house/lake?region=eu-west-1", True),
        ("s3://house/lake/backups?region=eu-west-1", True),
        ("s3://house?region=eu-west-1", True),
        ("s3://house/lake-backups?region=eu-west-1", False),
        ("s3://house/backups?region=eu-west-1", False),
        ("s3://other/lake?region=eu-west-1", False),
    ],
)
def test_a_prefix_of_the_lake_is_no_shelf(settings: Settings, place: str, no: bool) -> None:
    assert refused(replace(settings, store=LAKE), place) is no
