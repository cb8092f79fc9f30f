"""What is encrypted, told from the bytes: real lakes, and everything that somebody might put there instead."""

from __future__ import annotations

import os
import shutil
import struct
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import StorageError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.coverage import Coverage, Kind, Place, PlaceCoverage, Protection, coverage
from cloakhouse.lake.encryption import KeyRingClient
from cloakhouse.lake.landed import LandedObject, landing, rewrap
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.thrift import ThriftError, read_struct

MARKER = "Zwetschgenhuber"
TABLE = pa.table({"household": [1, 2, 3] * 50, "name": ["Ann", MARKER, None] * 50, "amount": [1.5, None, 7.25] * 50})
CLASSES = {"household": ColumnClass.DIRECT, "name": ColumnClass.SENSITIVE, "amount": ColumnClass.PLAIN}
PATH = "protected/people/part-0.parquet"
OWN, FOOTER, NONE = Protection
TARGET = LandedObject("people", "2017-01-02", "people.csv")


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(AgeKeyService(tmp_path / "keystore"), tmp_path / "dataset-keys")


@pytest.fixture
def lake(tmp_path: Path, ring: KeyRing) -> Path:
    """Two tables, one of them with many row groups, an empty one, a landed file, a manifest."""
    lake = tmp_path / "lake"
    store = TableStore(FolderStore(lake), ring)
    store.write(PATH, TABLE, CLASSES)
    store.write("protected/people/empty.parquet", TABLE.slice(0, 0), CLASSES)
    with store.writing("synthetic/people/part-0.parquet", TABLE.schema, CLASSES) as (write, _):
        for _ in range(2000):
            write(TABLE)
    with landing(FolderStore(lake), TARGET, ring) as writer:
        writer.write(b"name\n" + MARKER.encode() * 1000)
    write_manifest(FolderStore(lake), "protected/people", "protected", {"files": []})
    return lake


def part(found: Coverage, zone: str, place: Place) -> PlaceCoverage:
    return next(part for part in found.parts if (part.zone, part.dataset, part.place) == (zone, "people", place))


def kinds(found: Coverage) -> dict[str, set[Kind]]:
    return {f.path: {g.kind for g in found.findings if g.path == f.path} for f in found.findings}


def size_of(lake: Path, *patterns: str) -> int:
    return sum(p.stat().st_size for pattern in patterns for p in lake.glob(pattern) if p.is_file())


def raw(path: Path, ring: KeyRing, written: dict[str, object] | None = None, **changes: object) -> None:
    """Write as a careless program with our keys would."""
    settings = {
        "footer_key": "protected/footer/people",
        "column_keys": {"protected/direct/people": TABLE.column_names},
        "encryption_algorithm": "AES_GCM_V1",
        "data_key_length_bits": 256,
    }
    factory = pe.CryptoFactory(lambda _config: KeyRingClient(ring))
    configuration = pe.EncryptionConfiguration(**{**settings, **changes})
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), configuration)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(TABLE, path, encryption_properties=properties, **(written or {}))


def test_a_lake_of_ours_is_covered_to_the_last_byte(lake: Path, ring: KeyRing) -> None:
    for found in (coverage(lake, ring), coverage(lake, ring, deep=True)):
        assert found.findings == ()
        assert (found.complete, found.byte_share, found.column_share) == (True, 1.0, 1.0)
        assert found.columns == {OWN: 6, FOOTER: 0, NONE: 0}
        assert [(p.zone, p.place, p.files) for p in found.parts] == [
            ("landing", Place.LANDED, 1),
            ("protected", Place.PARQUET, 2),
            ("protected", Place.RECORD, 1),
            ("synthetic", Place.PARQUET, 1),
        ]
        total = sum(p.encrypted + p.plaintext + p.structure for p in found.parts)
        assert total == size_of(lake, "**/*")
        assert part(found, "landing", Place.LANDED).structure == 8192
        assert part(found, "protected", Place.PARQUET).structure < 2 * 600  # magics and the footer's key material


def test_deep_checks_the_tag_of_every_encrypted_byte(lake: Path, ring: KeyRing) -> None:
    found = coverage(lake, ring, deep=True)
    assert all(p.checked == p.encrypted for p in found.parts)
    assert all(p.checked == 0 for p in coverage(lake, ring).parts)


