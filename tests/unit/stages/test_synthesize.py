"""What the synthesis stage pins, writes and refuses. The engine is SDV, on real protected rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support import house
from tests.support.house import SYNTHETIC, House

from cloakhouse.errors import ConfigurationError, ContractError, IntegrityError, NotFound, ValidationRefused
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.stages.sources import as_refs, current_partitions
from cloakhouse.stages.synthesize import _plan, synthesize


@pytest.fixture
def place(tmp_path: Path) -> House:
    """An installation of the test's own whose protected partitions are validated."""
    return house.validated().copy(tmp_path / "home")


def test_the_manifest_pins_the_sources_and_the_rows_are_of_the_contract() -> None:
    source, manifest = house.synthesized()
    content = read_manifest(source.settings.lake, manifest, "synthesis")
    contract = source.contracts[SYNTHETIC]
    pinned = {name: as_refs(current_partitions(source.catalogue, source.contracts[name])) for name in contract.sources}
    assert content["sources"] == pinned
    assert len(pinned["transactions"]) == 2
    table = source.store.read(FileEntry(**content["files"][0]))
    assert table.column_names == [column.name for column in contract.columns]
    assert table.num_rows == content["rows"] == content["training"]["rows"]
    assert table.schema.field("baskets").type == pa.int64()
    for part in ("training", "holdout"):
        rows = source.store.read(FileEntry(**content[part]["file"]))
        assert rows.column_names == table.column_names  # the unit's token has gone
        assert rows.schema.types == table.schema.types
        assert content[part]["file"]["path"].startswith("views/")
    units = content["training"]["units"] + content["holdout"]["units"]
    assert 0.15 < content["holdout"]["units"] / units < 0.25
    assert content["engine"]["seed"] == 2017


def test_nothing_fitted_is_stored_and_every_table_is_encrypted() -> None:
    source, manifest = house.synthesized()
    content = read_manifest(source.settings.lake, manifest)
    own = [p for p in source.settings.lake.rglob("*") if p.is_file() and ("synthetic" in p.parts or "views" in p.parts)]
    listed = {content["files"][0]["path"], content["training"]["file"]["path"], content["holdout"]["file"]["path"]}
    assert {str(p.relative_to(source.settings.lake)) for p in own} == {*listed, manifest.path}
    for path in own:
        if path.suffix == ".parquet":
            assert path.read_bytes()[:4] == path.read_bytes()[-4:] == b"PARE"


def test_the_fingerprint_follows_the_contract_and_the_sources(tmp_path: Path) -> None:
    source, manifest = house.synthesized()
    place = source.copy(tmp_path / "home")

    def fingerprint() -> str:
        return _plan(place.settings, place.contracts[SYNTHETIC], place.catalogue).fingerprint

    made = fingerprint()
    assert made == read_manifest(place.settings.lake, manifest)["fingerprint"]
    weeks = place.catalogue.protected("transactions")
    place.catalogue.record_protected([replace(weeks[house.WEEKS[0]], delivery_sha256="0" * 64, validated=True)])
    corrected = fingerprint()
    place.edit_contract(SYNTHETIC, "seed: 2017", "seed: 2018")
    assert len({made, corrected, fingerprint()}) == 3


def test_a_hold_out_too_small_is_refused_before_anything_is_fitted(place: House) -> None:
    contract = place.edit_contract(SYNTHETIC, "minHoldoutUnits: 200", "minHoldoutUnits: 2000")
    contract = place.edit_contract(SYNTHETIC, "version: 1.0.0", "version: 1.0.1")
    with pytest.raises(ValidationRefused) as caught:
        synthesize(place.settings, contract)
    assert caught.value.code == "validation.holdout"
    assert "2000 households" in caught.value.expected
    assert not (place.settings.lake / "synthetic").exists()
    assert not (place.settings.lake / "views").exists()


def test_a_feed_is_not_synthesized(place: House) -> None:
    with pytest.raises(ConfigurationError):
        synthesize(place.settings, place.contracts["customers"])


def test_a_source_that_is_not_validated_is_not_there(tmp_path: Path) -> None:
    place = house.protected().copy(tmp_path / "home")
    with pytest.raises(NotFound) as caught:
        synthesize(place.settings, place.contracts[SYNTHETIC])
    assert "protect_customers" in caught.value.remedy
    assert not (place.settings.lake / "synthetic").exists()


def test_a_source_of_an_older_contract_version_is_not_there(place: House) -> None:
    place.edit_contract("customers", "version: 1.0.0", "version: 1.0.1")
    with pytest.raises(NotFound):
        synthesize(place.settings, place.contracts[SYNTHETIC])


def test_a_changed_contract_of_the_same_version_is_refused(tmp_path: Path) -> None:
    source, _ = house.synthesized()
    place = source.copy(tmp_path / "home")
    changed = place.edit_contract(SYNTHETIC, "seed: 2017", "seed: 2018")
    with pytest.raises(ContractError) as caught:
        synthesize(place.settings, changed)
    assert caught.value.code == "contract.changed"


def test_an_altered_source_is_refused(place: House) -> None:
    [customers] = place.catalogue.protected("customers").values()
    path = place.settings.lake / read_manifest(place.settings.lake, customers.manifest)["files"][0]["path"]
    path.write_bytes(path.read_bytes()[:-8] + b"\0\0\0\0PARE")
    with pytest.raises(IntegrityError):
        synthesize(place.settings, place.contracts[SYNTHETIC])
    assert not (place.settings.lake / "synthetic").exists()


def test_a_snapshot_counts_by_its_newest_partition_alone(place: House) -> None:
    [customers] = place.catalogue.protected("customers").values()
    place.catalogue.record_protected([replace(customers, partition="2017-01-05")])
    current = current_partitions(place.catalogue, place.contracts["customers"])
    assert [p.partition for p in current] == ["2017-01-05"]
    current = current_partitions(place.catalogue, place.contracts["transactions"])
    assert [p.partition for p in current] == list(house.WEEKS)
