from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from tests.support import tink_reference

from cloakhouse.errors import IntegrityError
from cloakhouse.keys import streaming
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.streaming import HEADER, SEGMENT, TAG, DecryptingReader, EncryptingWriter, sealed_size

KEY = SecretKey(bytes(range(32)))
FIRST = SEGMENT - HEADER - TAG
NEXT = SEGMENT - TAG


def sealed(plain: bytes, associated: bytes = b"aad", key: SecretKey = KEY, piece: int = 1 << 30) -> bytes:
    sink = io.BytesIO()
    writer = EncryptingWriter(sink, key, associated)
    for at in range(0, len(plain), piece):
        writer.write(plain[at : at + piece])
    writer.finish()
    return sink.getvalue()


def opened(ciphertext: bytes, associated: bytes = b"aad", key: SecretKey = KEY) -> bytes:
    with DecryptingReader(io.BytesIO(ciphertext), key, associated, "a file") as reader:
        return reader.read()


def refused(ciphertext: bytes, **changes: object) -> IntegrityError:
    with pytest.raises(IntegrityError) as refusal:
        opened(ciphertext, **changes)  # type: ignore[arg-type]
    assert "no unchecked byte" in refusal.value.not_done
    return refusal.value


class Slow(io.BytesIO):
    """Gives at most `most` bytes at a time."""

    def __init__(self, content: bytes, most: int = 1000) -> None:
        super().__init__(content)
        self._most = most

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(memoryview(buffer)[: self._most])


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> int:
    """Segments of 80 bytes: the format's rules hold for any size, and every byte can be tried."""
    monkeypatch.setattr(streaming, "SEGMENT", 80)
    return 80


