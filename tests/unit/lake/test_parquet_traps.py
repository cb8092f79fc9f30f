"""The known traps of Parquet Modular Encryption, each sprung on purpose."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from tests.support.processes import in_fork, start

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused, CloakhouseError, IntegrityError, KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.encryption import FileEncryption
from cloakhouse.lake.footer import read_crypto
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.folder import FolderStore

MARKER = "Zwetschgenhuber"
TABLE = pa.table({"household": [1, 2, 3, 4], "name": ["Ann", MARKER, None, "Ben"], "amount": [1.5, None, 7.25, 2.0]})
CLASSES = {"household": ColumnClass.DIRECT, "name": ColumnClass.DIRECT, "amount": ColumnClass.PLAIN}
FOLDER = "protected/people"
PATH = f"{FOLDER}/part-0.parquet"
OTHER = f"{FOLDER}/part-1.parquet"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def lake(home: Path) -> Path:
    return home / "lake"


@pytest.fixture
def ring(home: Path) -> KeyRing:
    return KeyRing(AgeKeyService(home / "keystore"), home / "dataset-keys")


@pytest.fixture
def store(lake: Path, ring: KeyRing) -> TableStore:
    return TableStore(FolderStore(lake), ring)


def entry_of(lake: Path, path: str = PATH, rows: int = 4) -> FileEntry:
    """Return an entry that agrees with the bytes, whatever they are."""
    data = (lake / path).read_bytes()
    return FileEntry(path, len(data), rows, hashlib.sha256(data).hexdigest())


def modules(data: bytes) -> Iterator[slice]:
    """Yield where each encrypted module of the data is."""
    at, end = 4, len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    while at < end:
        yield slice(at, at + 4 + int.from_bytes(data[at : at + 4], "little"))
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    assert at == end


class RawKeys(pe.KmsClient):  # type: ignore[misc]
    """What a program that uses pyarrow alone would have: keys in the clear, and a refusal."""

    def __init__(self, _config: object = None) -> None:
        pe.KmsClient.__init__(self)

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        return key_bytes.hex()

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        return bytes.fromhex(wrapped_key)


def raw_properties(factory: pe.CryptoFactory, **changes: object) -> pe.FileEncryptionProperties:
    settings = {
        "footer_key": "f",
        "column_keys": {"k": TABLE.column_names},
        "encryption_algorithm": "AES_GCM_V1",
        "data_key_length_bits": 256,
    }
    configuration = pe.EncryptionConfiguration(**{**settings, **changes})
    return factory.file_encryption_properties(pe.KmsConnectionConfig(), configuration)


def raw_write(path: Path, properties: pe.FileEncryptionProperties, table: pa.Table = TABLE) -> bytes:
    pq.write_table(table, path, encryption_properties=properties)
    return path.read_bytes()


def raw_read(path: Path, factory: pe.CryptoFactory) -> pa.Table:
    properties = factory.file_decryption_properties(pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
    return pq.ParquetFile(path, decryption_properties=properties).read()


# a column without a key would be plaintext


def test_a_column_without_a_key_is_refused_where_the_format_writes_it_in_plaintext(
    store: TableStore, lake: Path, home: Path
) -> None:
    raw = raw_write(home / "raw", raw_properties(pe.CryptoFactory(RawKeys), column_keys={"k": ["household"]}))
    assert (raw[:4], raw[-4:], MARKER.encode() in raw) == (b"PARE", b"PARE", True)
    with pytest.raises(IntegrityError):
        store.write(PATH, TABLE, {"household": ColumnClass.DIRECT, "amount": ColumnClass.PLAIN})
    assert not lake.exists()


def test_a_column_that_comes_out_under_no_key_of_its_own_is_found_before_the_file_appears(
    store: TableStore, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the library, or our configuration of it, went wrong: the bytes are asked."""
    real = pe.EncryptionConfiguration

    def careless(**settings: object) -> pe.EncryptionConfiguration:
        changes = {"protected/direct/people": ["household"], "protected/plain/people": ["amount"]}
        return real(**{**settings, "column_keys": changes})

    for mistake in (
        careless,
        lambda **settings: real(**{**settings, "column_keys": None, "uniform_encryption": True}),
        lambda **settings: real(**{**settings, "encryption_algorithm": "AES_GCM_CTR_V1"}),
        lambda **settings: real(**{**settings, "plaintext_footer": True}),
        lambda **settings: real(**{**settings, "data_key_length_bits": 128}),
        lambda **settings: real(**{**settings, "footer_key": "protected/plain/people"}),
        lambda **settings: real(**{**settings, "column_keys": {"protected/plain/people": TABLE.column_names}}),
    ):
        monkeypatch.setattr(pe, "EncryptionConfiguration", mistake)
        with pytest.raises(IntegrityError) as refusal:
            store.write(PATH, TABLE, CLASSES)
        assert "not made visible" in refusal.value.not_done
        assert [p for p in lake.rglob("*") if p.is_file()] == []


