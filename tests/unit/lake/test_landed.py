from __future__ import annotations

import base64
import json
import shutil
import struct
from pathlib import Path

import pytest
from tests.support.crash import crash_everywhere, limit_file_size
from tests.support.processes import in_fork

from cloakhouse.errors import CloakhouseError, IntegrityError, KeyServiceError, StorageError
from cloakhouse.keys.local import LocalKeyService
from cloakhouse.keys.protocol import KeyName, new_data_key
from cloakhouse.lake.landed import LandedObject, landing, opened

TARGET = LandedObject("people", "2017-01-02", "abc.chl")
MARKER = b"Zwetschgenhuber"
PLAIN = b"id,name\n1," + MARKER + b"\n"


@pytest.fixture
def keys(tmp_path: Path) -> LocalKeyService:
    return LocalKeyService(tmp_path / "keystore")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def put(lake: Path, keys: LocalKeyService, plain: bytes = PLAIN, target: LandedObject = TARGET) -> Path:
    with landing(lake, target, keys) as writer:
        writer.write(plain)
    return lake / target.path


def get(lake: Path, keys: LocalKeyService, target: LandedObject = TARGET) -> bytes:
    with opened(lake, target, keys) as stream:
        return stream.read()


def refused(lake: Path, keys: LocalKeyService, target: LandedObject = TARGET) -> CloakhouseError:
    with pytest.raises((IntegrityError, KeyServiceError)) as refusal:
        get(lake, keys, target)
    assert MARKER.decode() not in str(refusal.value)
    return refusal.value


