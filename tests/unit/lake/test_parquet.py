from __future__ import annotations

import datetime as dt
import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.crash import small_disk
from tests.support.processes import run

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import (
    CloakhouseError,
    ConfigurationError,
    IntegrityError,
    KeyServiceError,
    NotFound,
    StorageError,
)
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.folder import FolderStore

MARKER = "Zwetschgenhuber"
SECRET_COLUMN = "maidenname_zwetschge"
TABLE = pa.table(
    {
        "household": pa.array([bytes([i]) * 16 for i in range(4)], pa.binary(16)),
        SECRET_COLUMN: ["Ann", MARKER, None, "Ben"],
        "amount": [1.5, None, 123456.789, 2.0],
        "day": pa.array([1, 2, 3, 4], pa.timestamp("us")),
    }
)
CLASSES = {
    "household": ColumnClass.DIRECT,
    SECRET_COLUMN: ColumnClass.SENSITIVE,
    "amount": ColumnClass.PLAIN,
    "day": ColumnClass.INDIRECT,
}
PATH = "protected/people/2017-01-02/part-0.parquet"


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(AgeKeyService(tmp_path / "keystore"), tmp_path / "dataset-keys")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def store(lake: Path, ring: KeyRing) -> TableStore:
    return TableStore(FolderStore(lake), ring)


def files(lake: Path) -> list[Path]:
    return [p for p in lake.rglob("*") if p.is_file()]


def refused(store: TableStore, entry: FileEntry, *kinds: type[CloakhouseError]) -> CloakhouseError:
    with pytest.raises(kinds or IntegrityError) as refusal:
        store.read(entry)
    assert MARKER not in str(refusal.value)
    return refusal.value


def entry_of(lake: Path, path: str, rows: int) -> FileEntry:
    data = (lake / path).read_bytes()
    return FileEntry(path, len(data), rows, hashlib.sha256(data).hexdigest())


def test_round_trip_and_entry(store: TableStore, lake: Path) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    assert entry == entry_of(lake, PATH, 4)
    assert store.read(entry).equals(TABLE)
    assert FileEntry(**entry.as_dict()) == entry


def test_another_process_reads_it(store: TableStore, lake: Path, tmp_path: Path) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    code, out, err = run(
        """
        import sys
        from pathlib import Path
        from cloakhouse.lake.store.folder import FolderStore
        from cloakhouse.keys.age import AgeKeyService
        from cloakhouse.keys.ring import KeyRing
        from cloakhouse.lake.parquet import FileEntry, TableStore
        home = Path(sys.argv[1])
        ring = KeyRing(AgeKeyService(home / "keystore"), home / "dataset-keys")
        entry = FileEntry(sys.argv[2], int(sys.argv[3]), 4, sys.argv[4])
        print(TableStore(FolderStore(home / "lake"), ring).read(entry).to_pydict()["amount"])
        """,
        tmp_path, entry.path, entry.bytes, entry.sha256,
    )  # fmt: skip
    assert (code, out.strip()) == (0, "[1.5, None, 123456.789, 2.0]"), err


def test_many_batches_and_batches_back(store: TableStore) -> None:
    with store.writing(PATH, TABLE.schema, CLASSES) as (write, entries):
        for batch in TABLE.to_batches(max_chunksize=1):
            write(batch)
        write(TABLE)
    assert entries[0].rows == 8
    assert pa.Table.from_batches(store.batches(entries[0], rows=3)).equals(pa.concat_tables([TABLE, TABLE]))
    assert [b.num_rows for b in store.batches(entries[0], ["day"], rows=8)] == [8]


def test_no_rows(store: TableStore) -> None:
    entry = store.write(PATH, TABLE.slice(0, 0), CLASSES)
    assert store.read(entry).schema.equals(TABLE.schema)
    assert entry.rows == 0


