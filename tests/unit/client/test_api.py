from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cloakhouse
from cloakhouse.client.api import DatasetSummary, Lake, connect
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import (
    CloakhouseError,
    ConfigurationError,
    IntegrityError,
    KeyServiceError,
    MissingDependency,
    NotFound,
    StorageError,
)
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef
from cloakhouse.settings import Settings


@pytest.fixture
def lake(house: Any) -> Lake:
    return connect(house.home)


def table_without_nan(table: pa.Table) -> list[dict[str, Any]]:
    return [{k: "nan" if v != v else v for k, v in row.items()} for row in table.to_pylist()]


def test_no_home_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cloakhouse run") as caught:
        connect(tmp_path / "absent")
    assert caught.value.code == "not-found.home"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("home", ["\0", "~nobody-of-that-name/x", 3])
def test_a_home_that_is_no_path_is_refused(home: Any) -> None:
    with pytest.raises(CloakhouseError) as caught:
        connect(home)
    assert isinstance(caught.value, ConfigurationError | NotFound)


def test_an_empty_file_is_no_control_database_and_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "control.db").touch()
    with pytest.raises(NotFound):
        connect(tmp_path)
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("control.db", 0)]


def test_a_file_that_is_no_database_is_an_integrity_error(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"not a database, by any means" * 100)
    with pytest.raises(IntegrityError, match="control database"):
        connect(tmp_path)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("no url", ConfigurationError),
        ("nosuch://host/db", ConfigurationError),
        ("oracle+oracledb://user:secret@host/db", MissingDependency),
    ],
)
def test_a_database_setting_that_fails_is_explained_without_its_password(
    url: str, kind: type[CloakhouseError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAKHOUSE_DATABASE", url)
    with pytest.raises(kind) as caught:
        connect()
    assert "secret" not in caught.value.explain()


def test_a_control_database_that_goes_away_is_a_storage_error(lake: Lake, house: Any) -> None:
    for name in ("control.db", "control.db-wal", "control.db-shm"):
        (house.home / name).unlink(missing_ok=True)
    (house.home / "control.db").mkdir()
    lake._catalogue._engine.dispose()
    with pytest.raises(StorageError):
        lake.datasets()


def test_connect_is_offered_by_the_package(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in house.environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert [d.name for d in cloakhouse.connect().datasets()] == ["people_synthetic"]
    assert str(house.home) in repr(cloakhouse.connect(str(house.home)))
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        cloakhouse.conect  # type: ignore[attr-defined]  # noqa: B018


def test_datasets_are_the_newest_versions_by_name(house: Any) -> None:
    house.publish("zebras_synthetic")
    house.publish("apples_synthetic")
    newest = house.publish("zebras_synthetic")
    found = connect(house.home).datasets()
    assert [(d.name, d.version) for d in found] == [
        ("apples_synthetic", 1),
        ("people_synthetic", 1),
        ("zebras_synthetic", 2),
    ]
    assert found[2] == DatasetSummary("zebras_synthetic", 2, "synthetic", 6, newest.published_at)
    assert found == connect(house.home).datasets()


def test_nothing_published_is_an_empty_list(settings: Settings) -> None:
    Catalogue(settings.database)
    assert connect(settings.home).datasets() == []


def test_two_hundred_versions_are_listed_quickly(house: Any) -> None:
    catalogue = Catalogue(house.settings.database)
    for number in range(200):
        catalogue.publish(f"d{number % 10}", f"{number + 1000:064x}", "synthetic", 1, ManifestRef("x", "y"))
    lake = connect(house.home)
    started = time.perf_counter()
    found = lake.datasets()
    assert time.perf_counter() - started < 1  # seconds; 10 ms in fact
    assert len(found) == 11
    assert {d.version for d in found[:10]} == {20}


def test_versions_are_chosen_by_number(house: Any) -> None:
    house.publish(table=pa.table({"store_id": [9]}), parts=1)
    lake = connect(house.home)
    assert lake.dataset("people_synthetic").version == 2
    assert lake.dataset("people_synthetic@2").to_arrow().to_pydict() == {"store_id": [9]}
    first = lake.dataset("people_synthetic@1")
    assert (first.version, first.rows, first.zone) == (1, 6, "synthetic")
    assert repr(first) == "Dataset(people_synthetic@1, 6 rows)"


@pytest.mark.parametrize("name", ["unknown", "people_synthetic@2", "people_synthetic@999999999", "transactions"])
def test_what_is_not_published_is_not_found(lake: Lake, name: str) -> None:
    with pytest.raises(NotFound, match="cloakhouse datasets"):
        lake.dataset(name)


@pytest.mark.parametrize("name", ["../people_synthetic", "people_synthetic@x", "protected/transactions", "реople"])
def test_what_is_no_name_is_refused(lake: Lake, name: str) -> None:
    with pytest.raises(ConfigurationError):
        lake.dataset(name)


@pytest.mark.parametrize(
    ("folder", "zone"),
    [
        ("protected/transactions", "synthetic"),
        ("synthetic/sneaky/../../protected/transactions", "synthetic"),
        ("synthetic/people_synthetic", "synthetic"),
        ("protected/transactions", "protected"),
    ],
)
def test_a_release_outside_its_own_folder_is_refused(house: Any, folder: str, zone: str) -> None:
    store = TableStore(house.settings.lake, open_ring(house.settings))
    entry = store.write("protected/transactions/a.parquet", pa.table({"a": [1]}), {"a": ColumnClass.PLAIN})
    files = [{**entry.as_dict(), "path": f"{folder}/a.parquet"}]
    content = {"dataset": "sneaky", "files": files, "columns": [{"name": "a", "type": "integer", "class": "plain"}]}
    release = write_manifest(house.settings.lake, "synthetic/sneaky", "release", content)
    Catalogue(house.settings.database).publish("sneaky", "f" * 64, zone, 1, release)
    with pytest.raises(IntegrityError, match="another dataset, zone or folder"):
        connect(house.home).dataset("sneaky")


def test_a_release_of_another_dataset_is_refused(house: Any) -> None:
    Catalogue(house.settings.database).publish("other", "e" * 64, "synthetic", 6, house.published[0].manifest)
    with pytest.raises(IntegrityError, match="release of other@1"):
        connect(house.home).dataset("other")


def test_describe_card_and_evidence(lake: Lake, house: Any) -> None:
    dataset = lake.dataset("people_synthetic")
    facts = dataset.describe()
    keys = "name, version, zone, rows, published, columns, contract, engine, card, gate, parents, evidence"
    assert ", ".join(facts) == keys
    assert json.loads(json.dumps(facts)) == facts
    assert facts["published"] == dataset.published_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert facts["columns"][0] == {"name": "store_id", "type": "integer", "class": "plain"}
    assert facts["contract"] == {"version": house.contract.version, "digest": house.contract.digest}
    assert (facts["engine"], facts["parents"]) == ("gaussian copula", 3)
    assert [figure["passed"] for figure in facts["gate"]] == [True, True]
    assert facts["card"] == dataset.card()
    assert (house.settings.lake / facts["evidence"]).is_file()
    assert dataset.evidence()["quality"]["expectations"][0]["unexpected_count"] == 0


def test_all_rows_come_back_as_they_were_published(lake: Lake, small_table: pa.Table) -> None:
    found = lake.dataset("people_synthetic").to_arrow()
    assert found.schema.equals(small_table.schema)
    assert table_without_nan(found) == table_without_nan(small_table)


def test_columns_come_in_the_order_asked_for_each_once(lake: Lake) -> None:
    dataset = lake.dataset("people_synthetic")
    assert dataset.to_arrow(columns=["day", "store_id", "day"]).column_names == ["day", "store_id"]
    assert [batch.schema.names for batch in dataset.batches(("token",))] == [["token"], ["token"]]


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (["email"], NotFound),
        (["store_id", "\x1b[31m"], NotFound),
        ([3], NotFound),
        ([], ConfigurationError),
        ("store_id", ConfigurationError),
    ],
)
def test_columns_that_are_not_there_are_told_at_once(lake: Lake, columns: Any, kind: type[CloakhouseError]) -> None:
    dataset = lake.dataset("people_synthetic")
    for read in (dataset.to_arrow, dataset.batches, dataset.to_pandas):
        with pytest.raises(kind, match="store_id, value, has_meat") as caught:
            read(columns)
        assert "\x1b" not in caught.value.explain()


@pytest.mark.parametrize(("limit", "rows"), [(0, 0), (1, 1), (3, 3), (4, 4), (6, 6), (7, 6), (10**30, 6), (None, 6)])
def test_limit(lake: Lake, limit: int | None, rows: int) -> None:
    dataset = lake.dataset("people_synthetic")
    found = dataset.to_arrow(limit=limit)
    everything = dataset.to_arrow()
    assert table_without_nan(found) == table_without_nan(everything)[:rows]
    assert found.schema == everything.schema


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True])
def test_a_limit_that_is_no_count_is_refused(lake: Lake, limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit of rows"):
        lake.dataset("people_synthetic").to_arrow(limit=limit)


def test_limit_opens_no_file_and_no_batch_beyond_the_last_one_needed(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.publish("long_synthetic", pa.table({"n": range(200_000)}), parts=2)
    house.files("synthetic/long_synthetic/**/part-00001.parquet")[0].unlink()
    drawn: list[int] = []
    iterate: Callable[..., Iterator[pa.RecordBatch]] = pq.ParquetFile.iter_batches

    def counting(*arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        for batch in iterate(*arguments, **options):
            drawn.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counting)
    dataset = connect(house.home).dataset("long_synthetic")
    assert dataset.to_arrow(limit=10)["n"].to_pylist() == list(range(10))
    assert drawn == [10]
    drawn.clear()
    assert dataset.to_arrow(limit=70_000).num_rows == 70_000
    assert drawn == [65_536, 34_464]
    with pytest.raises(IntegrityError):
        dataset.to_arrow(limit=100_001)


def test_a_dataset_without_rows_keeps_its_columns(house: Any) -> None:
    house.publish("empty_synthetic", pa.table({"store_id": pa.array([], pa.int64()), "age": pa.array([], pa.string())}))
    dataset = connect(house.home).dataset("empty_synthetic")
    found = dataset.to_arrow(["age"])
    assert (found.num_rows, found.schema) == (0, pa.schema([("age", pa.string())]))
    assert dataset.to_arrow(limit=0).num_columns == 2


def test_to_pandas(lake: Lake) -> None:
    frame = lake.dataset("people_synthetic").to_pandas(columns=["age", "store_id"], limit=3)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["age", "store_id"]
    assert frame["store_id"].tolist()[:2] == [1, 2]
    assert len(frame) == 3


def test_a_changed_file_is_found(lake: Lake, house: Any) -> None:
    file = house.files()[1]
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    with pytest.raises(IntegrityError, match="other bytes"):
        lake.dataset("people_synthetic").to_arrow()


def test_a_missing_file_is_found(lake: Lake, house: Any) -> None:
    house.files()[0].unlink()
    with pytest.raises(IntegrityError, match="no file"):
        lake.dataset("people_synthetic").to_arrow()


def test_a_plaintext_file_is_never_read(lake: Lake, house: Any) -> None:
    pq.write_table(pa.table({"store_id": [1]}), house.files()[0])
    with pytest.raises(IntegrityError, match="plaintext is never accepted"):
        lake.dataset("people_synthetic").to_arrow()


@pytest.mark.parametrize("kind", ["release", "validation"])
def test_a_changed_manifest_is_found(lake: Lake, house: Any, kind: str) -> None:
    (file,) = house.files(f"**/{kind}-*.json")
    file.write_bytes(file.read_bytes().replace(b"people", b"poople", 1))
    with pytest.raises(IntegrityError, match="other bytes"):
        lake.dataset("people_synthetic").evidence()


@pytest.mark.parametrize("other", ["none", "new keys"])
def test_a_wrong_keystore_is_a_key_error(house: Any, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    keystore = house.home / "other"
    if other == "new keys":
        store = TableStore(house.home / "lake2", KeyRing(AgeKeyService(keystore), house.home / "other-keys"))
        store.write("synthetic/a/a.parquet", pa.table({"a": [1]}), {"a": ColumnClass.PLAIN})
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(house.home))
    monkeypatch.setenv("CLOAKHOUSE_KEYS", f"age:{keystore}")
    dataset = connect().dataset("people_synthetic")
    with pytest.raises(KeyServiceError, match="CLOAKHOUSE_KEYS"):
        dataset.to_arrow()
    assert keystore.exists() is (other == "new keys")


def test_reading_leaves_nothing_behind(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = {path for path in house.home.rglob("*") if not path.name.startswith("control.db")}
    dataset = connect(house.home).dataset("people_synthetic")
    dataset.to_pandas()
    next(dataset.batches())
    dataset.evidence()
    assert {path for path in house.home.rglob("*") if not path.name.startswith("control.db")} == before
    assert list(temporary.iterdir()) == []


IMPORT = """
import sys, json
{statement}
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names))))
"""
LIGHT = {"cloakhouse", "cryptography", "numpy", "pyarrow", "pyrage", "sqlalchemy", "typing_extensions"}
INTERNAL = ("_", "cython_runtime", "cloudpickle", "greenlet", "sitecustomize", "distutils")


def imported_by(statement: str) -> set[str]:
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(statement=statement)],
        env=unmeasured,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name for name in json.loads(done.stdout) if not name.startswith(INTERNAL)}


def test_importing_the_client_takes_few_libraries() -> None:
    assert imported_by("import cloakhouse") == {"cloakhouse"}
    assert imported_by("import cloakhouse.client.api") <= LIGHT
    assert imported_by("import cloakhouse.client.cli") <= {"cloakhouse", "click"}
