from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.contracts import feed_contract

from cloakhouse.errors import DeliveryError
from cloakhouse.stages.inspection import Gunzip, LineCounter

FEED = feed_contract(max_line=64).feed
assert FEED is not None
PIECES = st.lists(
    st.binary(max_size=50) | st.lists(st.sampled_from([b"\n", b"a", b"\r", b"x" * 30])).map(b"".join), max_size=10
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@settings(max_examples=400)
@given(PIECES)
def test_the_counter_is_the_plain_one(pieces: list[bytes]) -> None:
    assert FEED is not None
    data = b"".join(pieces)
    lines = data.split(b"\n")
    counter = LineCounter("x", FEED)

    def feed() -> None:
        for piece in pieces:
            counter.feed(piece)
        counter.finish()

    if max(map(len, lines)) > 64:
        with pytest.raises(DeliveryError) as refusal:
            feed()
        assert refusal.value.code == "delivery.line-length"
        return
    feed()
    assert counter.lines == len(lines) - (lines[-1] == b"")
    assert counter.first == lines[0]


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.lists(st.integers(0, 60), max_size=20))
def test_members_in_any_pieces_unzip_to_the_same(members: list[bytes], sizes: list[int]) -> None:
    gunzip = Gunzip("x")
    found = b"".join(p for c in cut(b"".join(map(gzip.compress, members)), sizes) for p in gunzip.pieces(c))
    gunzip.finish()
    assert found == b"".join(members)


@settings(max_examples=200)
@given(st.binary(max_size=200), st.data())
def test_an_edited_stream_is_refused_or_still_means_the_same(plain: bytes, data: st.DataObject) -> None:
    packed = bytearray(gzip.compress(plain))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    gunzip = Gunzip("x")
    try:
        found = b"".join(gunzip.pieces(bytes(packed)))
        gunzip.finish()
    except DeliveryError:
        return
    assert found == plain  # the edit hit what doesn't count: the time in the header, or bits after the last block
    assert zlib.crc32(found) == zlib.crc32(plain)