def test_only_the_columns_asked_for_are_read(store: TableStore, tmp_path: Path) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    unwrapped: list[str] = []

    class Watching(AgeKeyService):
        def unwrap(self, name, wrapped, context):  # type: ignore[no-untyped-def]
            unwrapped.append(name)
            return super().unwrap(name, wrapped, context)

    watching = TableStore(
        FolderStore(tmp_path / "lake"), KeyRing(Watching(tmp_path / "keystore"), tmp_path / "dataset-keys")
    )
    assert watching.read(entry, ["amount"]).column_names == ["amount"]
    assert set(unwrapped) == {"protected/footer", "protected/plain"}
    assert watching.read(entry, ["day", "amount"]).column_names == ["day", "amount"]
    assert [b.schema.names for b in watching.batches(entry, ["day", "amount"])] == [["day", "amount"]]


CONDITIONS: list[tuple[list[tuple[str, str, object]], list[float | None]]] = [
    ([("amount", "=", 1.5)], [1.5]),
    ([("amount", "!=", 1.5)], [123456.789, 2.0]),
    ([("amount", "<", 2)], [1.5]),
    ([("amount", "<=", 2)], [1.5, 2.0]),
    ([("amount", ">", 2)], [123456.789]),
    ([("amount", ">=", 2), ("amount", "<", 100)], [2.0]),
    ([("amount", "in", [2.0, 1.5, 7.0])], [1.5, 2.0]),
    ([("amount", "not in", (2.0,))], [1.5, 123456.789]),
    ([("amount", "in", [])], []),
    ([(SECRET_COLUMN, "=", MARKER)], [None]),
    ([(SECRET_COLUMN, "not in", {MARKER})], [1.5, 2.0]),
    ([("household", "=", bytes([3]) * 16)], [2.0]),
    ([("day", ">=", dt.datetime(1970, 1, 1, 0, 0, 0, 3)), (SECRET_COLUMN, "!=", "x")], [2.0]),
    ([], [1.5, None, 123456.789, 2.0]),
]


@pytest.mark.parametrize(("where", "amounts"), CONDITIONS)
def test_rows_are_filtered_and_the_filters_columns_dropped(
    store: TableStore, where: list[tuple[str, str, object]], amounts: list[float | None]
) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    assert store.read(entry, ["amount"], where).equals(pa.table({"amount": pa.array(amounts, pa.float64())}))
    batches = list(store.batches(entry, ["amount"], 1, where))
    assert [value for batch in batches for value in batch.column("amount").to_pylist()] == amounts
    assert all(batch.schema.names == ["amount"] and batch.num_rows == 1 for batch in batches)


def test_a_filter_works_on_dictionaries(store: TableStore) -> None:
    table = pa.table({"a": pa.array(["x", None, "y", "x"]).dictionary_encode(), "b": [1, 2, 3, 4]})
    entry = store.write(PATH, table, dict.fromkeys("ab", ColumnClass.PLAIN))
    assert store.read(entry, ["b"], [("a", "=", "x")]).column("b").to_pylist() == [1, 4]
    assert store.read(entry, ["b"], [("a", "not in", ["x"])]).column("b").to_pylist() == [3]


@pytest.mark.parametrize(
    "where",
    [
        [("amount", "~", 1)], [("amount", "=", None)], [("amount", "in", [None])], [("amount", "in", 5)],
        [("amount", "in", "15")], [("amount", "=")], ["amount"], [(1, "=", 1)], [("amount", "=", MARKER)],
        [("day", "<", MARKER)], [("amount", "in", [MARKER])], [("household", "=", 5)],
    ],
)  # fmt: skip
def test_a_condition_that_can_not_be_evaluated_is_refused_without_its_value(store: TableStore, where: object) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    for read in (store.read, lambda *given, where: list(store.batches(*given, where=where))):
        with pytest.raises(ConfigurationError) as refusal:
            read(entry, ["day"], where=where)  # type: ignore[operator]
        assert refusal.value.code == "configuration.filter"
        assert MARKER not in str(refusal.value)