# plaintext in place of an encrypted file


def test_a_plaintext_file_is_refused_where_pyarrow_accepts_it(store: TableStore, lake: Path, ring: KeyRing) -> None:
    store.write(PATH, TABLE, CLASSES)
    pq.write_table(TABLE, lake / PATH)
    properties = FileEncryption(ring).opening(PATH)
    assert pq.ParquetFile(lake / PATH, decryption_properties=properties).read().equals(TABLE)
    for read in (store.read, lambda entry: list(store.batches(entry))):
        with pytest.raises(IntegrityError, match="plaintext is never accepted"):
            read(entry_of(lake))


# splices


def test_every_module_moved_over_from_another_file_is_found(store: TableStore, lake: Path) -> None:
    """Both files have the same layout, and the entry is made to agree."""
    store.write(PATH, TABLE, CLASSES)
    store.write(OTHER, TABLE, CLASSES)
    ours, theirs = (lake / PATH).read_bytes(), (lake / OTHER).read_bytes()
    places = list(modules(ours))
    assert places == list(modules(theirs))
    assert len(places) == 12  # per column: dictionary and data page, each with its header
    for place in (*places, slice(places[0].start, places[-1].stop), slice(places[-1].stop, len(ours))):
        (lake / PATH).write_bytes(ours[: place.start] + theirs[place] + ours[place.stop :])
        with pytest.raises(IntegrityError):
            store.read(entry_of(lake))


def test_modules_that_trade_places_within_a_file_are_found(store: TableStore, lake: Path) -> None:
    with store.writing(PATH, TABLE.schema, CLASSES) as (write, _):
        write(TABLE)
    data = (lake / PATH).read_bytes()
    places = list(modules(data))
    alike = [(a, b) for i, a in enumerate(places) for b in places[i + 1 :] if a.stop - a.start == b.stop - b.start]
    assert alike
    for a, b in alike:
        changed = bytearray(data)
        changed[a], changed[b] = data[b], data[a]
        (lake / PATH).write_bytes(bytes(changed))
        with pytest.raises(IntegrityError):
            store.read(entry_of(lake))


def test_shared_properties_would_let_a_splice_through(home: Path) -> None:
    """What the fresh properties of each of our files prevent, shown without them."""
    factory = pe.CryptoFactory(RawKeys)
    shared = raw_properties(factory)
    mine = raw_write(home / "a", shared)
    strange = TABLE.set_column(1, "name", pa.array(["Ann", MARKER[::-1], None, "Ben"]))
    theirs = raw_write(home / "b", shared, strange)
    places = list(modules(mine))
    spliced = slice(places[0].start, places[-1].stop)
    (home / "a").write_bytes(mine[: spliced.start] + theirs[spliced] + mine[spliced.stop :])
    assert raw_read(home / "a", factory).column("name").to_pylist() == ["Ann", MARKER[::-1], None, "Ben"]


# whole files of one table


