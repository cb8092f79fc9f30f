"""What the synthesis stage pins, writes and refuses. The engine is SDV, on real protected rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support import house
from tests.support.acting import by
from tests.support.house import SYNTHETIC, House

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import (
    ConfigurationError,
    ContractError,
    IntegrityError,
    NotFound,
    StageError,
    ValidationRefused,
)
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.stages.sources import as_refs, current_partitions
from cloakhouse.stages.synthesize import _work, plan, run, synthesize
from cloakhouse.stages.workers import LocalWorkers
from cloakhouse.synthesis.protocol import UNIT


@pytest.fixture
def place(tmp_path: Path) -> House:
    """An installation of the test's own whose protected partitions are validated."""
    return house.validated().copy(tmp_path / "home")


def test_the_manifest_pins_the_sources_and_the_rows_are_of_the_contract() -> None:
    source, manifest = house.synthesized()
    content = read_manifest(FolderStore(source.settings.lake), manifest, "synthesis")
    contract = source.contracts[SYNTHETIC]
    pinned = {name: as_refs(current_partitions(source.catalogue, source.contracts[name])) for name in contract.sources}
    assert content["sources"] == pinned
    assert len(pinned["transactions"]) == 2
    table = source.store.read(FileEntry(**content["files"][0]))
    assert table.column_names == [column.name for column in contract.columns]
    assert table.num_rows == content["rows"] == content["training"]["rows"]
    assert table.schema.field("baskets").type == pa.int64()
    for part in ("training", "holdout"):
        [entry] = [FileEntry(**item) for item in content[part]["files"]]
        rows = source.store.read(entry)
        assert rows.column_names == [*table.column_names, UNIT]  # attacks are by unit, too
        assert rows.schema.types == [*table.schema.types, pa.binary(16)]
        assert entry.path.startswith("views/")
        assert len(set(rows.column(UNIT).to_pylist())) == content[part]["units"]
    units = content["training"]["units"] + content["holdout"]["units"]
    assert contract.synthesis is not None
    spread = 0.07  # five standard deviations of the share of some 1,400 units, whose tokens differ in each installation
    assert abs(content["holdout"]["units"] / units - contract.synthesis.holdout_share) < spread
    assert content["engine"]["seed"] == 2017


def test_what_is_stored_is_listed_and_every_table_is_encrypted() -> None:
    source, manifest = house.synthesized()
    lake = source.settings.lake
    content = read_manifest(FolderStore(lake), manifest)
    own = [p for zone in ("synthetic", "views", "models") for p in (lake / zone).rglob("*") if p.is_file()]
    files = [*content["files"], *content["training"]["files"], *content["holdout"]["files"], content["model"]]
    [request] = (lake / "synthetic" / SYNTHETIC).glob("synthesis-request-*.json")
    assert {str(p.relative_to(lake)) for p in own} == {
        *(file["path"] for file in files),
        manifest.path,
        str(request.relative_to(lake)),
    }
    for path in own:
        if path.suffix == ".parquet":
            assert path.read_bytes()[:4] == path.read_bytes()[-4:] == b"PARE"


def test_the_fingerprint_follows_the_contract_and_the_sources(tmp_path: Path) -> None:
    source, manifest = house.synthesized()
    place = source.copy(tmp_path / "home")

    def fingerprint(contract: Contract = source.contracts[SYNTHETIC]) -> str:
        request = plan(place.settings, contract)
        assert request is not None
        return str(read_manifest(FolderStore(place.settings.lake), request)["fingerprint"])

    made = fingerprint()
    assert made == read_manifest(FolderStore(place.settings.lake), manifest)["fingerprint"]
    weeks = place.catalogue.protected("transactions")
    place.catalogue.record_protected([replace(weeks[house.WEEKS[0]], delivery_sha256="0" * 64, validated=True)], by())
    corrected = fingerprint()
    place.edit_contract(SYNTHETIC, "version: 1.0.0", "version: 1.0.1")
    assert len({made, corrected, fingerprint(place.contracts[SYNTHETIC])}) == 3