def test_what_the_footer_records_stays_out_of_what_is_read(store: TableStore) -> None:
    described = TABLE.replace_schema_metadata({"note": "ours"})
    entry = store.write(PATH, described, CLASSES)
    found = [store.read(entry), store.read(entry, where=[("amount", ">", 0)]), *store.batches(entry)]
    assert [item.schema.metadata for item in found] == [{b"note": b"ours"}] * 3
    assert store.read(store.write(PATH, TABLE, CLASSES)).schema.metadata is None


def test_a_file_that_was_written_for_another_dataset_is_refused(store: TableStore, lake: Path) -> None:
    """Even to a reader who may read both, and where the entry agrees."""
    store.write(PATH, TABLE, CLASSES)
    strange = PATH.replace("people", "strangers")
    store.write(strange, TABLE, CLASSES)
    shutil.copy(lake / PATH, lake / strange)
    assert "dataset" in refused(store, entry_of(lake, strange, 4)).expected


def test_schema_and_classes_take_the_footers_key_alone(store: TableStore, ring: KeyRing, tmp_path: Path) -> None:
    described = TABLE.replace_schema_metadata({"note": "ours"})
    entry = store.write(PATH, described, CLASSES)
    empty = store.write(PATH.replace("part-0", "empty"), described.slice(0, 0), CLASSES)
    for use in ("direct", "sensitive", "plain", "indirect"):
        shutil.move(tmp_path / "dataset-keys" / "protected" / use, tmp_path / use)
    ring.forget()
    for given in (entry, empty):
        schema, classes = store.layout(given)
        assert schema.equals(described.schema, check_metadata=True)
        assert classes == CLASSES


def test_a_path_without_zone_and_dataset_is_refused(store: TableStore, lake: Path) -> None:
    for path in ("people.parquet", "protected/people.parquet", "Protected/people/x.parquet"):
        with pytest.raises(IntegrityError):
            store.write(path, TABLE, CLASSES)
    assert files(lake) == []


def test_both_magics_and_no_plaintext_of_values_names_or_statistics(store: TableStore, lake: Path) -> None:
    store.write(PATH, pa.concat_tables([TABLE] * 100), CLASSES)
    data = (lake / PATH).read_bytes()
    assert (data[:4], data[-4:]) == (b"PARE", b"PARE")
    for plain in (MARKER, "Zwetsch", SECRET_COLUMN, "maidenname", "household", "amount"):
        assert plain.encode() not in data
    import struct

    assert struct.pack("<d", 123456.789) not in data
    # the same table without encryption holds all of them, so the search above can fail
    pq.write_table(TABLE, lake / "plain.parquet", compression="none")
    plain_bytes = (lake / "plain.parquet").read_bytes()
    assert MARKER.encode() in plain_bytes
    assert SECRET_COLUMN.encode() in plain_bytes
    assert struct.pack("<d", 123456.789) in plain_bytes


def test_each_column_has_the_key_of_its_class(store: TableStore, ring: KeyRing, tmp_path: Path) -> None:
    """Without the dataset key of a class its columns don't open, and the others do."""
    entry = store.write(PATH, TABLE, CLASSES)
    uses = ("direct", "footer", "indirect", "plain", "sensitive")
    assert [file.key for file in ring.all()] == [DatasetKey("protected", use, "people") for use in uses]
    shutil.move(tmp_path / "dataset-keys" / "protected" / "direct", tmp_path / "away")
    reader = TableStore(FolderStore(tmp_path / "lake"), KeyRing(ring.service, tmp_path / "dataset-keys"))
    assert reader.read(entry, ["amount", SECRET_COLUMN]).num_rows == 4
    for columns in (["household"], None):
        with pytest.raises(KeyServiceError) as refusal:
            reader.read(entry, columns)
        assert (refusal.value.code, refusal.value.where) == ("key.missing", "dataset key protected/direct/people")