def test_whole_files_that_were_swapped_are_found_by_the_entry(store: TableStore, lake: Path) -> None:
    """Each is sound by itself, so that only the manifest can tell."""
    first, second = store.write(PATH, TABLE, CLASSES), store.write(OTHER, TABLE.slice(0, 4), CLASSES)
    a, b = (lake / PATH).read_bytes(), (lake / OTHER).read_bytes()
    (lake / PATH).write_bytes(b)
    (lake / OTHER).write_bytes(a)
    for entry in (first, second):
        with pytest.raises(IntegrityError) as refusal:
            store.read(entry)
        assert refusal.value.where == entry.path
    assert store.read(entry_of(lake)).equals(TABLE)


# cached keys


def test_a_key_that_is_disabled_between_two_files_refuses_the_second(store: TableStore, ring: KeyRing) -> None:
    first, second = store.write(PATH, TABLE, CLASSES), store.write(OTHER, TABLE, CLASSES)
    reading = store.batches(first, rows=1)
    next(reading)
    ring.service.disable(KeyName("protected/direct"))
    ring.announce()
    with pytest.raises(KeyServiceError) as refusal:
        store.read(second)
    assert refusal.value.code == "key.disabled"
    with pytest.raises(KeyServiceError) as refusal:
        store.write(f"{FOLDER}/part-2.parquet", TABLE, CLASSES)
    assert refusal.value.code == "key.disabled"
    assert store.read(second, ["amount"]).num_rows == 4
    assert len(list(reading)) == 3  # the file that was open is read to its end
    ring.service.enable(KeyName("protected/direct"))
    ring.announce()
    assert store.read(second).equals(TABLE)


def test_a_disabled_key_refuses_without_the_epoch_once_the_rings_lifetime_is_over(lake: Path, home: Path) -> None:
    """As when somebody disables the key at the service, past the platform."""
    service = AgeKeyService(home / "keystore")
    store = TableStore(FolderStore(lake), KeyRing(service, home / "dataset-keys", lifetime_s=0))
    entry = store.write(PATH, TABLE, CLASSES)
    assert store.read(entry).equals(TABLE)
    service.disable(KeyName("protected/direct"))
    for work in (lambda: store.read(entry), lambda: store.write(OTHER, TABLE, CLASSES)):
        with pytest.raises(KeyServiceError):
            work()


def test_a_new_version_of_a_dataset_key_wraps_from_the_next_file_on(store: TableStore, ring: KeyRing) -> None:
    key = DatasetKey("protected", "direct", "people")
    first = store.write(PATH, TABLE, CLASSES)
    ring.rotate(key)
    second = store.write(OTHER, TABLE, CLASSES)
    ring.retire(key, below=2)
    assert store.read(second).equals(TABLE)
    assert store.read(first, ["amount"]).num_rows == 4
    for read in (store.read, lambda entry: list(store.batches(entry))):
        with pytest.raises(KeyServiceError) as refusal:  # out of the middle of pyarrow, and still itself
            read(first)
        assert refusal.value.code == "key.missing"


@pytest.mark.parametrize("use", ["footer", "plain"])
def test_a_refusal_from_within_pyarrow_comes_out_as_itself(store: TableStore, ring: KeyRing, use: str) -> None:
    """The newest version opens, and so the check beforehand passes; the one that the file needs is gone."""
    entry = store.write(PATH, TABLE, CLASSES)
    ring.rotate(DatasetKey("protected", use, "people"))
    ring.retire(DatasetKey("protected", use, "people"), below=2)
    for read in (
        store.read,
        lambda entry: store.read(entry, ["amount"], [("amount", ">", 1)]),
        lambda entry: list(store.batches(entry)),
    ):
        with pytest.raises(KeyServiceError) as refusal:
            read(entry)
        assert (refusal.value.code, refusal.value.where) == ("key.missing", f"dataset key protected/{use}/people")


def test_a_key_that_may_not_be_made_is_refused_as_such(granted: tuple[Path, FileEntry]) -> None:
    """The wrap itself is refused, in the callback."""
    home, _ = granted
    team = KeyRing(AgeKeyService(home / "keystore", home / "team.txt", "modelling"), home / "dataset-keys")
    with pytest.raises(AccessRefused) as refusal:
        TableStore(FolderStore(home / "lake"), team).write("protected/strangers/part-0.parquet", TABLE, CLASSES)
    assert refusal.value.code == "access.key"
    assert not (home / "lake" / "protected" / "strangers").exists()


