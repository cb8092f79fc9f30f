"""Splits of any delivery hold each of its lines once, in order, and treat as the whole does."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.contracts import feed_contract

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import StageError
from cloakhouse.stages.batches import gathered
from cloakhouse.stages.inspection import LineCounter
from cloakhouse.stages.parsing import BadRows, parse
from cloakhouse.stages.splits import Split, section, splits_of

CONTRACTS = {
    "csv": feed_contract(),
    "csv.gz": feed_contract(files="people-{partition}.csv.gz"),
    "jsonl": feed_contract(form="jsonl"),
}
FIELDS = st.sampled_from([b"", b"1", b"x", b'"a"', b'"a,b"', b'"', b'a"b', b"\r", b"\xc3\xa9", b"\xff", b"y" * 300])
LINES = st.lists(FIELDS, min_size=1, max_size=4).map(b",".join) | st.just(b"7,ann,1.5")
Bad = list[tuple[str, str, bytes]]


def treated(data: bytes, split: Split, contract: Contract) -> tuple[list[dict[str, Any]], Bad]:
    assert contract.feed is not None
    stream: Any = (
        gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))) if contract.feed.compressed else io.BytesIO(data)
    )
    bad: Bad = []

    def set_aside(rows: BadRows) -> None:
        bad.extend(zip(rows.reasons, rows.columns, rows.records, strict=True))

    lines = io.BufferedReader(section(stream, split, contract.feed))
    rows = [
        row for batch in gathered(parse(lines, contract, contract.feed), set_aside) for row in batch.table.to_pylist()
    ]
    return rows, bad


def manifest(data: bytes, size: int, contract: Contract) -> dict[str, Any]:
    assert contract.feed is not None
    counter = LineCounter("x", contract.feed, size)
    counter.feed(data)
    counter.finish()
    return {"rows": counter.rows, "splits": counter.splits}


def check(data: bytes, size: int, contract: Contract) -> None:
    delivery = manifest(data, size, contract)
    splits = splits_of(delivery)
    whole = treated(data, Split.whole(delivery["rows"]), contract)
    parts = [treated(data, split, contract) for split in splits]
    assert [row for rows, _ in parts for row in rows] == whole[0]
    assert sorted(fault for _, bad in parts for fault in bad) == sorted(whole[1])
    assert [len(rows) + len(bad) for rows, bad in parts] == [split.rows for split in splits]
    assert min(split.rows for split in splits) > 0
    longest = max(map(len, data.splitlines(keepends=True)))
    for split in splits[:-1]:
        assert split.end is not None
        assert size <= split.end - split.offset <= size + 2 * longest
        assert data[split.end - 1 : split.end] == b"\n"


@settings(max_examples=120, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=12), st.booleans(), st.booleans(), st.integers(1, 400))
@example([b'1,"a', b'2,b",3', b"3,c,4"], True, False, 20)  # a quote that stays open at the end of a split
@example([b"1,a,2", b"2,b,3", b"3,c,4"], True, True, 21)
@example([b"", b"", b""], True, False, 1)
def test_splits_of_any_csv_are_the_whole(lines: list[bytes], ended: bool, crlf: bool, size: int) -> None:
    end = b"\r\n" if crlf else b"\n"
    data = b"id,name,amount" + end + end.join(lines) + (end if ended else b"")
    contract = CONTRACTS["csv.gz" if size % 5 == 0 else "csv"]
    if manifest(data, size, contract)["rows"]:
        check(data, size, contract)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([b'{"id":1,"name":"a"}', b'{"id":"1"}', b"[]", b"{", b"", b"\xff"]), min_size=1, max_size=10
    ),
    st.integers(1, 60),
)
def test_splits_of_any_json_lines_are_the_whole(lines: list[bytes], size: int) -> None:
    check(b"\n".join(lines) + b"\n", size, CONTRACTS["jsonl"])


def test_the_check_can_fail() -> None:
    data = b"id,name,amount\n1,a,2\n2,b,3\n"
    moved = Split(1, 16, None, 1)  # one byte into a line
    assert treated(data, moved, CONTRACTS["csv"])[0] == [{"id": 2, "name": "b", "amount": 3.0}]
    with pytest.raises(StageError):
        treated(b"other,header\n1,2\n", Split.whole(1), CONTRACTS["csv"])