@pytest.mark.parametrize("column", list(CLASSES))
def test_a_column_without_a_class_is_refused(store: TableStore, lake: Path, column: str) -> None:
    classes = {name: cls for name, cls in CLASSES.items() if name != column}
    with pytest.raises(IntegrityError) as refusal:
        store.write(PATH, TABLE, classes)
    assert column in refusal.value.where
    assert "plaintext" in refusal.value.found
    assert files(lake) == []


@pytest.mark.parametrize("values", [[[1]], [{"a": 1}], pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string()))])
def test_a_nested_column_is_refused(store: TableStore, lake: Path, values: object) -> None:
    with pytest.raises(IntegrityError):
        store.write(PATH, pa.table({"a": values}), {"a": ColumnClass.PLAIN})
    assert files(lake) == []


@pytest.mark.parametrize("name", ["a,b", "a;b", "a:b", " a", "a ", "", "a.b", "a\nb", "Größe", "a b"])
def test_no_column_name_gets_a_column_out_in_plaintext(store: TableStore, lake: Path, name: str) -> None:
    """Parquet's configuration joins names by `,`, `;` and `:`, and drops spaces around them."""
    sound = name in ("a.b", "a\nb", "Größe", "a b")
    table = pa.table({name: [MARKER] * 10, "a": ["x"] * 10, "b": ["y"] * 10})
    classes = dict.fromkeys(table.column_names, ColumnClass.PLAIN)
    if sound:
        assert store.read(store.write(PATH, table, classes)).equals(table)
        assert MARKER.encode() not in (lake / PATH).read_bytes()
        return
    with pytest.raises(IntegrityError):
        store.write(PATH, table, classes)
    assert files(lake) == []


def test_a_column_name_twice_is_refused(store: TableStore, lake: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([MARKER])], names=["a", "a"])
    with pytest.raises(IntegrityError):
        store.write(PATH, table, {"a": ColumnClass.PLAIN})
    assert files(lake) == []


def test_two_files_swapped_are_found(store: TableStore, lake: Path) -> None:
    other = PATH.replace("part-0", "part-1")
    a, b = store.write(PATH, TABLE, CLASSES), store.write(other, TABLE, CLASSES)
    a_bytes, b_bytes = (lake / PATH).read_bytes(), (lake / other).read_bytes()
    (lake / PATH).write_bytes(b_bytes)
    (lake / other).write_bytes(a_bytes)
    assert refused(store, a).where == PATH
    assert refused(store, b).where == other


def test_plaintext_in_place_of_the_file_is_refused_even_where_the_entry_agrees(store: TableStore, lake: Path) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    pq.write_table(TABLE, lake / PATH)
    assert "plaintext is never accepted" in refused(store, entry).found
    assert "plaintext is never accepted" in refused(store, entry_of(lake, PATH, 4)).found


def test_truncated_empty_extended_and_missing_files_are_found(store: TableStore, lake: Path) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    data = (lake / PATH).read_bytes()
    for broken in (b"", b"PARE", data[:4], data[:100], data[:-1], data + b"\0"):
        (lake / PATH).write_bytes(broken)
        refused(store, entry)
    (lake / PATH).unlink()
    assert refused(store, entry).found == "no file"


def test_a_column_that_is_not_there_is_an_error(store: TableStore) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    with pytest.raises(NotFound):
        store.read(entry, ["amount", "amuont"])
    with pytest.raises(NotFound):
        list(store.batches(entry, ["amuont"]))


def test_another_number_of_rows_is_found(store: TableStore) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    assert refused(store, replace(entry, rows=5)).found == "4 rows"


