from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import event
from tests.support.acting import by

import cloakhouse
from cloakhouse.client.api import DatasetSummary, Lake, connect
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import (
    AccessRefused,
    CloakhouseError,
    ConfigurationError,
    IntegrityError,
    KeyServiceError,
    NotFound,
    StorageError,
    VersionGone,
    VersionWithdrawn,
)
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.versions import VersionRegister
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
        ("oracle+oracledb://user:secret@host/db", ConfigurationError),
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
    lake._place.register._engine.dispose()
    with pytest.raises(StorageError):
        lake.datasets()


def test_a_file_that_may_not_be_read_is_no_damage(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "/home/jane.doe/keystore")

    monkeypatch.setattr("cloakhouse.lake.parquet.TableStore.batches", refused)
    with pytest.raises(StorageError) as caught:
        lake.dataset("people_synthetic").to_arrow()
    assert "EACCES" in caught.value.found
    assert "jane" not in caught.value.explain()


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
    house.register.tag("zebras_synthetic", 2, "certified", by("ann"))
    [tagged] = [d for d in connect(house.home).datasets() if d.tags]
    assert (tagged.name, tagged.tags, tagged.head) == ("zebras_synthetic", ("certified",), True)
    house.register.tag("zebras_synthetic", 2, "certified", by("ann"))
    house.register.untag("zebras_synthetic", 2, "certified", by("ann"))
    assert found == connect(house.home).datasets()


def test_nothing_published_is_an_empty_list(settings: Settings) -> None:
    VersionRegister(settings.database)
    assert connect(settings.home).datasets() == []


def test_datasets_take_one_query_however_many_there_are(house: Any) -> None:
    for name in ("apples_synthetic", "pears_synthetic"):
        house.publish(name, pa.table({"store_id": [1]}), parts=1)
    lake = connect(house.home)
    asked: list[str] = []
    engine = lake._place.register._engine
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert len(lake.datasets()) == 3
    assert len(asked) <= 2  # the versions, and their tags


def test_versions_are_chosen_by_number(house: Any) -> None:
    house.publish(table=pa.table({"store_id": [9]}), parts=1)
    lake = connect(house.home)
    assert lake.dataset("people_synthetic").version == 2
    assert lake.dataset("people_synthetic@2").to_arrow().to_pydict() == {"store_id": [9]}
    first = lake.dataset("people_synthetic@1")
    assert (first.version, first.rows, first.zone) == (1, 6, "synthetic")
    assert repr(first) == "Dataset(people_synthetic@1, 6 rows)"
    assert (first.tags, first.masked, first.release.version) == ((), (), 1)


def test_versions_are_chosen_by_tag_and_by_day(house: Any) -> None:
    house.publish(table=pa.table({"store_id": [9]}), parts=1)
    house.register.tag("people_synthetic", 1, "certified", by("ann"))
    lake, today = connect(house.home), dt.datetime.now(dt.UTC).date()
    assert lake.dataset("people_synthetic@certified").version == 1
    assert lake.dataset(f"people_synthetic@{today}").version == 2
    for absent in (
        "people_synthetic@2017-01-01",
        "people_synthetic@deprecated",
        f"people_synthetic@{today.year + 1}-01-01",
    ):
        with pytest.raises(NotFound):
            lake.dataset(absent)


def test_all_versions_of_a_dataset_in_every_state(house: Any) -> None:
    house.publish(table=pa.table({"store_id": [9]}), parts=1)
    house.register.withdraw("people_synthetic", 1, by("ann", "the noise was too small"))
    lake = connect(house.home)
    first, second = lake.versions("people_synthetic")
    assert (first.version, first.state, first.reason, first.head) == (1, "withdrawn", "the noise was too small", False)
    assert (second.version, second.state, second.head) == (2, "published", True)
    with pytest.raises(ConfigurationError, match="without a version"):
        lake.versions("people_synthetic@2")
    with pytest.raises(NotFound):
        lake.versions("unknown")


