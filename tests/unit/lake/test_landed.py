"""Landed files on a real disk: what was written comes back or nothing does, whatever happens to the bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.support.crash import crash_everywhere, limit_file_size, small_disk
from tests.support.processes import in_fork, run

from cloakhouse.errors import CloakhouseError, IntegrityError, KeyServiceError, StorageError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.landed import LandedObject, landing, opened
from cloakhouse.lake.slots import AREA, DIGEST, ROOM, SLOT
from cloakhouse.lake.store.folder import FolderStore

TARGET = LandedObject("people", "2017-01-02", "abc.chl")
MARKER = b"Zwetschgenhuber"
PLAIN = b"id,name\n1," + MARKER + b"\n"


def ring_in(folder: Path) -> KeyRing:
    return KeyRing(AgeKeyService(folder / "keystore"), folder / "dataset-keys")


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return ring_in(tmp_path)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def put(lake: Path, ring: KeyRing, plain: bytes = PLAIN, target: LandedObject = TARGET) -> Path:
    with landing(FolderStore(lake), target, ring) as writer:
        writer.write(plain)
    return lake / target.path


def get(lake: Path, ring: KeyRing, target: LandedObject = TARGET) -> bytes:
    with opened(FolderStore(lake), target, ring) as stream:
        return stream.read()


def refused(lake: Path, ring: KeyRing, target: LandedObject = TARGET) -> CloakhouseError:
    with pytest.raises((IntegrityError, KeyServiceError)) as refusal:
        get(lake, ring, target)
    assert MARKER.decode() not in str(refusal.value)
    return refusal.value


def slot(content: object, serial: int = 1, magic: bytes = b"CHL2") -> bytes:
    """Return the bytes of a slot, as the format's description has them; `content` as JSON unless bytes."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    filled = (magic + struct.pack(">II", serial, len(raw)) + raw).ljust(SLOT - DIGEST, b"\0")
    return filled + hashlib.sha256(filled).digest()


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header in slot 0, and the stream."""
    (length,) = struct.unpack_from(">I", data, 8)
    return json.loads(data[12 : 12 + length]), data[AREA:]


def with_header(header: object, stream: bytes) -> bytes:
    return slot(header) + bytes(SLOT) + stream


@pytest.mark.parametrize("size", [0, 1, 100, (1 << 20) + 7, 3 << 20])
def test_round_trip(lake: Path, ring: KeyRing, size: int) -> None:
    plain = bytes(bytearray(range(256)) * (size // 256 + 1))[:size]
    path = put(lake, ring, plain)
    assert get(lake, ring) == plain
    assert path == lake / "landing" / "people" / "2017-01-02" / "abc.chl"
    assert path.stat().st_mode & 0o077 == 0


def test_no_plaintext_in_the_file_and_a_documented_header(lake: Path, ring: KeyRing) -> None:
    data = put(lake, ring, MARKER * 1000).read_bytes()
    assert MARKER not in data
    header, stream = header_of(data)
    assert header.pop("wrapped")
    assert header == {"format": 2, "key": "landing/file/people", "context": TARGET.context()}
    assert data[:SLOT] == slot(header_of(data)[0])
    assert data[SLOT:AREA] == bytes(SLOT)
    assert stream[0] == 40


def test_every_flipped_byte_is_found_or_stands_in_the_unused_slot(lake: Path, ring: KeyRing) -> None:
    path = put(lake, ring)
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for at in range(len(data)):
            unused = SLOT <= at < AREA
            for bit in (0x80,) if unused else (0x01, 0x20, 0x80) if at > AREA or at < 512 else (0x01,):
                os.pwrite(file.fileno(), bytes([data[at] ^ bit]), at)
                if unused:
                    assert get(lake, ring) == PLAIN
                else:
                    refused(lake, ring)
            os.pwrite(file.fileno(), data[at : at + 1], at)
    assert path.read_bytes() == data
    assert get(lake, ring) == PLAIN


def test_truncation_at_every_length_and_appended_bytes_are_found(lake: Path, ring: KeyRing) -> None:
    path = put(lake, ring)
    data = path.read_bytes()
    with path.open("ab", buffering=0) as file:
        for extra in (b"\0", data, data[AREA:]):
            file.write(extra)
            refused(lake, ring)
            file.truncate(len(data))
        for length in reversed(range(len(data))):
            file.truncate(length)
            refused(lake, ring)


def test_reordered_segments_and_those_of_another_file_are_found(lake: Path, ring: KeyRing) -> None:
    path = put(lake, ring, bytes(4 << 20))
    data, segment = path.read_bytes(), 1 << 20
    other = put(lake, ring, bytes(4 << 20), LandedObject("people", "2017-01-02", "def.chl")).read_bytes()
    parts = [data[AREA + at : AREA + at + segment] for at in range(0, len(data) - AREA, segment)]
    for order in ((1, 0, 2, 3, 4), (0, 2, 1, 3, 4), (0, 1, 2, 4), (0, 1, 2, 3), (0, 1, 1, 2, 3, 4)):
        path.write_bytes(data[:AREA] + b"".join(parts[number] for number in order))
        refused(lake, ring)
    path.write_bytes(data[: AREA + segment] + other[AREA + segment :])
    refused(lake, ring)
    path.write_bytes(data)
    assert get(lake, ring) == bytes(4 << 20)


def test_the_header_of_another_file_is_found(lake: Path, ring: KeyRing) -> None:
    path = put(lake, ring)
    other = put(lake, ring, target=LandedObject("people", "2017-01-09", "abc.chl")).read_bytes()
    again = put(lake, ring, target=LandedObject("people", "2017-01-02", "def.chl")).read_bytes()
    header, stream = header_of(path.read_bytes())
    for foreign in (other, again):
        path.write_bytes(with_header(header_of(foreign)[0], stream))
        assert "another" in refused(lake, ring).found
        path.write_bytes(with_header(header, header_of(foreign)[1]))
        refused(lake, ring)
        borrowed = {**header_of(foreign)[0], "context": header["context"]}
        path.write_bytes(with_header(borrowed, stream))
        refused(lake, ring)


def test_a_moved_file_does_not_open(lake: Path, ring: KeyRing) -> None:
    path = put(lake, ring)
    for target in (
        LandedObject("people", "2017-01-02", "other.chl"),
        LandedObject("people", "2017-01-09", "abc.chl"),
        LandedObject("folk", "2017-01-02", "abc.chl"),
    ):
        (lake / target.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, lake / target.path)
        assert refused(lake, ring, target).where == target.path


@pytest.mark.parametrize("content", [b"", b"CHL", b"id,name\n1,x\n", b"\x1f\x8b\x08\0\0\0\0\0", b"PAR1PAR1PAR1"])
def test_plaintext_in_place_of_the_file_is_refused(lake: Path, ring: KeyRing, content: bytes) -> None:
    put(lake, ring).write_bytes(content)
    error = refused(lake, ring)
    assert error.expected == "an encrypted landed file (CHL2)"
    assert "supersede" in error.remedy


def test_a_missing_file(lake: Path, ring: KeyRing) -> None:
    assert refused(lake, ring).found == "no file"


def test_a_folder_in_place_of_the_file(lake: Path, ring: KeyRing) -> None:
    (lake / TARGET.path).mkdir(parents=True)
    with pytest.raises(StorageError):
        get(lake, ring)


def changed(header: dict[str, object]) -> dict[str, object]:
    """Return one bad header for each fault."""
    wrapped = str(header["wrapped"])
    context = dict(header["context"])  # type: ignore[call-overload]
    return {
        "unknown_version": {**header, "format": 3},
        "version_as_text": {**header, "format": "2"},
        "version_as_float": {**header, "format": 2.0},
        "key_of_another_use": {**header, "key": "protected/direct/people"},
        "key_of_another_dataset": {**header, "key": "landing/file/folk"},
        "no_context": {k: v for k, v in header.items() if k != "context"},
        "context_as_text": {**header, "context": "landing"},
        "context_with_more": {**header, "context": {**context, "more": "x"}},
        "context_reordered": {**header, "context": dict(reversed(context.items()))},
        "no_wrapped_key": {k: v for k, v in header.items() if k != "wrapped"},
        "wrapped_key_null": {**header, "wrapped": None},
        "wrapped_key_not_base64": {**header, "wrapped": "*" + wrapped},
        "wrapped_key_short": {**header, "wrapped": base64.b64encode(b"CHD1").decode()},
        "more_keys": {**header, "more": 1},
        "spaces": json.dumps(header, indent=1).encode(),
        "a_list": [header],
        "a_text": "header",
        "null": None,
        "empty": b"",
        "not_utf8": b"\xff\xfe{}",
        "deep": b"[" * ROOM,
        "key_twice": json.dumps(header).encode()[:-1] + b', "format": 2}',
    }


@pytest.mark.parametrize("fault", list(changed({"wrapped": "", "context": {}})))
def test_a_header_of_another_form_is_refused(lake: Path, ring: KeyRing, fault: str) -> None:
    path = put(lake, ring)
    header, stream = header_of(path.read_bytes())
    path.write_bytes(with_header(changed(header)[fault], stream))
    refused(lake, ring)


@pytest.mark.parametrize("version", ["CHL1", "CHL3", "CHL9"])
def test_another_version_of_the_format_is_told_as_such(lake: Path, ring: KeyRing, version: str) -> None:
    path = put(lake, ring)
    header, stream = header_of(path.read_bytes())
    older = version.encode() + struct.pack(">I", 100) + json.dumps(header).encode() + stream
    for content in (slot(header, magic=version.encode()) + bytes(SLOT) + stream, older, version.encode()):
        path.write_bytes(content)
        error = refused(lake, ring)
        assert error.code == "integrity.version"
        assert version in error.found
        assert "CHL2" in error.expected
        assert "version of the platform" in error.remedy


def test_a_slot_beyond_its_bounds_is_none(lake: Path, ring: KeyRing) -> None:
    path = put(lake, ring)
    header, stream = header_of(path.read_bytes())
    good = slot(header)
    for length in (0xFFFF_FFFF, SLOT, ROOM + 1, len(json.dumps(header)) - 1):
        filled = good[:8] + struct.pack(">I", length) + good[12:-DIGEST]
        path.write_bytes(filled + hashlib.sha256(filled).digest() + bytes(SLOT) + stream)
        assert "damaged" in refused(lake, ring).found
    padded = good[: -DIGEST - 1] + b"x"
    path.write_bytes(padded + hashlib.sha256(padded).digest() + bytes(SLOT) + stream)
    refused(lake, ring)
    path.write_bytes(slot(header, serial=0xFFFF_FFFF) + bytes(SLOT) + stream)
    refused(lake, ring)
    path.write_bytes(bytes(SLOT) + slot(header, serial=7) + stream)
    assert get(lake, ring) == PLAIN


def test_a_header_under_another_dataset_key_does_not_open(lake: Path, ring: KeyRing) -> None:
    path = put(lake, ring)
    header, stream = header_of(path.read_bytes())
    for key in (DatasetKey("protected", "file", "people"), DatasetKey("landing", "file", "folk")):
        forged = ring.wrap(key, new_data_key(), TARGET.context())
        path.write_bytes(with_header({**header, "wrapped": base64.b64encode(forged).decode()}, stream))
        assert refused(lake, ring).code == "key.context"


def test_the_wrong_keys(lake: Path, ring: KeyRing, tmp_path: Path) -> None:
    put(lake, ring)
    other = ring_in(tmp_path / "other")
    assert isinstance(refused(lake, other), KeyServiceError)
    put(lake, other, target=LandedObject("x", "y", "z"))
    assert isinstance(refused(lake, other), KeyServiceError)


def test_a_destroyed_dataset_key_shreds_its_files_and_no_others(lake: Path, ring: KeyRing) -> None:
    other = LandedObject("folk", "2017-01-02", "abc.chl")
    put(lake, ring)
    put(lake, ring, target=other)
    ring.destroy(TARGET.key)
    assert refused(lake, ring).code == "key.destroyed"
    assert get(lake, ring, other) == PLAIN


def test_an_error_while_writing_leaves_nothing(lake: Path, ring: KeyRing) -> None:
    def fail() -> None:
        with landing(FolderStore(lake), TARGET, ring) as writer:
            writer.write(PLAIN)
            raise ValueError("fault")

    with pytest.raises(ValueError, match="fault"):
        fail()
    assert [p for p in lake.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("told", [0, 3 << 20])
def test_no_space_leaves_nothing(lake: Path, ring: KeyRing, told: int) -> None:
    def child() -> None:
        limit_file_size(1 << 20)
        started = []

        def work() -> None:
            with landing(FolderStore(lake), TARGET, ring, plain_bytes=told) as writer:
                started.append(True)
                writer.write(bytes(3 << 20))

        with pytest.raises(StorageError) as refusal:
            work()
        assert refusal.value.code == "storage.no-space"
        assert bool(started) is not bool(told)  # a size that is known is found too large before the work

    assert in_fork(child) == 0
    assert [p for p in lake.rglob("*") if p.is_file()] == []


def test_a_full_disk_leaves_nothing_and_what_was_there(tmp_path: Path, ring: KeyRing) -> None:
    with small_disk(tmp_path / "small", 2 << 20) as mounted:
        if not mounted:
            limited = "mounting is not permitted here; the file size limit stands for it"
            pytest.skip(limited)
        lake = tmp_path / "small"
        put(lake, ring)
        for told in (0, 3 << 20):
            with (
                pytest.raises(StorageError) as refusal,
                landing(FolderStore(lake), TARGET, ring, plain_bytes=told) as writer,
            ):
                writer.write(bytes(3 << 20))
            assert refusal.value.code == "storage.no-space"
            assert [p.name for p in lake.rglob("*") if p.is_file()] == ["abc.chl"]
            assert get(lake, ring) == PLAIN


@pytest.mark.parametrize("told", [1, 100, 10_000, 5 << 20])
def test_room_reserved_and_not_needed_is_given_back(lake: Path, ring: KeyRing, told: int) -> None:
    with landing(FolderStore(lake), TARGET, ring, plain_bytes=told) as writer:
        writer.write(PLAIN * 10)
    assert get(lake, ring) == PLAIN * 10
    assert (lake / TARGET.path).stat().st_size == writer.written
    assert (lake / TARGET.path).stat().st_blocks * 512 < 64 << 10


@pytest.mark.parametrize("told", [0, len(PLAIN)])
def test_killed_at_every_step_the_file_is_whole_or_absent(lake: Path, ring: KeyRing, told: int) -> None:
    ring.wrap(TARGET.key, new_data_key(), {})

    def prepare() -> None:
        (lake / TARGET.path).unlink(missing_ok=True)

    def work() -> None:
        with landing(FolderStore(lake), TARGET, ring, plain_bytes=told) as writer:
            writer.write(PLAIN)

    def check(finished: bool) -> None:
        if finished or (lake / TARGET.path).exists():
            assert get(lake, ring) == PLAIN

    assert crash_everywhere(prepare, work, check) > 6


def test_a_large_file_lands_and_is_read_in_constant_memory(tmp_path: Path) -> None:
    code = """
    import resource, sys
    from pathlib import Path
    from cloakhouse.lake.store.folder import FolderStore
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.ring import KeyRing
    from cloakhouse.lake.landed import LandedObject, landing, opened
    folder, size = Path(sys.argv[1]), int(sys.argv[2]) << 20
    ring = KeyRing(AgeKeyService(folder / "keystore"), folder / "dataset-keys")
    with (folder / "plain").open("wb") as stream:
        stream.truncate(size)
    target = LandedObject("people", "2017-01-02", f"{size}.chl")
    store = FolderStore(folder)
    with open(folder / "plain", "rb", 0) as source, landing(store, target, ring, plain_bytes=size) as writer:
        for _ in writer.absorb(source):
            pass
    read = 0
    with opened(FolderStore(folder), target, ring) as stream:
        while block := stream.read(4 << 20):
            read += len(block)
    assert read == size
    (folder / target.path).unlink()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    """
    peaks = []
    for size in (8, 384):  # MiB
        status, out, err = run(code, tmp_path, size)
        assert status == 0, err
        peaks.append(int(out))
    assert peaks[1] < peaks[0] + 16  # MiB
