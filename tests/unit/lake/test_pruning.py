from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused, IntegrityError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake import parquet
from cloakhouse.lake.filters import RowFilter
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.pruning import groups_to_read
from cloakhouse.lake.store.folder import FolderStore

PATH = "protected/people/part-0.parquet"
GROUP = 100  # rows
ROWS = range(3 * GROUP)
START = dt.datetime(2017, 1, 1)
TABLE = pa.table(
    {
        "n": pa.array(ROWS, pa.int64()),
        "small": pa.array([row // GROUP for row in ROWS], pa.int8()),
        "x": pa.array([float("nan") if row % 7 == 0 else row / 2 for row in ROWS]),
        "f": pa.array([row / 2 for row in ROWS], pa.float32()),
        "t": [f"{row:03d}" for row in ROWS],
        "c": pa.array([f"{row:03d}" for row in ROWS]).dictionary_encode(),
        "d": pa.array([START.date() + dt.timedelta(days=row) for row in ROWS]),
        "at": pa.array([START + dt.timedelta(hours=row) for row in ROWS], pa.timestamp("us")),
        "b": [row >= GROUP for row in ROWS],
        "none": pa.array([None] * GROUP + [1] * 2 * GROUP, pa.int64()),
        "price": pa.array([Decimal(row) / 4 for row in ROWS], pa.decimal128(12, 2)),
        "raw": pa.array([bytes([row // GROUP]) * 4 for row in ROWS], pa.binary(4)),
        "secret": pa.array(ROWS, pa.int64()),
    }
)
CLASSES = dict.fromkeys(TABLE.column_names, ColumnClass.PLAIN) | {"secret": ColumnClass.DIRECT}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pruning")


@pytest.fixture(scope="module")
def ring(home: Path) -> KeyRing:
    return KeyRing(AgeKeyService(home / "keystore"), home / "dataset-keys")


@pytest.fixture(scope="module")
def store(home: Path, ring: KeyRing) -> TableStore:
    return TableStore(FolderStore(home / "lake"), ring)


@pytest.fixture(scope="module")
def entry(store: TableStore) -> FileEntry:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROWS_PER_GROUP", GROUP)
        with store.writing(PATH, TABLE.schema, CLASSES) as (write, entries):
            for start in range(0, len(ROWS), GROUP):
                write(TABLE.slice(start, GROUP))
    return entries[0]


@pytest.mark.parametrize(
    ("condition", "groups"),
    [
        (("n", "=", 5), [0]),
        (("n", "==", 299), [2]),
        (("n", "=", 300), []),
        (("n", "=", 5.5), [0]),
        (("n", "<", 100), [0]),
        (("n", "<=", 100), [0, 1]),
        (("n", ">", 199), [2]),
        (("n", ">=", 199), [1, 2]),
        (("n", "!=", 5), [0, 1, 2]),
        (("n", "not in", [5]), [0, 1, 2]),
        (("n", "in", [5, 250, 1000]), [0, 2]),
        (("n", "in", []), []),
        (("small", "=", 1), [1]),
        (("x", ">", 100), [2]),
        (("x", "=", float("nan")), []),
        (("f", "<", 1.5), [0]),
        (("t", "=", "150"), [1]),
        (("t", "<", "1"), [0]),
        (("c", "in", ["150", "151"]), [1]),
        (("d", ">=", dt.date(2017, 9, 1)), [2]),
        (("at", "<", dt.datetime(2017, 1, 2)), [0]),
        (("b", "=", False), [0]),
        (("none", "=", 1), [0, 1, 2]),  # without a smallest and a largest value nothing is ruled out
        (("none", ">", 1), [0]),
        (("price", "=", Decimal("1.25")), [0, 1, 2]),
        (("raw", "=", b"\0" * 4), [0, 1, 2]),
    ],
)
def test_groups_that_can_hold_no_such_row_are_ruled_out(
    home: Path, ring: KeyRing, entry: FileEntry, condition: Any, groups: list[int]
) -> None:
    with (home / "lake" / PATH).open("rb") as stream:
        assert groups_to_read(stream, entry.bytes, TABLE.schema, RowFilter.of([condition]), ring) == groups


def test_every_condition_rules_out(home: Path, ring: KeyRing, entry: FileEntry) -> None:
    where = RowFilter.of([("n", ">=", 100), ("t", "<", "200"), ("b", "=", True)])
    with (home / "lake" / PATH).open("rb") as stream:
        assert groups_to_read(stream, entry.bytes, TABLE.schema, where, ring) == [1]


def test_only_groups_that_may_hold_a_row_are_decrypted(
    store: TableStore, entry: FileEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    iterate = pq.ParquetFile.iter_batches

    def watching(self: pq.ParquetFile, **options: Any) -> Any:
        read.append(options["row_groups"])
        return iterate(self, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watching)
    assert store.read(entry, ["t"], [("n", ">=", 250)])["t"].to_pylist() == [f"{row:03d}" for row in ROWS if row >= 250]
    assert store.read(entry, ["t"], [("n", ">", 1000)]).num_rows == 0
    assert [batch.num_rows for batch in store.batches(entry, ["n"], 40, [("n", "<", 100)])] == [40, 40, 20]
    list(store.batches(entry, ["n"]))
    assert read == [[2], [], [0], None]


def test_a_reader_without_the_key_is_refused_and_lives(home: Path, ring: KeyRing, entry: FileEntry) -> None:
    """pyarrow would end the process over the statistics of a column that it can't decrypt."""
    service = AgeKeyService(home / "keystore")
    service.enrol("mia", identity=home / "mia.txt")
    from cloakhouse.keys.protocol import Grant, KeyName

    for use in ("footer", "plain"):
        service.grant(Grant("mia", KeyName(f"protected/{use}"), "modelling"))
    mia = KeyRing(AgeKeyService(home / "keystore", home / "mia.txt", "modelling"), home / "dataset-keys")
    theirs = TableStore(FolderStore(home / "lake"), mia)
    assert theirs.read(entry, ["n"], [("t", "=", "150")])["n"].to_pylist() == [150]
    with pytest.raises(AccessRefused):
        theirs.read(entry, ["n"], [("secret", "=", 150)])
    with (home / "lake" / PATH).open("rb") as stream, pytest.raises(AccessRefused):
        groups_to_read(stream, entry.bytes, TABLE.schema, RowFilter.of([("secret", "=", 150)]), mia)


def test_a_version_of_the_key_that_is_gone_is_told(store: TableStore, ring: KeyRing) -> None:
    from cloakhouse.errors import KeyServiceError

    table = pa.table({"n": [1, 2]})
    other = store.write("protected/gone/part-0.parquet", table, {"n": ColumnClass.PLAIN})
    key = DatasetKey("protected", "plain", "gone")
    ring.rotate(key)
    ring.retire(key, below=2)
    with pytest.raises(KeyServiceError):
        store.read(other, ["n"], [("n", ">", 1)])


def test_damaged_metadata_is_an_integrity_error_even_where_the_entry_agrees(
    store: TableStore, entry: FileEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloakhouse.lake import pruning
    from cloakhouse.lake.thrift import ThriftError

    def refuse(_data: bytes) -> Any:
        raise ThriftError("the bytes end within a struct")

    monkeypatch.setattr(pruning, "read_struct", refuse)
    with pytest.raises(IntegrityError):
        store.read(entry, ["n"], [("n", ">", 1)])
    monkeypatch.setattr(pruning, "read_struct", lambda _data: ({12: {5: b"\1", 6: b"\1"}}, 1))
    with pytest.raises(IntegrityError):
        store.read(entry, ["n"], [("n", ">", 1)])