def test_without_keys_bytes_are_told_and_columns_are_not(lake: Path, ring: KeyRing) -> None:
    found = coverage(lake)
    assert (found.findings, found.byte_share, found.column_share) == ((), 1.0, None)
    assert part(found, "protected", Place.PARQUET).unopened == 2
    assert found.encrypted_bytes == coverage(lake, ring).encrypted_bytes


def test_plain_parquet_is_listed(lake: Path, ring: KeyRing) -> None:
    pq.write_table(TABLE, lake / "protected/people/plain.parquet")
    for given_ring in (ring, None):
        found = coverage(lake, given_ring)
        assert kinds(found) == {"protected/people/plain.parquet": {Kind.PLAINTEXT}}
        assert found.plaintext_bytes == size_of(lake, "protected/people/plain.parquet") - 12
        assert found.byte_share < 1
        assert found.columns[NONE] == 3
        assert not found.complete


def test_a_column_left_out_of_the_keys_is_found_with_keys_and_without(lake: Path, ring: KeyRing) -> None:
    path = "protected/people/partly.parquet"
    raw(lake / path, ring, column_keys={"protected/direct/people": ["household", "amount"]})
    assert (lake / path).read_bytes()[:4] + (lake / path).read_bytes()[-4:] == b"PAREPARE"
    found = coverage(lake, ring)
    assert kinds(found) == {path: {Kind.PARTLY}}
    assert (found.columns[OWN], found.columns[NONE]) == (8, 1)
    assert 0 < found.plaintext_bytes < size_of(lake, path) / 2
    assert "1 columns" in found.findings[0].detail
    blind = coverage(lake)
    assert kinds(blind) == {path: {Kind.PARTLY}}
    assert blind.plaintext_bytes >= found.plaintext_bytes  # without the footer nobody knows where the column ends


@pytest.mark.parametrize("column", TABLE.column_names)
def test_the_plaintext_bytes_are_those_of_the_column(lake: Path, ring: KeyRing, column: str) -> None:
    path = "protected/people/partly.parquet"
    raw(lake / path, ring, column_keys={"protected/direct/people": [c for c in TABLE.column_names if c != column]})
    pq.write_table(TABLE.select([column]), lake.parent / "alone.parquet")
    chunk = pq.ParquetFile(lake.parent / "alone.parquet").metadata.row_group(0).column(0)
    assert coverage(lake, ring).plaintext_bytes == chunk.total_compressed_size
    assert coverage(lake, ring, deep=True).plaintext_bytes == chunk.total_compressed_size


def test_a_uniform_key_counts_as_the_footers(lake: Path, ring: KeyRing) -> None:
    path = "protected/people/uniform.parquet"
    raw(lake / path, ring, column_keys=None, uniform_encryption=True)
    for deep in (False, True):
        found = coverage(lake, ring, deep=deep)
        assert kinds(found) == {path: {Kind.OTHERWISE}}
        assert (found.columns, found.byte_share) == ({OWN: 6, FOOTER: 3, NONE: 0}, 1.0)


def test_single_wrapping_is_read_too(lake: Path, ring: KeyRing) -> None:
    raw(lake / PATH, ring, double_wrapping=False)
    for deep in (False, True):
        assert coverage(lake, ring, deep=deep).complete


@pytest.mark.parametrize("double", [True, False])
def test_shorter_keys_are_found(lake: Path, ring: KeyRing, double: bool) -> None:
    raw(lake / PATH, ring, data_key_length_bits=128, double_wrapping=double)
    assert [f.detail for f in coverage(lake).findings] == ["a key of 128 bits for the footer"]
    assert [f.kind for f in coverage(lake, ring, deep=True).findings] == [Kind.OTHERWISE] * 2


def test_page_indexes_are_modules_like_others(lake: Path, ring: KeyRing) -> None:
    raw(lake / PATH, ring, written={"write_page_index": True})
    found = coverage(lake, ring, deep=True)
    assert found.complete
    assert all(p.checked == p.encrypted for p in found.parts)


