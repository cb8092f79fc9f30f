"""Training view and hold-out: whole units, their levels and order, memory that doesn't follow the lines, and nothing of
other households in what a private engine counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support import house
from tests.support.house import PRIVATE, SYNTHETIC, House
from tests.support.synthetic_contracts import (
    BASKETS,
    OF_BASKETS,
    OF_HOUSEHOLDS,
    OF_LINES,
    PEOPLE,
    PRODUCTS,
    add_synthetic,
)

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import StageError, ValidationRefused
from cloakhouse.lake import parquet
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.stages import view_rights, views
from cloakhouse.stages.sources import current_partitions, file_entries
from cloakhouse.stages.synthesize import synthesize
from cloakhouse.stages.views import ShardFiles, Side, Views, read_side, unit_numbers, write_views
from cloakhouse.stages.workers import LocalWorkers
from cloakhouse.synthesis.derive import ORDER
from cloakhouse.synthesis.protocol import GROUP, UNIT
from cloakhouse.synthesis.split import token_words

LINES = {**OF_HOUSEHOLDS, **OF_BASKETS, **OF_LINES}
BOTH = {**PRODUCTS, **PEOPLE}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> House:
    """An installation with contracts of lines and of ordered baskets."""
    found = house.stocked().copy(tmp_path_factory.mktemp("views") / "home")
    add_synthetic(found, "lines_private", LINES, lookups=BOTH, view={"rows": "lines", "order": "transaction_timestamp"})
    ordered = {**OF_HOUSEHOLDS, **BASKETS}
    add_synthetic(
        found,
        "ordered",
        ordered,
        lookups=BOTH,
        view={"order": "transaction_timestamp"},
        engine="hma",
        privacy=None,
        maxTrainingRows=1500,
    )
    return found


def written(place: House, contract: Contract, folder: str = "views/test/x") -> Views:
    contracts = place.contracts
    pins = {name: current_partitions(place.catalogue, contracts[name]) for name in contract.sources}
    return write_views(place.settings, place.store, contracts, contract, pins, folder)


def tokens(table: pa.Table, name: str = UNIT) -> list[bytes]:
    return list(table.column(name).to_pylist())


def shard(place: House, entry: FileEntry) -> pa.Table:
    return read_side(place.settings, [entry])


@pytest.fixture(scope="module")
def cut(place: House) -> tuple[House, Views]:
    """The lines, written in several shards."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(views, "SHARD_ROWS", 10_000)
        return place, written(place, place.contracts["lines_private"], "views/lines_private/cut")


def test_shards_hold_whole_units_and_all_lines_once(cut: tuple[House, Views]) -> None:
    place, found = cut
    shards = [shard(place, entry) for entry in found.training.files]
    assert len(shards) > 2
    units = [set(tokens(table)) for table in shards]
    assert sum(map(len, units)) == len(set().union(*units)) == found.training.units
    assert sum(table.num_rows for table in shards) == found.training.rows
    assert min(map(len, units)) > found.training.units / len(shards) / 2
    holdout = read_side(place.settings, found.holdout.files)
    assert set(tokens(holdout)).isdisjoint(set().union(*units))
    assert (holdout.num_rows, len(set(tokens(holdout)))) == (found.holdout.rows, found.holdout.units)
    lines = sum(p.rows for p in current_partitions(place.catalogue, place.contracts["transactions"]))
    assert found.training.rows + found.holdout.rows == lines
    assert found.suppressed_rows == 0


def test_units_stand_together_then_groups_then_the_views_order(cut: tuple[House, Views]) -> None:
    place, found = cut
    for entry in found.training.files:
        table = shard(place, entry)
        for name in (UNIT, GROUP):
            column = tokens(table, name)
            runs = 1 + sum(a != b for a, b in pairwise(column))
            assert runs == len(set(column))
        times, groups = table.column(ORDER).cast(pa.int64()).to_numpy(), tokens(table, GROUP)
        same = np.array([a == b for a, b in pairwise(groups)])
        assert (np.diff(times)[same] >= 0).all()
        assert (unit_numbers(table)[1:] - unit_numbers(table)[:-1] >= 0).all()