def test_a_request_that_was_overtaken_is_refused(place: House) -> None:
    request = plan(place.settings, place.contracts[SYNTHETIC])
    assert request is not None
    weeks = place.catalogue.protected("transactions")
    place.catalogue.record_protected([replace(weeks[house.WEEKS[0]], delivery_sha256="0" * 64, validated=True)], by())
    with pytest.raises(StageError) as caught:
        run(place.settings, request, LocalWorkers())
    assert caught.value.code == "stage.overtaken"
    assert not (place.settings.lake / "views").exists()


def test_a_second_run_uses_the_sealed_model_and_gives_the_same_rows(tmp_path: Path) -> None:
    source, manifest = house.synthesized()
    place = source.copy(tmp_path / "home")
    again = synthesize(place.settings, place.contracts[SYNTHETIC])
    assert again is not None
    before, after = (read_manifest(FolderStore(place.settings.lake), ref) for ref in (manifest, again))
    assert before["model"] == after["model"]
    tables = [place.store.read(FileEntry(**content["files"][0])) for content in (before, after)]
    assert tables[0].equals(tables[1])


def test_a_threshold_of_no_attack_is_refused(place: House) -> None:
    place.edit_contract(
        SYNTHETIC, "      maxCopyExcess: 0.02\n", "      maxCopyExcess: 0.02\n      risks: {copied: 0.5}\n"
    )
    with pytest.raises(ContractError) as caught:
        plan(place.settings, place.edit_contract(SYNTHETIC, "version: 1.0.0", "version: 1.0.1"))
    assert caught.value.code == "contract.risk"
    assert "memorised customer" in caught.value.expected


def test_a_hold_out_too_small_is_refused_before_anything_is_fitted(place: House) -> None:
    contract = place.edit_contract(SYNTHETIC, "minHoldoutUnits: 400", "minHoldoutUnits: 2000")
    contract = place.edit_contract(SYNTHETIC, "version: 1.0.0", "version: 1.0.1")
    with pytest.raises(ValidationRefused) as caught:
        synthesize(place.settings, contract)
    assert caught.value.code == "validation.holdout"
    assert "2000 households" in caught.value.expected
    assert not list((place.settings.lake / "synthetic").rglob("*.parquet"))
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
    path = place.settings.lake / read_manifest(FolderStore(place.settings.lake), customers.manifest)["files"][0]["path"]
    path.write_bytes(path.read_bytes()[:-8] + b"\0\0\0\0PARE")
    with pytest.raises(IntegrityError):
        synthesize(place.settings, place.contracts[SYNTHETIC])
    assert not list((place.settings.lake / "synthetic").rglob("*.parquet"))


@pytest.mark.parametrize(("newest", "weeks"), [(1, house.WEEKS[-1:]), (2, house.WEEKS), (9, house.WEEKS)])
def test_a_view_of_the_newest_partitions_pins_no_others(place: House, newest: int, weeks: Sequence[str]) -> None:
    view = "      view:\n        from: transactions\n"
    changed = place.edit_contract(SYNTHETIC, view, f"{view}        newest: {newest}\n")
    pins = _work(place.settings, changed, place.catalogue, None).pins
    assert [p.partition for p in pins["transactions"]] == list(weeks)
    assert len(pins["customers"]) == 1


def test_a_snapshot_counts_by_its_newest_partition_alone(place: House) -> None:
    [customers] = place.catalogue.protected("customers").values()
    place.catalogue.record_protected([replace(customers, partition="2017-01-05")], by())
    current = current_partitions(place.catalogue, place.contracts["customers"])
    assert [p.partition for p in current] == ["2017-01-05"]
    current = current_partitions(place.catalogue, place.contracts["transactions"])
    assert [p.partition for p in current] == list(house.WEEKS)
