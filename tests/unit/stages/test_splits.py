from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.contracts import feed_contract

from cloakhouse.contracts.model import Contract
from cloakhouse.stages.inspection import LineCounter
from cloakhouse.stages.splits import MOST, MOST_COMPRESSED, SPLIT_BYTES, Split, SplitPoints, fewer, section, splits_of
from cloakhouse.stages.treating import splits_for

CSV, JSONL = feed_contract(), feed_contract(form="jsonl")
HEADER = b"id,name,amount\n"


def points(data: bytes, size: int, contract: Contract = CSV, piece: int = 7) -> list[tuple[int, int]]:
    assert contract.feed is not None
    counter = LineCounter("x", contract.feed, size)
    for at in range(0, len(data), piece):
        counter.feed(data[at : at + piece])
    counter.finish()
    return [(point["offset"], point["rows"]) for point in counter.splits]


def test_a_split_begins_with_the_first_line_from_its_size_on() -> None:
    data = HEADER + b"1,a,2\n" * 10  # rows begin at 15, 21, 27, ...
    assert points(data, 15) == [(0, 0), (21, 1), (39, 4), (57, 7)]
    assert points(data, 21) == [(0, 0), (21, 1), (45, 5), (69, 9)]
    assert points(data, 22) == [(0, 0), (27, 2), (51, 6)]
    assert points(data, 69) == [(0, 0), (69, 9)]
    assert points(data, 70) == points(data, len(data)) == points(data, 10**9) == [(0, 0)]
    assert points(b"{}\n" * 4, 1, JSONL) == [(0, 0), (3, 1), (6, 2), (9, 3)]
    assert SPLIT_BYTES == 64 << 20


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1000])
def test_pieces_make_no_difference(piece: int) -> None:
    data = HEADER + b"".join(b"1," + b"x" * (i * 7 % 60) + b",2\r\n" for i in range(50))
    for size in (1, 30, 100, 333):
        assert points(data, size, piece=piece) == points(data, size, piece=len(data))


def test_no_split_is_without_rows() -> None:
    assert points(HEADER + b"1,a,2\n2,b,3\n", 1) == [(0, 0), (21, 1)]  # none behind the header, none at the end
    assert points(HEADER + b"1,a,2\n2,b,3", 1) == [(0, 0), (21, 1)]
    assert points(HEADER + b"\n\n\n", 1) == [(0, 0), (16, 1), (17, 2)]
    assert points(b"{}\n", 1, JSONL) == points(b"{}", 1, JSONL) == [(0, 0)]


def test_offsets_beyond_four_gigabytes_are_whole_numbers() -> None:
    found = SplitPoints(0, 1 << 32)
    found.look(5 << 32, np.array([9], np.int64), 7)
    assert found.points(100) == ({"offset": 0, "rows": 0}, {"offset": (5 << 32) + 10, "rows": 8})


def test_the_manifest_tells_the_splits_and_an_older_one_is_a_single_split() -> None:
    whole = [Split(0, 0, None, 30)]
    assert splits_of({"rows": 30}) == splits_of({"rows": 30, "splits": []}) == whole == [Split.whole(30)]
    assert splits_of({"rows": 30, "splits": [{"offset": 0, "rows": 0}]}) == whole
    three = [{"offset": 0, "rows": 0}, {"offset": 90, "rows": 9}, {"offset": 200, "rows": 29}]
    assert splits_of({"rows": 30, "splits": three}) == [
        Split(0, 0, 90, 9),
        Split(1, 90, 200, 20),
        Split(2, 200, None, 1),
    ]


def test_neighbours_are_put_together_where_there_are_too_many() -> None:
    delivery = {"rows": 100, "splits": [{"offset": 10 * i, "rows": i * i} for i in range(10)]}
    splits = splits_of(delivery)
    assert fewer(splits, 10) == fewer(splits, 11) == splits
    assert fewer(splits, 1) == [Split(0, 0, None, 100)]
    assert fewer(splits, 4) == [Split(0, 0, 20, 4), Split(1, 20, 50, 21), Split(2, 50, 70, 24), Split(3, 70, None, 51)]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 16, 64])
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 64, 65, 290])
def test_fewer_splits_are_the_same_lines_evenly(most: int, count: int) -> None:
    splits = splits_of({"rows": 3 * count, "splits": [{"offset": 5 * i, "rows": 3 * i} for i in range(count)]})
    found = fewer(splits, most)
    assert len(found) == min(most, count)
    assert [split.number for split in found] == list(range(len(found)))
    assert [split.offset for split in found][1:] == [split.end for split in found][:-1]
    assert (found[0].offset, found[-1].end) == (0, None)
    sizes = [split.rows for split in found]
    assert sum(sizes) == 3 * count
    assert max(sizes) - min(sizes) <= 3


def test_a_compressed_delivery_is_cut_into_fewer() -> None:
    delivery = {"rows": 290, "splits": [{"offset": 5 * i, "rows": i} for i in range(290)]}
    plain, packed = feed_contract(), feed_contract(files="people-{partition}.csv.gz")
    assert len(splits_for(plain, delivery)) == MOST
    assert len(splits_for(packed, delivery)) == MOST_COMPRESSED < MOST


def read(data: bytes, split: Split, contract: Contract) -> bytes:
    assert contract.feed is not None
    packed = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data[:40]) + gzip.compress(data[40:])))
    stream: Any = packed if contract.feed.compressed else io.BytesIO(data)
    return io.BufferedReader(section(stream, split, contract.feed), 16).read()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_lines_of_a_split_stand_below_the_header(suffix: str) -> None:
    contract = feed_contract(files="people-{partition}.csv" + suffix)
    data = HEADER + b"".join(b"%d,a,2\n" % i for i in range(10))
    parts = [Split(0, 0, 27, 2), Split(1, 27, 63, 6), Split(2, 63, None, 2)]
    found = [read(data, part, contract) for part in parts]
    assert found == [data[:27], HEADER + data[27:63], HEADER + data[63:]]
    assert read(data, Split.whole(10), contract) == data


def test_json_lines_have_no_header_to_repeat() -> None:
    data = b'{"id":1}\n{"id":2}\n'
    assert read(data, Split(1, 9, None, 1), JSONL) == data[9:]


def test_a_stream_that_ends_before_the_split_gives_nothing(tmp_path: Path) -> None:
    contract = feed_contract(files="people-{partition}.csv.gz")
    assert read(HEADER + b"1,a,2\n", Split(1, 10**7, None, 3), contract) == HEADER
