"""What a reader sees of a dataset under an access policy, and which keys that takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cloakhouse.client.api import Dataset, Lake, connect
from cloakhouse.contracts.access_policy import Access, Shown
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused, ConfigurationError, NotFound
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.service import open_ring
from cloakhouse.settings import Settings

CLASSES = {"age": ColumnClass.INDIRECT, "day": ColumnClass.INDIRECT, "token": ColumnClass.DIRECT}
SHOWN = {"age": Shown.REDACT, "day": Shown.REDACT, "value": Shown.NULL, "token": Shown.OMIT}
VISIBLE = ["store_id", "value", "has_meat", "age", "day", "hour", "price"]


@pytest.fixture
def asked() -> list[DatasetKey]:
    """Keys that a reader asked for."""
    return []


@pytest.fixture
def uses() -> list[tuple[str, tuple[str, ...]]]:
    """What was recorded before reading."""
    return []


@pytest.fixture
def lake(
    house: Any, asked: list[DatasetKey], uses: list[tuple[str, tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> Lake:
    """The lake as somebody sees it who may read columns of class plain, but for one."""
    house.publish(classes=CLASSES)

    class Watched(KeyRing):
        def require(self, keys: Iterable[DatasetKey]) -> None:
            wanted = list(keys)
            asked.extend(wanted)
            super().require(wanted)

    def ring(settings: Settings) -> KeyRing:
        return Watched(open_ring(settings).service, settings.dataset_keys)

    def access_of(_settings: Settings) -> Any:
        def decide(zone: str, dataset: str, columns: Mapping[str, ColumnClass]) -> Access:
            assert (zone, dataset, columns["age"]) == ("synthetic", "people_synthetic", ColumnClass.INDIRECT)
            return Access("mia", "modelling", "modeller", {name: SHOWN.get(name, Shown.CLEAR) for name in columns})

        return decide

    monkeypatch.setattr("cloakhouse.client.place.access_of", access_of)
    monkeypatch.setattr("cloakhouse.client.place.reading_ring", ring)
    monkeypatch.setattr("cloakhouse.client.place.record_use", lambda *given: uses.append((given[2], tuple(given[3]))))
    return connect(house.home)


@pytest.fixture
def dataset(lake: Lake) -> Dataset:
    return lake.dataset("people_synthetic")


def test_masked_columns_come_without_their_keys(
    dataset: Dataset, asked: list[DatasetKey], small_table: pa.Table
) -> None:
    found = dataset.to_arrow()
    assert found.column_names == VISIBLE == list(dataset.columns)
    assert found["age"].to_pylist() == ["***"] * 6
    assert found["day"].to_pylist() == [None] * 6
    assert found["value"].to_pylist() == [None] * 6
    assert found["store_id"].equals(small_table["store_id"])
    types = {"age": pa.string(), "day": pa.date32(), "value": pa.float64()}
    assert {name: found.schema.field(name).type for name in types} == types
    assert {key.use for key in asked} == {"footer", "plain"}
    assert dataset.masked == ("value", "age", "day")
    shown = {column["name"]: column["shown"] for column in dataset.describe()["columns"]}
    assert (shown["age"], shown["value"], shown["store_id"], "token" in shown) == ("redact", "null", "clear", False)


def test_masked_columns_alone_take_no_key_at_all(dataset: Dataset, asked: list[DatasetKey]) -> None:
    found = dataset.to_arrow(["age", "value"], limit=4)
    assert found.to_pydict() == {"age": ["***"] * 4, "value": [None] * 4}
    assert [batch.num_rows for batch in dataset.batches(["age"])] == [3, 3]
    assert asked == []


def test_a_condition_on_a_clear_column_keeps_masked_ones_masked(dataset: Dataset) -> None:
    found = dataset.to_arrow(["age"], where=[("store_id", ">", 4)])
    assert found.to_pydict() == {"age": ["***", "***", "***"]}
    found = dataset.to_arrow(["price", "age"], where=[("store_id", "=", -1)])
    assert (found.num_rows, found.schema.names) == (0, ["price", "age"])


@pytest.mark.parametrize("column", ["age", "day", "value", "token"])
def test_a_condition_on_what_is_not_clear_is_refused_before_anything_is_decrypted(
    dataset: Dataset, column: str, asked: list[DatasetKey], uses: list[Any]
) -> None:
    with pytest.raises(AccessRefused, match=f"column {column}") as caught:
        dataset.to_arrow(["store_id"], where=[(column, "=", "x")])
    assert caught.value.code == "access.column"
    assert (asked, uses) == ([], [])


def test_a_column_that_is_left_out_is_refused_by_name(dataset: Dataset, asked: list[DatasetKey]) -> None:
    for read in (dataset.to_arrow, dataset.batches, dataset.to_pandas, dataset.to_torch):
        with pytest.raises(AccessRefused, match="column token"):
            read(["store_id", "token"])
    assert asked == []


def test_unknown_columns_are_told_with_those_that_may_be_seen(dataset: Dataset) -> None:
    with pytest.raises(NotFound) as caught:
        dataset.to_arrow(["email"])
    assert caught.value.remedy.endswith(", ".join(VISIBLE))
    with pytest.raises(NotFound, match="no column 'email'"):
        dataset.to_arrow(where=[("email", "=", 1)])


@pytest.mark.parametrize("condition", ["value", ("store_id", "~", 1), ("store_id", "=", None), ("store_id", "in", 3)])
def test_what_is_no_condition_is_refused_at_once(dataset: Dataset, condition: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        dataset.batches(where=[condition])
    assert caught.value.code == "configuration.filter"


def test_a_read_is_recorded_before_it_begins_once_for_each_column(dataset: Dataset, uses: list[Any]) -> None:
    dataset.batches(["store_id"], where=[("price", ">", 1)])
    assert uses == [("synthetic", ("store_id", "price"))]
    dataset.to_arrow(["store_id"])
    dataset.to_arrow(["hour"])
    assert uses[1:] == [("synthetic", ("hour",))]


def test_tensors_are_made_of_clear_columns(dataset: Dataset) -> None:
    assert list(dataset.to_torch(fill={"store_id": 0, "has_meat": False})) == ["store_id", "has_meat", "price"]


def test_an_empty_selection_keeps_its_types(house: Any) -> None:
    house.publish("empty_synthetic", pa.table({"store_id": pa.array([], pa.int64())}), parts=1)
    found = connect(house.home).dataset("empty_synthetic").to_arrow(where=[("store_id", ">", 1)])
    assert (found.num_rows, found.schema) == (0, pa.schema([("store_id", pa.int64())]))


def test_a_reader_without_grants_is_refused_by_the_keys(house: Any, tmp_path: Path) -> None:
    """Whatever the client decides: an enrolled principal without a grant of the key opens no column."""
    from dataclasses import replace

    from cloakhouse.client.place import Place
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.service import service_of
    from cloakhouse.ledger.versions import Selector

    service = service_of(house.settings)
    assert isinstance(service, AgeKeyService)
    service.enrol("mia", identity=tmp_path / "mia.txt")
    settings = replace(house.settings, identity=tmp_path / "mia.txt", purpose="modelling")
    place = Place(settings, house.register)
    version = place.resolved(Selector("people_synthetic"))
    with pytest.raises(AccessRefused) as caught:  # by the policy
        Dataset(place, version)
    assert caught.value.code == "access.role"
    with pytest.raises(AccessRefused) as caught:  # by the keys
        place.tables().read(place.release(version).files[0])
    assert caught.value.code == "access.key"