def test_the_wrong_keystore(store: TableStore, lake: Path, tmp_path: Path) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    stranger = KeyRing(AgeKeyService(tmp_path / "other"), tmp_path / "other-dataset-keys")
    refused(TableStore(FolderStore(lake), stranger), entry, KeyServiceError)
    TableStore(FolderStore(tmp_path / "elsewhere"), stranger).write(PATH, TABLE, CLASSES)
    assert refused(TableStore(FolderStore(lake), stranger), entry, KeyServiceError).code == "key.context"


def test_keys_are_never_reused(store: TableStore, lake: Path) -> None:
    store.write(PATH, TABLE, CLASSES)
    first = (lake / PATH).read_bytes()
    store.write(PATH, TABLE, CLASSES)
    second = (lake / PATH).read_bytes()
    wrapped = [set(re.findall(rb"[A-Za-z0-9+/]{60,}={0,2}", data)) for data in (first, second)]
    assert wrapped[0] or first[4:64] != second[4:64]
    assert first[4:64] != second[4:64]


def test_a_failed_write_leaves_nothing_and_keeps_the_old_file(store: TableStore, lake: Path) -> None:
    entry = store.write(PATH, TABLE, CLASSES)

    def fail(classes: Mapping[str, ColumnClass]) -> None:
        with store.writing(PATH, TABLE.schema, classes) as (write, _):
            write(TABLE)
            raise ValueError("fault")

    with pytest.raises(ValueError, match="fault"):
        fail(CLASSES)
    assert [p.name for p in files(lake)] == ["part-0.parquet"]
    assert store.read(entry).equals(TABLE)


def test_a_batch_of_another_schema_leaves_nothing(store: TableStore, lake: Path) -> None:
    def write_other() -> None:
        with store.writing(PATH, TABLE.schema, CLASSES) as (write, _):
            write(pa.table({"other": [1]}))

    with pytest.raises(ValueError, match="schema"):
        write_other()
    assert files(lake) == []


def test_no_space(lake: Path, tmp_path: Path) -> None:

    code = """
    import sys
    from pathlib import Path
    import pyarrow as pa, os
    from cloakhouse.lake.store.folder import FolderStore
    from cloakhouse.contracts.model import ColumnClass
    from cloakhouse.errors import StorageError
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.ring import KeyRing
    from cloakhouse.lake.parquet import TableStore
    from tests.support.crash import limit_file_size
    home, keys = Path(sys.argv[1]), Path(sys.argv[3])
    ring = KeyRing(AgeKeyService(keys / "keystore"), keys / "dataset-keys")
    if sys.argv[2] == "limit":
        limit_file_size(1 << 20)
    table = pa.table({"a": pa.array([os.urandom(1000) for _ in range(3000)])})
    try:
        store = TableStore(FolderStore(home), ring)
        store.write("protected/people/x.parquet", table, {"a": ColumnClass.PLAIN})
    except StorageError as refusal:
        print(refusal.code, refusal.retryable)
    """
    with small_disk(tmp_path / "disk", 1 << 20) as mounted:
        status, out, err = run(code, tmp_path / "disk", "disk" if mounted else "limit", tmp_path)
        assert (status, out) == (0, "storage.no-space True\n"), err
        assert files(tmp_path / "disk") == []
    status, out, err = run(code, tmp_path / "lake", "limit", tmp_path)
    assert (status, out) == (0, "storage.no-space True\n"), err
    assert files(tmp_path / "lake") == []


def test_no_permission_to_make_the_folder(store: TableStore, lake: Path) -> None:
    lake.mkdir()
    (lake / "protected").write_text("a file")
    with pytest.raises(StorageError):
        store.write(PATH, TABLE, CLASSES)


def test_the_copy_of_a_file_reads_under_another_name(store: TableStore, lake: Path) -> None:
    """Moving a lake keeps it readable: paths are in the manifest, not in the file."""
    entry = store.write(PATH, TABLE, CLASSES)
    shutil.copy(lake / PATH, lake / "protected" / "people" / "copy.parquet")
    assert store.read(replace(entry, path="protected/people/copy.parquet")).equals(TABLE)