def test_a_withdrawn_version_refuses_with_its_reason(house: Any) -> None:
    dataset = connect(house.home).dataset("people_synthetic@1")
    rows = dataset.batches()
    next(rows)
    house.register.withdraw("people_synthetic", 1, by("ann", "the noise was too small"))
    for name in ("people_synthetic@1", "people_synthetic"):
        with pytest.raises((VersionWithdrawn, NotFound)):
            connect(house.home).dataset(name)
    with pytest.raises(VersionWithdrawn, match=r"ann.*the noise was too small"):
        connect(house.home).dataset("people_synthetic@1")
    assert dataset.to_arrow().num_rows == 6  # who holds it open may finish
    house.files()[1].unlink()
    with pytest.raises(VersionWithdrawn, match="the noise was too small"):  # and is told plainly why a file is gone
        list(rows)


def test_an_expired_version_whose_files_are_collected_is_gone(house: Any) -> None:
    house.publish(table=pa.table({"store_id": [9]}), parts=1)
    dataset = connect(house.home).dataset("people_synthetic@1")
    house.register.expire("people_synthetic", [1], by("ann", "older than a year"))
    house.files("synthetic/people_synthetic/000000000000/*.parquet")[0].unlink()
    with pytest.raises(VersionGone, match="older than a year"):
        dataset.to_arrow()
    with pytest.raises(VersionGone):
        connect(house.home).dataset("people_synthetic@1")


def test_a_control_database_from_an_old_backup_is_told(house: Any) -> None:
    backup = house.home.parent / "backup"
    backup.mkdir()
    for file in house.home.glob("control.db*"):
        shutil.copy(file, backup)
    house.publish(table=pa.table({"store_id": [9]}), parts=1)
    for file in house.home.glob("control.db*"):
        file.unlink()
    for file in backup.iterdir():
        shutil.copy(file, house.home)
    with pytest.raises(IntegrityError, match="older than the lake") as caught:
        connect(house.home).dataset("people_synthetic")
    assert caught.value.code == "integrity.catalogue-old"


def test_a_release_that_another_key_signed_is_refused(house: Any, tmp_path: Path) -> None:
    """As by somebody who can write the lake and the control database, and has a key of their own."""
    other = type(house)(Settings.from_environment({}).with_home(tmp_path / "other"), house.contract)
    forged = other.publish()
    body = (other.settings.lake / forged.manifest.path).read_bytes()
    (house.settings.lake / forged.manifest.path).write_bytes(body)
    assert house.register.replace_manifest(house.published[0].manifest, forged.manifest)
    with pytest.raises(IntegrityError) as caught:
        connect(house.home).dataset("people_synthetic")
    assert caught.value.code == "integrity.signature"


def test_an_unknown_public_key_is_refused(house: Any, tmp_path: Path) -> None:
    other = type(house)(Settings.from_environment({}).with_home(tmp_path / "other"), house.contract)
    other.publish()
    shutil.rmtree(house.settings.signing_keys)
    shutil.copytree(other.settings.signing_keys, house.settings.signing_keys)
    with pytest.raises(IntegrityError) as caught:
        connect(house.home).dataset("people_synthetic")
    assert caught.value.code == "integrity.signing-key"


def test_opening_a_dataset_asks_for_no_key(house: Any) -> None:
    """A model team verifies with the public key and the control database."""
    shutil.rmtree(house.home / "keystore")
    dataset = connect(house.home).dataset("people_synthetic")
    assert dataset.describe()["rows"] == 6
    assert dataset.evidence()["passed"] is True
    with pytest.raises(KeyServiceError):
        dataset.to_arrow()


@pytest.mark.parametrize("name", ["unknown", "people_synthetic@2", "people_synthetic@999999999", "transactions"])
def test_what_is_not_published_is_not_found(lake: Lake, name: str) -> None:
    with pytest.raises(NotFound, match="cloakhouse datasets"):
        lake.dataset(name)


@pytest.mark.parametrize(
    "name", ["../people_synthetic", "people_synthetic@X", "protected/transactions", "People", "реople"]
)
def test_what_is_no_name_is_refused(lake: Lake, name: str) -> None:
    with pytest.raises(ConfigurationError):
        lake.dataset(name)


def test_a_release_of_another_dataset_is_refused(house: Any) -> None:
    register = house.register
    number = register.reserve("other", "e" * 64)
    register.publish(replace(house.published[0], dataset="other", fingerprint="e" * 64, version=number), by("ann"))
    with pytest.raises(IntegrityError, match="people_synthetic@1"):
        connect(house.home).dataset("other")