def test_aes_ctr_is_found_without_a_key(lake: Path, ring: KeyRing) -> None:
    path = "protected/people/ctr.parquet"
    raw(lake / path, ring, encryption_algorithm="AES_GCM_CTR_V1")
    for found in (coverage(lake), coverage(lake, ring), coverage(lake, ring, deep=True)):
        assert kinds(found) == {path: {Kind.OTHERWISE}}
        assert "AES_GCM_CTR_V1" in found.findings[0].detail


def test_a_footer_in_plaintext_is_found(lake: Path, ring: KeyRing) -> None:
    path = "protected/people/footer.parquet"
    raw(lake / path, ring, plaintext_footer=True)
    for given_ring in (ring, None):
        found = coverage(lake, given_ring)
        assert kinds(found) == {path: {Kind.PARTLY}}
        assert found.columns[OWN] == (9 if given_ring else 3)
        assert 0 < found.plaintext_bytes < size_of(lake, path)


def test_keys_of_another_dataset_are_found(lake: Path, ring: KeyRing) -> None:
    path = "protected/strangers/part-0.parquet"
    (lake / path).parent.mkdir()
    shutil.copy(lake / PATH, lake / path)
    found = coverage(lake, ring)
    assert [(f.path, f.kind) for f in found.findings] == [(path, Kind.OTHERWISE)] * 2


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("landing/people/2017-01-02/copy.csv", MARKER.encode()),
        ("protected/people/dump.json", b'{"name": "' + MARKER.encode() + b'"}'),
        ("protected/people/protected-0123456789abcdef.json", b'{"name": "' + MARKER.encode() + b'"}'),
        ("protected/people/empty", b""),
        ("notes.txt", b"PAR"),
        ("protected/people/.part-0.parquet.0123456789ab.tmp", b"PARE"),
    ],
)
def test_anything_else_is_listed_as_not_encrypted(lake: Path, ring: KeyRing, path: str, content: bytes) -> None:
    (lake / path).write_bytes(content)
    found = coverage(lake, ring)
    assert kinds(found) == {path: {Kind.PLAINTEXT}}
    assert found.plaintext_bytes == len(content)
    assert MARKER not in str(found)