def test_a_dataset_key_that_was_destroyed_opens_nothing_and_writes_nothing(store: TableStore, ring: KeyRing) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    ring.destroy(DatasetKey("protected", "direct", "people"))
    for work in (lambda: store.read(entry), lambda: store.write(OTHER, TABLE, CLASSES)):
        with pytest.raises(KeyServiceError) as refusal:
            work()
        assert refusal.value.code == "key.destroyed"


def test_twenty_files_take_one_wrap_and_one_unwrap_per_key(lake: Path, home: Path) -> None:
    calls: Counter[tuple[str, str]] = Counter()

    class Counting(AgeKeyService):
        def wrap(self, name, key, context):  # type: ignore[no-untyped-def]
            calls["wrap", name] += 1
            return super().wrap(name, key, context)

        def unwrap(self, name, wrapped, context):  # type: ignore[no-untyped-def]
            calls["unwrap", name] += 1
            return super().unwrap(name, wrapped, context)

    store = TableStore(FolderStore(lake), KeyRing(Counting(home / "keystore"), home / "dataset-keys"))
    entries = [store.write(f"{FOLDER}/part-{n}.parquet", TABLE, CLASSES) for n in range(20)]
    for entry in entries:
        assert store.read(entry).equals(TABLE)
    keys = [f"protected/{use}" for use in ("footer", "direct", "plain")]
    assert calls == dict.fromkeys([(call, key) for call in ("wrap", "unwrap") for key in keys], 1)


# denied columns

CHILD = """
import sys
from pathlib import Path
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.errors import AccessRefused
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.encryption import FileEncryption
from cloakhouse.lake.parquet import FileEntry, TableStore
import pyarrow.parquet as pq
home, way = Path(sys.argv[1]), sys.argv[2]
entry = FileEntry(sys.argv[3], int(sys.argv[4]), 4, sys.argv[5])
ring = KeyRing(AgeKeyService(home / "keystore", home / "team.txt", "modelling"), home / "dataset-keys")
store = TableStore(FolderStore(home / "lake"), ring)
assert store.read(entry, ["amount"], [("amount", ">", 1.8)]).num_rows == 2
def raw(**options):
    return pq.read_table(home / "lake" / entry.path, decryption_properties=FileEncryption(ring).opening(entry.path),
                         **options)
try:
    rows = {
        "projection": lambda: store.read(entry, ["amount", "name"]),
        "all": lambda: store.read(entry),
        "where": lambda: store.read(entry, ["amount"], [("name", "=", "Ann"), ("household", "<", 3)]),
        "batches": lambda: next(store.batches(entry, ["name"])),
        "batches where": lambda: next(store.batches(entry, ["amount"], where=[("name", "=", "Ann")])),
        "raw filter": lambda: raw(columns=["amount"], filters=[("name", "=", "Ann")]),
        "raw statistics": lambda: pq.ParquetFile(home / "lake" / entry.path,
            decryption_properties=FileEncryption(ring).opening(entry.path)).metadata.row_group(0).column(1).statistics,
    }[way]()
    print("rows", rows)
except AccessRefused as refusal:
    print(refusal.code, refusal.where, sep="|")
"""
DIRECT_ALL = "class direct: household, name"
WAYS = {
    "projection": "class direct: name",
    "all": DIRECT_ALL,
    "where": DIRECT_ALL,
    "batches": "class direct: name",
    "batches where": "class direct: name",
}


@pytest.fixture(scope="module")
def granted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FileEntry]:
    """A lake whose model team may open footers and plain columns, and no direct identifiers."""
    home = tmp_path_factory.mktemp("granted")
    service = AgeKeyService(home / "keystore")
    entry = TableStore(FolderStore(home / "lake"), KeyRing(service, home / "dataset-keys")).write(PATH, TABLE, CLASSES)
    service.enrol("model-team", identity=home / "team.txt")
    for use in ("footer", "plain"):
        service.grant(Grant("model-team", KeyName(f"protected/{use}"), "modelling"))
    return home, entry


