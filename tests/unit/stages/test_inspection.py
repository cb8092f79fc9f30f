from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from tests.support.contracts import feed_contract

from cloakhouse.errors import DeliveryError
from cloakhouse.stages.inspection import CHUNK, Gunzip, LineCounter, check_header

MARKER = "Zwetschgenhuber"
CSV, JSONL = feed_contract(), feed_contract(form="jsonl")
SEMICOLON = feed_contract(delimiter=";")


def unzipped(*pieces: bytes) -> bytes:
    gunzip = Gunzip("people.csv.gz")
    found = b"".join(out for piece in pieces for out in gunzip.pieces(piece))
    gunzip.finish()
    return found


def refused(*pieces: bytes) -> DeliveryError:
    with pytest.raises(DeliveryError) as refusal:
        unzipped(*pieces)
    assert refusal.value.where == "inbox/people.csv.gz"
    assert "stays in the inbox" in refusal.value.not_done
    return refusal.value


def test_members_follow_each_other_wherever_they_are_cut() -> None:
    packed = gzip.compress(b"a" * 100) + gzip.compress(b"") + gzip.compress(b"b")
    for at in range(len(packed) + 1):
        assert unzipped(packed[:at], packed[at:]) == b"a" * 100 + b"b"
    assert unzipped(*(bytes([byte]) for byte in packed)) == b"a" * 100 + b"b"
    assert unzipped() == b""


def test_truncation_at_every_byte_is_found() -> None:
    first = gzip.compress(random.Random(1).randbytes(100))
    packed = first + gzip.compress(b"second")
    for length in range(1, len(packed)):
        if length != len(first):
            assert refused(packed[:length]).code == "delivery.truncated"


def test_trailing_garbage_and_other_bytes_are_found() -> None:
    packed = gzip.compress(b"abc")
    for other in (
        packed + b"x" * 20,
        packed + b"\0" * 20,
        b"id,name\n1,x\n",
        zlib.compress(b"abc"),
        b"PK\3\4" + bytes(30),
    ):
        assert refused(other).code == "delivery.gzip"
    assert refused(packed + b"\x1f").code == "delivery.truncated"


def test_a_wrong_checksum_or_length_is_found() -> None:
    packed = gzip.compress(b"abc")
    for at in range(len(packed) - 8, len(packed)):
        broken = bytearray(packed)
        broken[at] ^= 1
        assert refused(bytes(broken)).code == "delivery.gzip"


def test_a_gzip_bomb_stays_flat_in_memory() -> None:
    deflate = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    bomb = b"".join(deflate.compress(zeros) for _ in range(300)) + deflate.flush()
    assert len(bomb) < 400_000
    gunzip, total = Gunzip("x"), 0
    tracemalloc.start()
    for piece in gunzip.pieces(bomb):
        assert len(piece) <= CHUNK
        total += len(piece)
    gunzip.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 300 << 20
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("data", "lines", "first"),
    [
        (b"", 0, b""),
        (b"\n", 1, b""),
        (b"a", 1, b"a"),
        (b"a\n", 1, b"a"),
        (b"a\nb", 2, b"a"),
        (b"a\r\nb\r\n", 2, b"a\r"),
        (b"\n\n\n", 3, b""),
    ],
)
def test_lines_are_counted_as_wc_does_plus_an_open_last_one(data: bytes, lines: int, first: bytes) -> None:
    assert CSV.feed is not None
    for pieces in ([data], [bytes([byte]) for byte in data]):
        counter = LineCounter("x", CSV.feed)
        for piece in pieces:
            counter.feed(piece)
        counter.finish()
        assert (counter.lines, counter.first) == (lines, first)


@pytest.mark.parametrize("before", [b"", b"a\n", b"a\nb\n"])
@pytest.mark.parametrize("after", [b"", b"\n", b"\nc\n"])
def test_the_limit_is_exact_wherever_the_line_stands(before: bytes, after: bytes) -> None:
    feed = feed_contract(max_line=64).feed
    assert feed is not None
    for length, fits in ((64, True), (65, False)):
        data = before + b"x" * length + after
        for cut in (0, 1, len(data) // 2, len(data) - 1):
            counter = LineCounter("x", feed)
            if fits:
                counter.feed(data[:cut])
                counter.feed(data[cut:])
                continue
            with pytest.raises(DeliveryError) as refusal:
                [counter.feed(piece) for piece in (data[:cut], data[cut:])]
            assert refusal.value.code == "delivery.line-length"


@pytest.mark.parametrize(
    ("line", "undeclared"),
    [
        (b"id,name,amount", 0),
        (b"amount,id,name\r", 0),
        (b"id,name,amount,cashier,note", 2),
        (b'"id","name",amount,"a,b"', 1),
    ],
)
def test_a_csv_header_with_the_declared_columns(line: bytes, undeclared: int) -> None:
    assert check_header("people.csv", CSV, line) == undeclared


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"id,name",
        b"id;name;amount",
        b"ID,NAME,AMOUNT",
        b"\xef\xbb\xbfid,name,amount",
        b"id,name,amount,id",
        b'id,name,"amount',
        b"id,name,amount,\xff",
        f"7,{MARKER},3.5".encode(),
        f"id,{MARKER},amount".encode(),
    ],
)
def test_another_csv_header_is_refused_and_not_shown(line: bytes) -> None:
    with pytest.raises(DeliveryError) as refusal:
        check_header("people.csv", CSV, line)
    assert refusal.value.code == "delivery.header"
    assert "separated by ','" in refusal.value.expected
    assert MARKER not in str(refusal.value)
    assert check_header("people.csv", SEMICOLON, b"id;name;amount") == 0


@pytest.mark.parametrize(
    ("line", "undeclared"),
    [
        (b'{"id": 1, "name": "x", "amount": 2}', 0),
        (b'{"id": 1}', 0),
        (f'{{"id": 1, "{MARKER}": "x", "note": null, "deep": {{"id": 1}}}}\r'.encode(), 3),
        (b"{}", 0),
        (b"", 0),
        (b"not json", 0),
        (b'["id", "other"]', 0),
        (b'"note"', 0),
        (b"null", 0),
        (b'{"note": "\xff"}', 0),
        (b"[" * 60_000, 0),
    ],
)
def test_undeclared_keys_of_a_json_line_are_counted(line: bytes, undeclared: int) -> None:
    assert check_header("people.jsonl", JSONL, line) == undeclared