def header_of(data: bytes) -> tuple[dict[str, object], bytes]:
    (length,) = struct.unpack(">I", data[4:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: object, stream: bytes, magic: bytes = b"CHL1") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return magic + struct.pack(">I", len(raw)) + raw + stream


@pytest.mark.parametrize("size", [0, 1, 100, (1 << 20) + 7, 3 << 20])
def test_round_trip(lake: Path, keys: LocalKeyService, size: int) -> None:
    plain = bytes(bytearray(range(256)) * (size // 256 + 1))[:size]
    path = put(lake, keys, plain)
    assert get(lake, keys) == plain
    assert path == lake / "landing" / "people" / "2017-01-02" / "abc.chl"
    assert path.stat().st_mode & 0o077 == 0


def test_no_plaintext_in_the_file_and_a_documented_header(lake: Path, keys: LocalKeyService) -> None:
    data = put(lake, keys, MARKER * 1000).read_bytes()
    assert MARKER not in data
    header, stream = header_of(data)
    assert header.pop("wrapped")
    assert header == {"format": 1, "key": "landing/file", "context": TARGET.context()}
    assert stream[0] == 40


def test_every_flipped_byte_is_found(lake: Path, keys: LocalKeyService) -> None:
    path = put(lake, keys)
    data = path.read_bytes()
    for at in range(len(data)):
        for bit in (0x01, 0x02, 0x20, 0x80):
            broken = bytearray(data)
            broken[at] ^= bit
            path.write_bytes(bytes(broken))
            refused(lake, keys)
    path.write_bytes(data)
    assert get(lake, keys) == PLAIN


def test_truncation_at_every_length_and_appended_bytes_are_found(lake: Path, keys: LocalKeyService) -> None:
    path = put(lake, keys)
    data = path.read_bytes()
    for broken in (*(data[:n] for n in range(len(data))), data + b"\0", data + data):
        path.write_bytes(broken)
        refused(lake, keys)


def test_the_header_of_another_file_is_found(lake: Path, keys: LocalKeyService) -> None:
    path = put(lake, keys)
    other = put(lake, keys, target=LandedObject("people", "2017-01-09", "abc.chl")).read_bytes()
    again = put(lake, keys, target=LandedObject("people", "2017-01-02", "def.chl")).read_bytes()
    header, stream = header_of(path.read_bytes())
    for foreign in (other, again):
        path.write_bytes(with_header(header_of(foreign)[0], stream))
        assert "another" in refused(lake, keys).found
        path.write_bytes(with_header(header, header_of(foreign)[1]))
        refused(lake, keys)
        borrowed = {**header_of(foreign)[0], "context": header["context"]}
        path.write_bytes(with_header(borrowed, stream))
        refused(lake, keys)


def test_a_moved_file_does_not_open(lake: Path, keys: LocalKeyService) -> None:
    path = put(lake, keys)
    for target in (
        LandedObject("people", "2017-01-02", "other.chl"),
        LandedObject("people", "2017-01-09", "abc.chl"),
        LandedObject("folk", "2017-01-02", "abc.chl"),
    ):
        (lake / target.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, lake / target.path)
        assert refused(lake, keys, target).where == target.path


@pytest.mark.parametrize("content", [b"", b"CHL", b"id,name\n1,x\n", b"\x1f\x8b\x08\0\0\0\0\0", b"PAR1PAR1PAR1"])
def test_plaintext_in_place_of_the_file_is_refused(lake: Path, keys: LocalKeyService, content: bytes) -> None:
    put(lake, keys).write_bytes(content)
    error = refused(lake, keys)
    assert error.expected == "an encrypted landed file (CHL1)"
    assert "supersede" in error.remedy


def test_a_missing_file(lake: Path, keys: LocalKeyService) -> None:
    assert refused(lake, keys).found == "no file"


def test_a_folder_in_place_of_the_file(lake: Path, keys: LocalKeyService) -> None:
    (lake / TARGET.path).mkdir(parents=True)
    with pytest.raises(StorageError):
        get(lake, keys)


def changed(header: dict[str, object]) -> dict[str, object]:
    """Return one bad header for each fault."""
    wrapped = str(header["wrapped"])
    context = dict(header["context"])  # type: ignore[call-overload]
    return {
        "unknown_version": {**header, "format": 2},
        "version_as_text": {**header, "format": "1"},
        "version_as_float": {**header, "format": 1.0},
        "key_of_another_use": {**header, "key": "protected/direct"},
        "no_context": {k: v for k, v in header.items() if k != "context"},
        "context_as_text": {**header, "context": "landing"},
        "context_with_more": {**header, "context": {**context, "more": "x"}},
        "context_reordered": {**header, "context": dict(reversed(context.items()))},
        "no_wrapped_key": {k: v for k, v in header.items() if k != "wrapped"},
        "wrapped_key_null": {**header, "wrapped": None},
        "wrapped_key_not_base64": {**header, "wrapped": "*" + wrapped},
        "wrapped_key_short": {**header, "wrapped": base64.b64encode(b"CHW1").decode()},
        "more_keys": {**header, "more": 1},
        "spaces": json.dumps(header, indent=1).encode(),
        "a_list": [header],
        "a_text": "header",
        "null": None,
        "empty": b"",
        "not_utf8": b"\xff\xfe{}",
        "deep": b"[" * 60_000,
        "key_twice": json.dumps(header).encode()[:-1] + b', "format": 1}',
    }


@pytest.mark.parametrize("fault", list(changed({"wrapped": "", "context": {}})))
def test_a_header_of_another_form_is_refused(lake: Path, keys: LocalKeyService, fault: str) -> None:
    path = put(lake, keys)
    header, stream = header_of(path.read_bytes())
    path.write_bytes(with_header(changed(header)[fault], stream))
    refused(lake, keys)


def test_unknown_magic_and_a_header_beyond_bounds(lake: Path, keys: LocalKeyService) -> None:
    path = put(lake, keys)
    header, stream = header_of(path.read_bytes())
    path.write_bytes(with_header(header, stream, magic=b"CHL2"))
    assert "CHL1" in refused(lake, keys).expected
    path.write_bytes(b"CHL1\xff\xff\xff\xff" + bytes(100))
    refused(lake, keys)


def test_a_header_under_another_master_key_does_not_open(lake: Path, keys: LocalKeyService) -> None:
    path = put(lake, keys)
    header, stream = header_of(path.read_bytes())
    forged = keys.wrap(KeyName("protected/file"), new_data_key(), TARGET.context())
    path.write_bytes(with_header({**header, "wrapped": base64.b64encode(forged).decode()}, stream))
    assert isinstance(refused(lake, keys), KeyServiceError)


def test_the_wrong_keystore(lake: Path, keys: LocalKeyService, tmp_path: Path) -> None:
    put(lake, keys)
    other = LocalKeyService(tmp_path / "other")
    assert isinstance(refused(lake, other), KeyServiceError)
    put(lake, other, target=LandedObject("x", "y", "z"))
    assert isinstance(refused(lake, other), KeyServiceError)


def test_an_error_while_writing_leaves_nothing(lake: Path, keys: LocalKeyService) -> None:
    def fail() -> None:
        with landing(lake, TARGET, keys) as writer:
            writer.write(PLAIN)
            raise ValueError("fault")

    with pytest.raises(ValueError, match="fault"):
        fail()
    assert [p for p in lake.rglob("*") if p.is_file()] == []


def test_no_space_leaves_nothing(lake: Path, keys: LocalKeyService) -> None:
    def child() -> None:
        limit_file_size(1 << 20)
        with pytest.raises(StorageError) as refusal:
            put(lake, keys, bytes(3 << 20))
        assert refusal.value.code == "storage.no-space"

    assert in_fork(child) == 0
    assert [p for p in lake.rglob("*") if p.is_file()] == []


def test_killed_at_every_step_the_file_is_whole_or_absent(lake: Path, keys: LocalKeyService) -> None:
    keys.wrap(KeyName("landing/file"), new_data_key(), {})

    def prepare() -> None:
        (lake / TARGET.path).unlink(missing_ok=True)

    def check(finished: bool) -> None:
        if finished or (lake / TARGET.path).exists():
            assert get(lake, keys) == PLAIN

    crash_everywhere(prepare, lambda: put(lake, keys) and None, check)