def test_links_pipes_and_forbidden_files_are_listed_and_not_opened(lake: Path, ring: KeyRing, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.csv").write_text(MARKER)
    (lake / "protected" / "linked").symlink_to(tmp_path / "outside")
    (lake / "protected" / "loop").symlink_to(lake)
    (lake / "protected" / "link.parquet").symlink_to(lake / PATH)
    os.mkfifo(lake / "protected" / "pipe")
    found = coverage(lake, ring, deep=True)
    names = ("linked", "loop", "link.parquet", "pipe")
    assert kinds(found) == {f"protected/{name}": {Kind.UNREADABLE} for name in names}
    assert found.byte_share == 1.0


@pytest.mark.parametrize("path", [PATH, TARGET.path])
def test_a_file_cut_anywhere_is_listed_and_never_an_error(lake: Path, ring: KeyRing, path: str) -> None:
    shutil.rmtree(lake / "synthetic")
    data = (lake / path).read_bytes()
    for length in (*range(60), *range(60, len(data), 211), len(data) - 1):
        (lake / path).write_bytes(data[:length])
        found = coverage(lake, ring, deep=True)
        assert path in kinds(found), length
        assert found.byte_share < 1 or length == 0
        coverage(lake)


def test_deep_finds_a_bit_flipped_anywhere(lake: Path, ring: KeyRing) -> None:
    """In the file's own bytes; what stays unnoticed is read by nobody, and stands before the encrypted footer."""
    data = (lake / PATH).read_bytes()
    shutil.rmtree(lake / "synthetic")
    shutil.rmtree(lake / "landing")
    footer = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    for at in range(0, len(data), 3):
        (lake / PATH).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        found = coverage(lake, ring, deep=True)
        assert not found.complete or footer <= at < footer + 600


def test_a_bit_flipped_in_a_landed_file_is_found_by_deep(lake: Path, ring: KeyRing) -> None:
    data = bytearray((lake / TARGET.path).read_bytes())
    data[-100] ^= 1
    (lake / TARGET.path).write_bytes(bytes(data))
    assert coverage(lake, ring).complete
    assert kinds(coverage(lake, ring, deep=True)) == {TARGET.path: {Kind.DAMAGED}}


def test_a_landed_file_under_another_name_is_found(lake: Path, ring: KeyRing) -> None:
    for path in ("landing/strangers/2017-01-02/people.csv", "protected/people/people.csv", "people.csv"):
        (lake / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(lake / TARGET.path, lake / path)
        assert kinds(coverage(lake, ring)) == {path: {Kind.DAMAGED}}
        (lake / path).unlink()


def test_a_landed_file_whose_key_was_wrapped_again_is_covered(lake: Path, ring: KeyRing) -> None:
    ring.rotate(TARGET.key)
    assert rewrap(FolderStore(lake), TARGET, ring)
    assert coverage(lake, ring, deep=True).complete
    assert part(coverage(lake), "landing", Place.LANDED).files == 1


def test_forged_modules_pass_without_keys_and_not_with_deep(lake: Path, ring: KeyRing) -> None:
    """Why `deep` exists: plaintext with lengths in front looks like a chain of modules."""
    data = (lake / PATH).read_bytes()
    length = struct.unpack("<I", data[4:8])[0]
    (lake / PATH).write_bytes(data[:8] + (MARKER.encode() * length)[:length] + data[8 + length :])
    assert coverage(lake, ring).complete
    assert kinds(coverage(lake, ring, deep=True)) == {PATH: {Kind.DAMAGED}}


def test_bytes_that_belong_to_no_column_are_found_by_deep(lake: Path, ring: KeyRing) -> None:
    data = (lake / PATH).read_bytes()
    footer = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    smuggled = struct.pack("<I", 1000) + (MARKER.encode() * 100)[:1000]
    (lake / PATH).write_bytes(data[:footer] + smuggled + data[footer:])
    assert coverage(lake, ring).complete
    assert kinds(coverage(lake, ring, deep=True)) == {PATH: {Kind.DAMAGED}}


def test_keys_that_are_refused_leave_files_unopened_and_say_so(lake: Path, ring: KeyRing, tmp_path: Path) -> None:
    service = AgeKeyService(tmp_path / "keystore")
    service.enrol("auditor", identity=tmp_path / "auditor.txt")
    for use in ("footer", "direct", "plain"):
        service.grant(Grant("auditor", KeyName(f"protected/{use}"), "audit"))
    auditor = KeyRing(
        AgeKeyService(tmp_path / "keystore", tmp_path / "auditor.txt", "audit"), tmp_path / "dataset-keys"
    )
    found = coverage(lake, auditor)
    assert kinds(found) == {"synthetic/people/part-0.parquet": {Kind.UNCHECKED}}
    assert (found.columns[OWN], found.byte_share) == (3, 1.0)
    deep = coverage(lake, auditor, deep=True)
    assert kinds(deep) == {path: {Kind.UNCHECKED} for path in (PATH, TARGET.path, "synthetic/people/part-0.parquet")}
    assert all("access.key" in f.detail for f in deep.findings)


def test_a_destroyed_key_leaves_the_bytes_encrypted_and_unopened(lake: Path, ring: KeyRing) -> None:
    ring.destroy(DatasetKey("protected", "footer", "people"))
    found = coverage(lake, ring)
    assert set(kinds(found)) == {PATH, "protected/people/empty.parquet"}
    assert found.byte_share == 1.0
    assert part(found, "protected", Place.PARQUET).unopened == 2


def test_an_empty_lake_and_none(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    assert coverage(tmp_path / "lake") == Coverage((), ())
    assert coverage(tmp_path / "lake").byte_share == 1.0
    assert coverage(tmp_path / "none") == Coverage((), ())
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        coverage(tmp_path / "file")


def test_memory_stays_bounded_for_a_large_file(lake: Path, ring: KeyRing) -> None:
    with landing(FolderStore(lake), LandedObject("people", "2017-01-09", "large.csv"), ring) as writer:
        for _ in range(64):
            writer.write(bytes(1 << 20))
    tracemalloc.start()
    assert coverage(lake, ring, deep=True).complete
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


@given(st.binary(max_size=300), st.sampled_from([b"PARE", b"PAR1", b"CHL2", b"\0\0\0\0"]))
def test_garbage_between_the_right_magics_is_damage_or_plaintext(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, magic: bytes
) -> None:
    lake = tmp_path_factory.mktemp("garbage", numbered=True)
    (lake / "landing").mkdir()
    body = magic + content + struct.pack("<I", len(content)) + magic
    (lake / "landing" / "file").write_bytes(body)
    found = coverage(lake)
    assert {f.kind for f in found.findings} <= {Kind.DAMAGED, Kind.PLAINTEXT}
    assert len(found.findings) == 1
    assert found.encrypted_bytes == 0


@given(st.data())
def test_a_readable_footer_with_any_bytes_changed_is_never_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The parts that anybody can change without a key: a plaintext footer, and an encrypted file's crypto metadata."""
    for name in ("footer", "ctr"):
        lake = tmp_path_factory.getbasetemp() / f"readable-{name}"
        if not lake.exists():
            keys = KeyRing(AgeKeyService(lake.with_name("keystore")), lake.with_name("dataset-keys"))
            changes = {"plaintext_footer": True} if name == "footer" else {"encryption_algorithm": "AES_GCM_CTR_V1"}
            raw(lake / "sound", keys, **changes)
        content = bytearray((lake / "sound").read_bytes())
        start = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
        for at in data.draw(st.lists(st.integers(start, len(content) - 1), min_size=1, max_size=4)):
            content[at] = data.draw(st.integers(0, 255))
        (lake / "changed").write_bytes(bytes(content))
        assert {"sound", "changed"} == set(kinds(coverage(lake)))


def outcome(data: bytes) -> object:
    try:
        return read_struct(data)
    except ThriftError as fault:
        return str(fault)


@given(st.binary(max_size=2000))
def test_any_bytes_give_a_struct_or_our_error(data: bytes) -> None:
    found = outcome(data)
    assert isinstance(found, str) or found[1] <= len(data)  # type: ignore[index]


@given(st.integers(0, 2**63), st.sampled_from([b"\x18", b"\x19", b"\x1a", b"\x1b"]), st.binary(max_size=20))
def test_a_length_that_the_bytes_do_not_have_allocates_nothing(size: int, field: bytes, rest: bytes) -> None:
    number = bytearray()
    while True:
        number.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            break
    head = {b"\x18": b"", b"\x19": b"\xf5", b"\x1a": b"\xf8", b"\x1b": b""}[field]
    tracemalloc.start()
    outcome(field + head + bytes(number) + rest)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "end"),
        (b"\x15", "end"),
        (b"\x1c" * 100 + b"\0" * 101, "nested"),
        (b"\x19\x1c" * 100, "more than"),
        (b"\x19" * 100, "more than"),
        (b"\x15" + b"\xff" * 11, "64 bits"),
        (b"\x1d\0", "type"),
        (b"\x1b\x01\xc5\x00\x00\x00", "plain values"),
        (b"\x11" * 3_000_000, "too many"),
        (b"\x19\xf1" + b"\x80\x89\x7a" + b"\x01" * 2_000_001, "too many"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_struct_are_told_apart(data: bytes, reason: str) -> None:
    assert reason in str(outcome(data))


def test_every_type_of_the_protocol() -> None:
    """Written by hand after the specification."""
    data = (
        b"\x11" + b"\x12"  # 1: true, 2: false
        + b"\x13\xff"  # 3: byte -1
        + b"\x14\x03"  # 4: i16 -2
        + b"\x15\xac\x02"  # 5: i32 150
        + b"\x16\x01"  # 6: i64 -1
        + b"\x17" + struct.pack("<d", 1.5)  # 7
        + b"\x18\x02hi"  # 8
        + b"\x19\x25\x02\x04"  # 9: list of i32 [1, 2]
        + b"\x1a\x12\x01"  # 10: set of bool [true]
        + b"\x1b\x01\x58\x02\x01a"  # 11: map of i32 to binary {1: a}
        + b"\x1c\x15\x02\x00"  # 12: struct {1: 1}
        + b"\x1b\x00"  # 13: empty map
        + b"\x05\x50\x02"  # 40, as a long field id: i32 1
        + b"\x00"
    )  # fmt: skip
    expected = {
        1: True, 2: False, 3: -1, 4: -2, 5: 150, 6: -1, 7: 1.5, 8: b"hi", 9: [1, 2], 10: [True], 11: {1: b"a"},
        12: {1: 1}, 13: {}, 40: 1,
    }  # fmt: skip
    assert read_struct(data + b"rest") == (expected, len(data))