@pytest.mark.parametrize(
    "size",
    [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + NEXT - 1, FIRST + NEXT, FIRST + NEXT + 1, FIRST + 2 * NEXT, 5_000_001],
)
def test_round_trip_around_segment_borders(size: int) -> None:
    plain = bytes(bytearray(range(251)) * (size // 251 + 1))[:size]
    ciphertext = sealed(plain)
    segments = 1 if size <= FIRST else 1 + -(-(size - FIRST) // NEXT)
    assert len(ciphertext) == HEADER + size + TAG * segments == sealed_size(size)
    assert opened(ciphertext) == plain


def test_pieces_of_any_size_make_the_same_stream(small_segments: int) -> None:
    plain = bytes(range(200))
    for piece in (1, 7, 23, 24, 25, 64, 65, 199):
        ciphertext = sealed(plain, piece=piece)
        assert opened(ciphertext) == plain
        assert tink_reference.decrypt(KEY.reveal(), b"aad", ciphertext, small_segments) == plain


def test_the_reference_reads_ours() -> None:
    plain = bytes(range(256)) * 3
    assert tink_reference.decrypt(KEY.reveal(), b"aad", sealed(plain), SEGMENT) == plain


def test_two_encryptions_share_nothing() -> None:
    a, b = sealed(b"same"), sealed(b"same")
    assert a[1:33] != b[1:33]
    assert a[HEADER:] != b[HEADER:]


def test_every_flipped_byte_is_found(small_segments: int) -> None:
    ciphertext = sealed(bytes(200))
    for at in range(len(ciphertext)):
        for bit in (0x01, 0x80):
            broken = bytearray(ciphertext)
            broken[at] ^= bit
            refused(bytes(broken))


def test_truncation_at_every_length_is_found(small_segments: int) -> None:
    ciphertext = sealed(bytes(200))
    for length in range(len(ciphertext)):
        refused(ciphertext[:length])


def test_truncation_at_a_segment_border_of_the_real_size_is_found() -> None:
    ciphertext = sealed(bytes(FIRST + NEXT + 5))
    for length in (SEGMENT, 2 * SEGMENT, 2 * SEGMENT + TAG):
        refused(ciphertext[:length])


def test_appended_bytes_are_found(small_segments: int) -> None:
    for size in (0, 24, 200, 24 + 64):
        ciphertext = sealed(bytes(size))
        for extra in (b"\0", bytes(16), bytes(80), ciphertext, ciphertext[HEADER:]):
            refused(ciphertext + extra)


def test_reordered_repeated_or_missing_segments_are_found(small_segments: int) -> None:
    ciphertext = sealed(bytes(24 + 3 * 64))
    s = [ciphertext[:80], ciphertext[80:160], ciphertext[160:240], ciphertext[240:]]
    assert opened(b"".join(s)) == bytes(24 + 3 * 64)
    for order in (
        (0, 2, 1, 3),
        (0, 1, 3, 2),
        (0, 1, 1, 2, 3),
        (0, 1, 3),
        (0, 3),
        (0, 1, 2),
        (0, 3, 1, 2),
        (1, 0, 2, 3),
    ):
        refused(b"".join(s[i] for i in order))


def test_segments_of_another_file_under_the_same_key_are_found(small_segments: int) -> None:
    a, b = sealed(bytes(24 + 64)), sealed(bytes(24 + 64))
    refused(a[:80] + b[80:])
    refused(b[:40] + a[40:])


@pytest.mark.parametrize("associated", [b"", b"aa", b"aad\0", b"AAD"])
def test_other_associated_data_is_found(associated: bytes) -> None:
    refused(sealed(b"plain"), associated=associated)


def test_another_key_is_found() -> None:
    refused(sealed(b"plain"), key=SecretKey(bytes(32)))


@pytest.mark.parametrize("other", [b"", b"id,name\n1,Ann\n", b"(" * 39, b"\x28" * 40, b"\x28" * 56, b"PAR1" * 40])
def test_what_is_no_encrypted_stream_is_refused(other: bytes) -> None:
    assert "id,name" not in str(refused(other))


def test_a_broken_later_segment_gives_out_the_sound_ones_only() -> None:
    plain = b"a" * FIRST + b"b" * 10
    ciphertext = bytearray(sealed(plain))
    ciphertext[-1] ^= 1
    reader = DecryptingReader(io.BytesIO(bytes(ciphertext)), KEY, b"aad", "a file")
    assert reader.read(FIRST) == b"a" * FIRST
    for _ in range(2):
        with pytest.raises(IntegrityError) as refusal:
            reader.read(1)
    assert refusal.value.where == "a file, segment 1"


def test_a_source_that_gives_few_bytes_at_a_time() -> None:
    plain = bytes(FIRST + 3)
    assert DecryptingReader(Slow(sealed(plain)), KEY, b"aad", "a file").read() == plain


def test_a_source_is_absorbed_as_if_it_were_written(small_segments: int) -> None:
    for size in (0, 1, 23, 24, 25, 24 + 64, 24 + 65, 200):
        for before in (0, 5, 24):
            plain, sink = bytes(range(size)), io.BytesIO()
            writer = EncryptingWriter(sink, KEY, b"aad")
            writer.write(bytes(before))
            assert b"".join(bytes(piece) for piece in writer.absorb(Slow(plain, 7))) == plain
            writer.write(b"after")
            writer.finish()
            assert opened(sink.getvalue()) == bytes(before) + plain + b"after"
            assert len(sink.getvalue()) == writer.written == sealed_size(before + size + 5)


def test_absorbed_pieces_are_read_only() -> None:
    writer = EncryptingWriter(io.BytesIO(), KEY, b"aad")
    for piece in writer.absorb(io.BytesIO(b"plain")):
        with pytest.raises(TypeError):
            piece[0] = 0


def test_what_stands_in_front_counts_as_written_and_fills_the_pieces_up() -> None:
    class Pieces(io.BytesIO):
        sizes: ClassVar[list[int]] = []

        def write(self, data: Any, /) -> int:
            self.sizes.append(len(data))
            return super().write(data)

    sink = Pieces()
    writer = EncryptingWriter(sink, KEY, b"aad", front=b"in front" * 1024)
    writer.write(bytes(3 * SEGMENT))
    writer.finish()
    assert sink.sizes[:3] == [SEGMENT] * 3
    assert writer.written == len(sink.getvalue()) == 8192 + sealed_size(3 * SEGMENT)
    assert sink.getvalue()[:8192] == b"in front" * 1024
    assert opened(sink.getvalue()[8192:]) == bytes(3 * SEGMENT)


def test_a_sink_that_takes_a_part_at_a_time_gets_all() -> None:
    class Short(io.BytesIO):
        def write(self, data: Any, /) -> int:
            return super().write(bytes(data[:300_000]))

    sink = Short()
    writer = EncryptingWriter(sink, KEY, b"aad")
    writer.write(bytes(FIRST + 3))
    writer.finish()
    assert opened(sink.getvalue()) == bytes(FIRST + 3)


def test_a_buffer_that_was_to_hold_a_broken_segment_holds_none_of_it() -> None:
    """OpenSSL has written the plaintext there by the time that it finds the tag wrong."""
    ciphertext = bytearray(sealed(b"a" * FIRST + b"secret" * 10))
    ciphertext[-1] ^= 1
    for first in (0, FIRST):
        target = bytearray(b"." * (2 << 20))
        reader = DecryptingReader(io.BytesIO(ciphertext), KEY, b"aad", "a file")
        reader.read(first)
        with pytest.raises(IntegrityError):
            reader.readinto(target)
        assert b"secret" not in target
        assert b"secret" not in bytes(reader._own)


def test_large_reads_and_small_ones_give_the_same(small_segments: int) -> None:
    plain = bytes(range(256)) * 3
    ciphertext = sealed(plain)
    for size in (1, 23, 24, 25, 63, 64, 65, 128, 150, 1000):
        reader = DecryptingReader(io.BytesIO(ciphertext), KEY, b"aad", "a file")
        pieces = list(iter(lambda reader=reader, size=size: reader.read(size), b""))  # type: ignore[misc]
        assert b"".join(pieces) == plain
        assert reader.readinto(bytearray(10)) == 0


def test_without_finish_the_stream_reads_as_truncated() -> None:
    sink = io.BytesIO()
    EncryptingWriter(sink, KEY, b"aad").write(bytes(FIRST + 10))
    refused(sink.getvalue())


class Nowhere(io.RawIOBase):
    def write(self, data: Any, /) -> int:
        return len(data)


class Zeros(io.RawIOBase):
    """A source of so many zero bytes."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readinto(self, buffer: Any, /) -> int:
        size = min(len(buffer), self._left)
        buffer[:size] = bytes(size)
        self._left -= size
        return size


def peak_of(work: Callable[[], None]) -> int:
    """Return the most bytes that Python held at once during `work`."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_stays_at_a_few_segments_however_it_is_written() -> None:
    def writing() -> None:
        writer = EncryptingWriter(Nowhere(), KEY, b"aad")  # type: ignore[arg-type]
        block = bytes(1 << 20)
        for _ in range(40):
            writer.write(block)
        writer.finish()

    def absorbing() -> None:
        writer = EncryptingWriter(Nowhere(), KEY, b"aad")  # type: ignore[arg-type]
        for _ in writer.absorb(Zeros(40 << 20)):
            pass
        writer.finish()

    assert peak_of(writing) < 5 << 20
    assert peak_of(absorbing) < 5 << 20


def test_memory_stays_at_a_few_segments_when_it_is_read() -> None:
    ciphertext, target = io.BytesIO(sealed(bytes(20 << 20))), bytearray(4 << 20)

    def reading() -> None:
        reader = DecryptingReader(ciphertext, KEY, b"aad", "a file")
        while reader.readinto(target):
            pass

    assert peak_of(reading) < 5 << 20
