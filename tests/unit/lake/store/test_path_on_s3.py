"""The whole path with the lake at a real S3 server over TLS: land, pseudonymize, validate, synthesize, publish, read.

The server's folder, the cache, temporary files and all else below home are swept for the planted values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support import house as houses
from tests.support.house import SYNTHETIC, House
from tests.support.planted import MARKERS, write_planted_feed
from tests.support.stores import rclone
from tests.support.sweep import Sweep, Watch

import cloakhouse
from cloakhouse.client.cli import cli
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.coverage import coverage
from cloakhouse.lake.store.opening import open_store
from cloakhouse.settings import Settings
from cloakhouse.stages.consent_feed import feed_register
from cloakhouse.stages.land import land
from cloakhouse.stages.publish import publish
from cloakhouse.stages.synthesize import synthesize
from cloakhouse.stages.validate import validate_protected
from cloakhouse.stages.validate_release import validate_synthetic

pytestmark = pytest.mark.stores
PREFIX = "whole/path"


@dataclass(frozen=True)
class Walked:
    """A home whose path was walked, and what the sweep saw meanwhile."""

    house: House
    watch: Watch
    sweep: Sweep

    @property
    def server(self) -> Path:
        return rclone().bucket / PREFIX


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    home = tmp_path_factory.mktemp("s3") / "home"
    settings = replace(Settings.from_environment({}).with_home(home), store=rclone().uri(PREFIX))
    house, sweep = House(settings), Sweep(MARKERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TMPDIR", raising=False)
        if hasattr(houses, "FolderStore"):
            patch.setattr(houses, "FolderStore", lambda _: open_store(settings))
        write_planted_feed(settings.inbox)
        with Watch(sweep, [rclone().bucket / PREFIX, home], skip=[settings.inbox]) as watch:
            for name in ("customers", "transactions"):
                land(settings, house.contracts[name])
                feed_register(settings)
                house.protect(name)
                validate_protected(settings, house.contracts[name])
            manifest = synthesize(settings, house.contracts[SYNTHETIC])
            assert manifest is not None
            evidence = validate_synthetic(settings, house.contracts[SYNTHETIC], manifest)
            publish(settings, house.contracts[SYNTHETIC], evidence)
        yield Walked(house, watch, sweep)


def environment(walked: Walked) -> dict[str, str]:
    return walked.house.settings.environment()


def test_the_client_reads_what_was_published(walked: Walked, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(walked).items():
        monkeypatch.setenv(name, value)
    lake = cloakhouse.connect()
    (summary,) = lake.datasets()
    table = lake.dataset(SYNTHETIC).to_arrow()
    assert table.num_rows == summary.rows > 0


def test_nothing_of_the_lake_is_on_this_machine(walked: Walked) -> None:
    assert not walked.house.settings.lake.exists()
    zones = {p.name for p in walked.server.iterdir()}
    assert {"landing", "protected", "synthetic", "evidence"} <= zones
    assert not [p for p in (walked.house.settings.home / "tmp").rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_no_planted_value_is_anywhere(walked: Walked) -> None:
    walked.sweep.folder(rclone().bucket)
    walked.sweep.folder(walked.house.settings.home, skip=[walked.house.settings.inbox])
    assert walked.sweep.hits == set()
    seen = "\n".join(walked.watch.seen)
    for place in (f"{PREFIX}/landing", f"{PREFIX}/protected", "/cache/", "/tmp/lake-", "control.db"):
        assert place in seen
    assert walked.watch.passes > 5


def test_all_of_it_is_encrypted(walked: Walked, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = walked.house.settings
    found = coverage(open_store(settings), open_ring(settings), deep=True)
    assert found.findings == ()
    assert (found.byte_share, found.column_share) == (1.0, 1.0)
    for name, value in environment(walked).items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(cli, ["keys", "coverage"], prog_name="cloakhouse")
    assert (result.exit_code, "100.00% of the bytes" in result.output) == (0, True)


def test_keys_are_rotated_and_landed_files_wrapped_again(walked: Walked, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(walked).items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(cli, ["keys", "rotate", "landing/file"], prog_name="cloakhouse")
    assert result.exit_code == 0, result.output
    ring = open_ring(walked.house.settings)
    assert ring.newest(DatasetKey("landing", "file", "customers")) >= 1
    assert coverage(open_store(walked.house.settings), ring, deep=True).findings == ()