def test_columns_above_the_line_have_one_value_a_unit_or_group(cut: tuple[House, Views]) -> None:
    place, found = cut
    table = pa.concat_tables([shard(place, entry) for entry in found.training.files])
    assert set(table.column_names) == {*LINES, UNIT, GROUP, ORDER} - {"household", "basket"}
    for name, key in (("size", UNIT), ("weekday", GROUP)):
        counted = table.group_by(key).aggregate([(name, "count_distinct")])
        assert pc.max(counted.column(f"{name}_count_distinct")).as_py() == 1


def test_a_views_rows_are_the_same_whatever_the_number_of_shards(cut: tuple[House, Views]) -> None:
    place, found = cut
    whole = written(place, place.contracts["lines_private"], "views/lines_private/whole")
    assert len(whole.training.files) == 1
    one, many = (read_side(place.settings, side.files) for side in (whole.training, found.training))
    assert one.equals(many)
    assert whole.training.units == found.training.units


def test_ordered_baskets_follow_each_other_within_their_household(place: House) -> None:
    found = written(place, place.contracts["ordered"])
    table = read_side(place.settings, found.training.files)
    assert found.training.rows <= 1500
    times, units = table.column(ORDER).cast(pa.int64()).to_numpy(), tokens(table)
    same = np.array([a == b for a, b in pairwise(units)])
    assert same.sum() > 300
    assert (np.diff(times)[same] >= 0).all()
    hours = pc.hour(table.column(ORDER))
    assert hours.cast(pa.int64()).to_pylist() == table.column("hour").to_pylist()


