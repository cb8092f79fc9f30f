"""Going to a place in an encrypted stream: the plaintext from there, checked as ever, and nothing else is read."""

from __future__ import annotations

import io
import random

import pytest

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.streaming import HEADER, SEGMENT, TAG, DecryptingReader, EncryptingWriter

KEY, DATA, FRONT = SecretKey(bytes(range(32))), b"data", b"slots"
FIRST, NEXT = SEGMENT - HEADER - TAG, SEGMENT - TAG  # bytes of plaintext in a segment
SIZE = FIRST + 2 * NEXT + 77
PLAIN = random.Random(7).randbytes(SIZE)
EDGES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + NEXT, FIRST + 2 * NEXT - 1, FIRST + 2 * NEXT, SIZE - 1, SIZE]


def sealed(plain: bytes = PLAIN) -> bytes:
    sink = io.BytesIO()
    writer = EncryptingWriter(sink, KEY, DATA)
    writer.write(plain)
    writer.finish()
    return FRONT + sink.getvalue()


SEALED = sealed()


def reader(content: bytes = SEALED) -> DecryptingReader:
    source = io.BytesIO(content)
    source.seek(len(FRONT))
    return DecryptingReader(source, KEY, DATA, "name")


@pytest.mark.parametrize("offset", EDGES)
def test_from_every_edge_the_rest_is_the_plaintext(offset: int) -> None:
    stream = io.BufferedReader(reader(), SEGMENT)
    assert stream.readline() == PLAIN[: PLAIN.index(b"\n") + 1]
    assert stream.seek(offset) == offset
    assert stream.read() == PLAIN[offset:]
    assert stream.tell() == SIZE
    assert stream.seek(offset) == offset  # again, from the end
    assert stream.read(5) == PLAIN[offset : offset + 5]


def test_places_are_told() -> None:
    raw = reader()
    assert raw.seekable()
    assert raw.tell() == 0
    raw.read(10)
    assert raw.tell() == 10
    with pytest.raises(io.UnsupportedOperation):
        reader().seek(0, io.SEEK_END)


@pytest.mark.parametrize("offset", [SIZE + 1, SIZE + NEXT, SIZE + 5 * NEXT])
def test_a_place_beyond_the_end_is_refused_and_so_is_all_after_it(offset: int) -> None:
    raw = reader()
    with pytest.raises(IntegrityError):
        raw.seek(offset)
    with pytest.raises(IntegrityError):
        raw.read(1)
    with pytest.raises(IntegrityError):
        raw.seek(0)


def test_a_source_that_cannot_seek_still_reads() -> None:
    class Pipe:
        def __init__(self) -> None:
            self._bytes = io.BytesIO(SEALED[len(FRONT) :])

        def readinto(self, buffer: memoryview, /) -> int:
            return self._bytes.readinto(buffer)

    raw = DecryptingReader(Pipe(), KEY, DATA, "name")
    assert not raw.seekable()
    with pytest.raises(io.UnsupportedOperation):
        raw.seek(0)
    assert io.BufferedReader(raw).read() == PLAIN


@pytest.mark.parametrize("segment", range(4))
def test_what_was_changed_is_found_where_it_is_read_and_only_there(segment: int) -> None:
    broken = bytearray(SEALED)
    broken[len(FRONT) + segment * SEGMENT + HEADER + 20] ^= 1
    for offset in EDGES[:-1]:
        stream = io.BufferedReader(reader(bytes(broken)), SEGMENT)
        if offset >= FIRST + segment * NEXT:
            stream.seek(offset)
            assert stream.read() == PLAIN[offset:]
            continue
        with pytest.raises(IntegrityError):
            (stream.seek(offset), stream.read())


@pytest.mark.parametrize("cut", [1, 77 + TAG, 77 + TAG + 1, 77 + TAG + SEGMENT])
def test_a_truncated_stream_is_found_from_any_place(cut: int) -> None:
    for offset in EDGES:
        stream = io.BufferedReader(reader(SEALED[:-cut]), SEGMENT)
        with pytest.raises(IntegrityError):
            (stream.seek(offset), stream.read())


def test_segments_that_changed_places_are_found() -> None:
    at = len(FRONT) + SEGMENT
    swapped = (
        SEALED[:at] + SEALED[at + SEGMENT : at + 2 * SEGMENT] + SEALED[at : at + SEGMENT] + SEALED[at + 2 * SEGMENT :]
    )
    with pytest.raises(IntegrityError):
        reader(swapped).seek(FIRST + NEXT + 9)