def as_team(granted: tuple[Path, FileEntry], way: str, timeout_s: float) -> tuple[int | None, str, str]:
    """Read as the model team in a child; its exit code is None when it had to be killed."""
    home, entry = granted
    process = start(CHILD, home, way, entry.path, entry.bytes, entry.sha256)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return None, *process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize("way", WAYS)
def test_a_denied_column_is_refused_at_once_by_class_and_name(granted: tuple[Path, FileEntry], way: str) -> None:
    code, out, err = as_team(granted, way, 30)
    assert (code, out.strip()) == (0, f"access.key|{PATH}, columns of {WAYS[way]}"), err


@pytest.mark.parametrize("way", ["raw filter", "raw statistics"])
def test_pyarrow_alone_aborts_hangs_or_raises_at_a_denied_column(granted: tuple[Path, FileEntry], way: str) -> None:
    """Why the keys are asked for first. It never returns rows; how it fails differs from time to time."""
    code, out, _ = as_team(granted, way, 6)
    assert code != 0
    assert "rows" not in out


def test_a_denied_column_named_like_the_start_of_another_opens_neither(granted: tuple[Path, FileEntry]) -> None:
    """pyarrow takes `amount` for `amount.of`, too."""
    home, _ = granted
    table = pa.table({"amount": [1], "amount.of": ["x"]})
    path = f"{FOLDER}/dotted.parquet"
    classes = {"amount": ColumnClass.PLAIN, "amount.of": ColumnClass.DIRECT}
    platform = TableStore(FolderStore(home / "lake"), KeyRing(AgeKeyService(home / "keystore"), home / "dataset-keys"))
    entry = platform.write(path, table, classes)
    assert platform.read(entry, ["amount"]).equals(table.select(["amount"]))
    assert next(platform.batches(entry, ["amount"])).schema.names == ["amount"]
    team = AgeKeyService(home / "keystore", home / "team.txt", "modelling")
    with pytest.raises(AccessRefused, match=r"amount\.of"):
        TableStore(FolderStore(home / "lake"), KeyRing(team, home / "dataset-keys")).read(entry, ["amount"])


def test_without_the_footers_key_nothing_is_told_of_the_file(granted: tuple[Path, FileEntry]) -> None:
    home, entry = granted
    team = AgeKeyService(home / "keystore", home / "team.txt", "another purpose")
    with pytest.raises(AccessRefused):
        TableStore(FolderStore(home / "lake"), KeyRing(team, home / "dataset-keys")).read(entry, ["no such column"])


def test_a_revoked_reader_is_refused_at_the_next_file(home: Path, lake: Path, ring: KeyRing) -> None:
    platform = TableStore(FolderStore(lake), ring)
    entries = [platform.write(f"{FOLDER}/part-{n}.parquet", TABLE, CLASSES) for n in range(3)]
    service = AgeKeyService(home / "keystore")
    service.enrol("model-team", identity=home / "team.txt")
    grants = [Grant("model-team", KeyName(f"protected/{use}"), "modelling") for use in ("footer", "direct", "plain")]
    for grant in grants:
        service.grant(grant)
    team = AgeKeyService(home / "keystore", home / "team.txt", "modelling")
    store = TableStore(FolderStore(lake), KeyRing(team, home / "dataset-keys"))
    assert store.read(entries[0]).equals(TABLE)
    service.revoke(grants[1])
    ring.announce()
    with pytest.raises(AccessRefused, match="class direct: household, name"):
        store.read(entries[1])
    assert store.read(entries[2], ["amount"]).num_rows == 4


# algorithms and forms


def test_the_algorithm_in_the_bytes_is_the_one_that_authenticates_pages(
    store: TableStore, lake: Path, home: Path
) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    with (lake / PATH).open("rb") as stream:
        assert read_crypto(stream, entry.bytes).algorithm == "AES_GCM_V1"
    properties = raw_properties(pe.CryptoFactory(RawKeys), encryption_algorithm="AES_GCM_CTR_V1")
    size = len(raw_write(home / "ctr", properties))
    with (home / "ctr").open("rb") as stream:
        assert read_crypto(stream, size).algorithm == "AES_GCM_CTR_V1"