def test_lines_are_read_and_written_a_partition_at_a_time(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight partitions of a hundred thousand lines each: what stays in memory between them is less than four."""
    contract, count, rows = place.contracts["lines_private"], 8, 100_000
    monkeypatch.setattr(views, "SHARD_ROWS", 200_000)
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 10_000)  # what waits for a group to be full is held, too
    rng = np.random.default_rng(1)
    names = [rng.bytes(16) for _ in range(4000)]
    people = pa.array(names, pa.binary(16))
    peaks: list[int] = []
    before = pa.total_allocated_bytes()

    def partition(number: int) -> pa.Table:
        owners = pa.array(rng.integers(0, 4000, rows))
        return pa.table(
            {
                "household_id": people.take(owners),
                "basket_id": people.take(owners),
                "product_id": pa.array(rng.integers(0, 50, rows)),
                "quantity": pa.array(rng.integers(1, 4, rows)),
                "sales_value": pa.array(rng.random(rows)),
                "transaction_timestamp": pa.array(np.full(rows, 1483200000 + number), pa.timestamp("s")).cast(
                    pa.timestamp("us")
                ),
            }
        )

    def reading(settings: Any, store: Any, partitions: Any, columns: Any = None) -> Iterator[pa.Table]:
        if "department" in columns:
            yield pa.table({"product_id": pa.array(np.arange(50)), "department": pa.array(["MEAT"] * 50)})
        elif "household_size" in columns:
            yield pa.table({"household_id": people, "household_size": pa.array(["2"] * 4000)})
        else:
            for number in range(count):
                table = partition(number)
                yield table
                del table
                peaks.append(pa.total_allocated_bytes() - before)

    monkeypatch.setattr(view_rights, "read_partitions", reading)
    size = partition(0).nbytes
    found = written(place, contract, "views/lines_private/large")
    assert found.training.rows + found.holdout.rows == count * rows
    assert len(peaks) == count
    assert max(peaks) < 4 * size


@pytest.mark.parametrize("name", ["lines_private", "ordered"])
def test_a_hold_out_too_small_is_refused_and_nothing_is_left(tmp_path: Path, place: House, name: str) -> None:
    own = place.copy(tmp_path / "home")
    contract = own.edit_contract(name, "minHoldoutUnits: 400", "minHoldoutUnits: 900")
    with pytest.raises(ValidationRefused) as caught:
        synthesize(own.settings, contract)
    assert caught.value.code == "validation.holdout"
    assert not [path for zone in ("views", "synthetic", "models") for path in files_of(own, zone, name)]


def files_of(place: House, zone: str, name: str) -> list[Path]:
    return [p for p in (place.settings.lake / zone / name).rglob("*") if p.is_file() and "request" not in p.name]


def test_a_training_side_too_small_for_the_gate_is_refused_before_a_fit(tmp_path: Path, place: House) -> None:
    own = place.copy(tmp_path / "home")
    contract = own.edit_contract("ordered", "maxTrainingRows: 1500", "maxTrainingRows: 300")
    with pytest.raises(ValidationRefused) as caught:
        synthesize(own.settings, contract)
    assert caught.value.code == "validation.training"
    assert "maxTrainingRows" in caught.value.remedy
    assert not [path for zone in ("views", "synthetic", "models") for path in files_of(own, zone, "ordered")]


def test_what_a_killed_run_left_goes_with_the_next_one(tmp_path: Path) -> None:
    source, manifest = house.private()
    own = source.copy(tmp_path / "home")
    left = [own.settings.lake / zone / PRIVATE / "0123456789ab-01234567" for zone in ("views", "synthetic")]
    for folder in left:
        folder.mkdir()
        (folder / "training-00000.parquet").write_bytes(b"PARE")
    again = synthesize(own.settings, own.contracts[PRIVATE])
    assert again is not None
    assert not any(folder.exists() for folder in left)
    for ref in (manifest, again):  # what a manifest lists stays
        content = read_manifest(FolderStore(own.settings.lake), ref)
        for listed in (content["files"], content["training"]["files"], content["holdout"]["files"]):
            assert all((own.settings.lake / item["path"]).exists() for item in listed)


def test_other_households_decide_nothing_in_a_private_view(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A household's rows are the same, and on the same side, when half of all other households are not there."""
    contract = place.contracts[PRIVATE]
    whole = written(place, contract, "views/x/whole")
    real = view_rights.read_partitions

    def fewer(settings: Any, store: Any, partitions: Any, columns: Any = None) -> Iterator[pa.Table]:
        for table in real(settings, store, partitions, columns):
            if "household_id" in table.column_names:
                odd = token_words(table.column("household_id").combine_chunks())[:, 1] % np.uint64(2) == 1
                table = table.filter(pa.array(odd))
            yield table

    monkeypatch.setattr(view_rights, "read_partitions", fewer)
    monkeypatch.setattr(views, "_require_units", lambda *_: None)
    half = written(place, contract, "views/x/half")
    assert 0.3 < half.training.units / whole.training.units < 0.7
    for side in ("training", "holdout"):
        rows = []
        for found in (whole, half):
            table = read_side(place.settings, getattr(found, side).files)
            odd = token_words(table.column(UNIT).combine_chunks())[:, 1] % np.uint64(2) == 1
            rows.append(Counter(map(tuple, table.filter(pa.array(odd)).to_pandas().itertuples(index=False))))
        assert rows[0] == rows[1]
    assert (whole.suppressed_rows, half.suppressed_rows) == (0, 0)


def test_without_a_guarantee_rare_categories_are_left_out_and_rows_are_capped(place: House) -> None:
    contract = place.contracts[SYNTHETIC]
    found = written(place, contract, "views/y/x")
    table = read_side(place.settings, [*found.training.files, *found.holdout.files])
    held = table.group_by("income").aggregate([(UNIT, "count_distinct")]).column(f"{UNIT}_count_distinct")
    assert contract.gate is not None
    assert pc.min(held).as_py() >= contract.gate.min_k


def test_rows_beyond_what_the_driver_may_hold_are_not_read(place: House) -> None:
    side = Side((FileEntry("views/none.parquet", 1, 11, "0"),), 11, 5)
    shards = ShardFiles(place.settings, LocalWorkers(), side, 10, lambda *_: None)
    with pytest.raises(StageError) as caught:
        shards.table()
    assert caught.value.code == "stage.too-large"


def test_a_side_survives_its_manifest(cut: tuple[House, Views]) -> None:
    _, found = cut
    assert Side.of(found.training.as_dict()) == found.training
    assert file_entries(found.holdout.as_dict()["files"]) == found.holdout.files