def test_a_version_of_a_zone_that_is_not_released_is_refused(house: Any) -> None:
    register = house.register
    number = register.reserve("people_synthetic", "e" * 64)
    register.publish(replace(house.published[0], zone="protected", fingerprint="e" * 64, version=number), by("ann"))
    with pytest.raises(IntegrityError):
        connect(house.home).dataset("people_synthetic")


def test_describe_card_and_evidence(lake: Lake, house: Any) -> None:
    dataset = lake.dataset("people_synthetic")
    facts = dataset.describe()
    keys = (
        "name, version, zone, rows, published, tags, columns, contract, engine, card, gate, parents, evidence, release"
    )
    assert ", ".join(facts) == keys
    assert json.loads(json.dumps(facts)) == facts
    assert facts["published"] == dataset.published_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert facts["columns"][0] == {"name": "store_id", "type": "integer", "class": "plain", "shown": "clear"}
    assert facts["contract"] == {"version": house.contract.version, "digest": house.contract.digest}
    assert (facts["engine"], facts["parents"]) == ("gaussian copula", 3)
    assert [figure["passed"] for figure in facts["gate"]] == [True, True]
    assert facts["card"] == dict(dataset.release.card)
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


@pytest.mark.parametrize("pattern", ["synthetic/people_synthetic/releases/*.json", "**/validation-*.json"])
def test_a_changed_manifest_is_found(lake: Lake, house: Any, pattern: str) -> None:
    (file,) = house.files(pattern)
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    with pytest.raises(IntegrityError, match="other bytes"):
        lake.dataset("people_synthetic").evidence()


@pytest.mark.parametrize("other", ["none", "new keys"])
def test_a_wrong_keystore_is_a_key_error(house: Any, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    keystore = house.home / "other"
    if other == "new keys":
        store = TableStore(
            FolderStore(house.home / "lake2"), KeyRing(AgeKeyService(keystore), house.home / "other-keys")
        )
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
LIGHT = {"cloakhouse", "cryptography", "numpy", "pyarrow", "pyrage", "sqlalchemy", "typing_extensions", "yaml"}
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
    assert imported_by("import cloakhouse.client.cli") <= {"cloakhouse", "click"}


def test_reading_takes_few_libraries(house: Any) -> None:
    """Not among them: airflow, pyspark, pandas, torch, sdv, boto3, alembic, open_data_contract_standard."""
    read = f"import cloakhouse; cloakhouse.connect({str(house.home)!r}).dataset('people_synthetic').to_arrow()"
    assert imported_by(read) <= LIGHT


ROLES = """\
apiVersion: cloakhouse.access/v1
roles:
  modeller:
    purposes: [operations]
    reviewBy: 2099-12-31
    reads: [{zones: [synthetic], datasets: ["*"], classes: [plain]}]
  half:
    purposes: [operations]
    reviewBy: 2099-12-31
    reads: [{zones: [protected], datasets: [customers], classes: [plain]}]
  auditor:
    purposes: [operations]
    reviewBy: 2099-12-31
    reads: [{zones: [protected], datasets: ["*"], classes: [plain]}]
principals:
  mia: {roles: [ROLES]}
"""


@pytest.mark.parametrize(
    ("roles", "private", "given"),
    [
        ("modeller", False, True),
        ("modeller", True, False),
        ("modeller, half", True, False),
        ("modeller, auditor", True, True),
    ],
)
def test_evidence_of_a_release_under_a_guarantee_is_for_those_who_read_its_sources(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roles: str, private: bool, given: bool
) -> None:
    """It holds figures that were counted in real rows without noise."""
    policy, identity = tmp_path / "access.yaml", tmp_path / "mia.txt"
    policy.write_text(ROLES.replace("ROLES", roles))
    AgeKeyService(house.home / "keystore").enrol("mia", identity=identity)
    settings = replace(house.settings, policy=policy, identity=identity)
    dataset = Lake(settings, VersionRegister(settings.database)).dataset("people_synthetic")
    if private:
        card = dataset.release.card
        promised = {**card, "privacy": {**card["privacy"], "guarantee": {"epsilon": 1.0}}}
        monkeypatch.setattr(dataset, "_release", replace(dataset.release, card=promised))
    if given:
        assert dataset.evidence()["passed"] is True
        return
    with pytest.raises(AccessRefused) as refused:
        dataset.evidence()
    assert refused.value.code == "access.evidence"