def test_key_material_is_inside_the_file_and_no_other_file_appears(store: TableStore, lake: Path) -> None:
    store.write(PATH, TABLE, CLASSES)
    assert [p for p in lake.rglob("*") if p.is_file()] == [lake / PATH]
    data = (lake / PATH).read_bytes()
    start = data.index(b'{"keyMaterialType"')
    material = json.loads(data[start : data.index(b"}", start) + 1])
    assert material["internalStorage"] is True
    assert material["doubleWrapping"] is True
    assert material["masterKeyID"] == "protected/footer/people"


def test_nanoseconds_are_written_as_microseconds(store: TableStore, lake: Path, ring: KeyRing) -> None:
    moments = pa.array([1_000, None, 2_000_000], pa.timestamp("ns"))
    store.write(PATH, pa.table({"at": moments}), {"at": ColumnClass.PLAIN})
    properties = FileEncryption(ring).opening(PATH)
    column = pq.ParquetFile(lake / PATH, decryption_properties=properties).schema.column(0)
    assert json.loads(column.logical_type.to_json())["timeUnit"] == "microseconds"
    found = store.read(entry_of(lake, rows=3)).column("at").cast(pa.timestamp("us")).to_pylist()
    assert found == [dt.datetime(1970, 1, 1, 0, 0, 0, 1), None, dt.datetime(1970, 1, 1, 0, 0, 0, 2000)]


def test_nanoseconds_that_would_be_lost_are_refused_without_the_value(store: TableStore, lake: Path) -> None:
    table = pa.table({"at": pa.array([1_234_567_891], pa.timestamp("ns"))})
    with pytest.raises(IntegrityError) as refusal:
        store.write(PATH, table, {"at": ColumnClass.PLAIN})
    assert "1234567891" not in str(refusal.value)
    assert [p for p in lake.rglob("*") if p.is_file()] == []


# every byte


def every_change(lake: Path, store: TableStore, table: pa.Table, changed: Callable[[bytes], Iterator[bytes]]) -> None:
    """Read each of the `changed` files with an entry that agrees: an error of ours, or the same rows."""
    data = (lake / PATH).read_bytes()
    same = 0
    for broken in changed(data):
        (lake / PATH).write_bytes(broken)
        try:
            found = store.read(entry_of(lake, rows=table.num_rows))
        except (IntegrityError, KeyServiceError):
            continue
        assert found.equals(table)
        same += 1
    assert same < len(data) // 20  # spare bits of base64, and a field of the key material that nobody reads


def flips(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        for bit in (0x01, 0x80):
            yield data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def cuts(data: bytes) -> Iterator[bytes]:
    for length in range(len(data)):
        yield data[:length]


@pytest.mark.parametrize("changed", [flips, cuts])
def test_no_byte_changed_or_missing_ever_gives_other_rows(
    store: TableStore, lake: Path, changed: Callable[[bytes], Iterator[bytes]]
) -> None:
    """The entry always agrees, so that the file's own tags must find it. In a child: pyarrow must not abort."""
    table = TABLE.select(["name", "amount"]).slice(1, 2)
    store.write(PATH, table, CLASSES)
    assert in_fork(lambda: every_change(lake, store, table, changed), timeout_s=120) == 0


def test_every_flipped_byte_is_found_by_the_entry(store: TableStore, lake: Path) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    for broken in flips((lake / PATH).read_bytes()):
        (lake / PATH).write_bytes(broken)
        with pytest.raises(CloakhouseError) as refusal:
            store.read(entry)
        assert refusal.value.code == "integrity"


def test_an_entry_of_other_rows_is_found(store: TableStore) -> None:
    entry = store.write(PATH, TABLE, CLASSES)
    with pytest.raises(IntegrityError):
        store.read(replace(entry, rows=3))
