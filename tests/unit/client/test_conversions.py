from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from cloakhouse.client import meter
from cloakhouse.client.api import Dataset, connect
from cloakhouse.errors import ConfigurationError, MissingDependency

WHERE = [("value", ">", 1)]


@pytest.fixture(scope="module")
def dataset(template: Any) -> Dataset:
    return connect(template.home).dataset("people_synthetic")


def test_pandas_with_its_own_types_or_with_those_of_the_release(dataset: Dataset) -> None:
    own = dataset.to_pandas(["store_id", "has_meat"])
    assert (own["store_id"].dtype, own["has_meat"].dtype) == ("float64", "object")
    kept = dataset.to_pandas(["store_id", "has_meat", "token"], nullable=True)
    assert kept["store_id"].dtype == pd.ArrowDtype(pa.int64())
    assert kept["store_id"].tolist()[2] == 2**53 + 1
    assert kept["store_id"].isna().tolist() == [False, False, False, True, False, False]
    assert dataset.to_pandas(["store_id"], 1, where=WHERE)["store_id"].tolist() == [1]


def test_polars_keeps_types_and_nulls(dataset: Dataset) -> None:
    frame = dataset.to_polars(where=WHERE)
    assert frame.columns == list(dataset.columns)
    assert frame["store_id"].to_list() == [1, None, 5]
    assert frame.schema["store_id"] == pl.Int64
    assert frame.schema["day"] == pl.Date
    assert frame.schema["price"] == pl.Decimal(3, 2)
    assert dataset.to_polars(["store_id"], 3)["store_id"].to_list() == [1, 2, 2**53 + 1]


def test_duckdb_keeps_types_and_nulls(dataset: Dataset) -> None:
    relation = dataset.to_duckdb(columns=["store_id", "price", "day"])
    assert relation.columns == ["store_id", "price", "day"]
    assert relation.filter("store_id > 1").order("store_id").limit(1).fetchall()[0][0] == 2
    assert relation.aggregate("count(*), count(store_id), max(store_id)").fetchall() == [(6, 5, 2**53 + 1)]
    again = relation.aggregate("count(*)").fetchall(), relation.aggregate("count(*)").fetchall()
    assert again == ([(6,)], [(6,)])  # a relation is read as often as is asked


def test_duckdb_spills_nothing_to_disk(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [f"{number * 7919 % 1_000_003:09d}" * 4 for number in range(200_000)]
    house.publish("long_synthetic", pa.table({"t": texts}), parts=1)
    dataset = connect(house.home).dataset("long_synthetic")
    assert dataset.to_duckdb().aggregate("count(DISTINCT t)").fetchall() == [(200_000,)]
    own = duckdb.connect()
    own.execute("SET memory_limit = '8MB'")
    dataset.to_duckdb(own).create_view("rows")
    with pytest.raises(duckdb.OutOfMemoryException):
        own.execute("CREATE TEMP TABLE z AS SELECT t || 'x' FROM rows")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_duckdb_on_a_connection_that_spills_encrypted_or_has_spilled(dataset: Dataset, tmp_path: Path) -> None:
    sealed = duckdb.connect(config={"temp_file_encryption": "true", "temp_directory": str(tmp_path / "sealed")})
    assert dataset.to_duckdb(sealed).aggregate("count(*)").fetchall() == [(6,)]
    assert sealed.execute("SELECT current_setting('temp_directory')").fetchall() == [(str(tmp_path / "sealed"),)]
    locked = duckdb.connect(config={"temp_directory": str(tmp_path / "clear")})
    locked.execute("SET lock_configuration = true")
    with pytest.raises(ConfigurationError) as caught:
        dataset.to_duckdb(locked)
    assert caught.value.code == "configuration.duckdb"


def test_torch_gives_a_tensor_for_each_column(dataset: Dataset) -> None:
    found = dataset.to_torch(fill={"store_id": -1, "has_meat": False})
    assert list(found) == ["store_id", "value", "has_meat", "price"]
    assert [tensor.dtype for tensor in found.values()] == [torch.int64, torch.float64, torch.bool, torch.float64]
    assert found["store_id"].tolist() == [1, 2, 2**53 + 1, -1, 5, 6]
    assert found["has_meat"].tolist() == [True, False, False, True, False, True]
    assert found["price"].tolist()[:3] == [1.1, 2.0, 3.5]
    assert found["value"].isnan().tolist() == [False, True, True, False, False, False]
    found["value"][0] = 2.0  # they may be written to
    assert dataset.to_torch(["value"], 1)["value"].tolist() == [1.5]
    assert dataset.to_torch(["value"], fill={"value": 0.0})["value"].tolist()[2] == 0.0


@pytest.mark.parametrize(
    ("columns", "fill", "message"),
    [
        (["store_id"], {}, "fill={'store_id': 0}"),
        (["has_meat"], {}, "1 missing values"),
        (["age"], {}, "numbers or booleans"),
        (["day"], {"day": 0}, "date32"),
        (["store_id"], {"store_id": "x"}, "a fill of type int64"),
        (["store_id"], {"store_id": 0.5}, "a fill of type int64"),
    ],
)
def test_what_is_no_tensor_is_refused(dataset: Dataset, columns: list[str], fill: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        dataset.to_torch(columns, fill=fill)
    assert caught.value.code == "configuration.tensor"
    assert message in caught.value.explain()


@pytest.mark.parametrize("name", ["pandas", "polars", "duckdb", "torch", "pyspark"])
def test_a_missing_library_is_named_with_its_command(
    dataset: Dataset, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    convert = getattr(dataset, {"pyspark": "to_spark"}.get(name, f"to_{name}"))
    arguments = [None] if name == "pyspark" else []
    with pytest.raises(MissingDependency, match=r"pip install '?" + name):
        convert(*arguments)


def test_a_session_of_something_else_is_refused(dataset: Dataset) -> None:
    with pytest.raises(ConfigurationError) as caught:
        dataset.to_spark(object())  # type: ignore[arg-type]
    assert caught.value.code == "configuration.spark"


def test_programs_see_no_progress_bar(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    dataset.to_arrow()
    dataset.to_arrow(progress=False)
    assert capsys.readouterr() == ("", "")


def test_people_see_one_where_it_takes_a_while(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.to_arrow(progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "people_synthetic@1" in shown.err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    dataset.to_arrow()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(meter, "PATIENCE_S", 0.0)
    dataset.to_arrow()
    assert "people_synthetic@1" in capsys.readouterr().err
