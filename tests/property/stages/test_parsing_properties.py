from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.contracts import COLUMNS, column, feed_contract

from cloakhouse.contracts.model import Contract
from cloakhouse.stages.inspection import LineCounter
from cloakhouse.stages.parsing import TYPES, cast_or_flag, parse

CSV = feed_contract()
JSONL = feed_contract(form="jsonl")
FIELDS = st.sampled_from(
    ["", "1", "-1", "0x1f", "1e3", "x", "nan", "12.5", '"a"', '"a,b"', '"a""b"', '"', 'a"b', '""', "\r", "é", "\x00", "  ", "٣"]  # noqa: E501
).map(str.encode) | st.sampled_from([b"\xff", b"\xfe\xff", b'"\xff"'])  # fmt: skip
LINES = st.lists(FIELDS, min_size=1, max_size=5).map(b",".join) | st.binary(max_size=20).map(
    lambda b: b.replace(b"\n", b"")
)
VALUES = st.sampled_from(
    ["1", "0", "-7", "1.5", "nan", "inf", "-inf", "1e400", "x", "", " 1", "+1", "true", "False", "yes", "2017-01-02",
     "2017-02-30", "2017-01-02 03:04:05", "9999-12-31", "0000-00-00", "9223372036854775808", "0x10", "٣", "1_0", "é"]
) | st.text(max_size=6)  # fmt: skip


def outcome(data: bytes, contract: Contract) -> tuple[int, int]:
    good = bad = 0
    assert contract.feed is not None
    for parsed in parse(io.BytesIO(data), contract, contract.feed):
        assert parsed.table.column_names == [c.name for c in contract.columns]
        assert parsed.table.schema.types == [TYPES[c.logical_type] for c in contract.columns]
        assert parsed.raw.num_rows == parsed.table.num_rows
        assert len(parsed.bad.reasons) == len(parsed.bad.columns) == len(parsed.bad.records)
        good, bad = good + parsed.table.num_rows, bad + len(parsed.bad.reasons)
    return good, bad


def counted(data: bytes, contract: Contract) -> int:
    assert contract.feed is not None
    counter = LineCounter("x", contract.feed)
    counter.feed(data)
    return counter.lines


@settings(max_examples=60)
@given(st.lists(LINES, max_size=12), st.booleans(), st.booleans())
@example([b'1,"a,2', b"3,c,4"], True, False)
@example([b"1,a\rb,2"], True, False)
@example([b"2,\xff,3,4"], True, False)
@example([b'1,a"b,"c'], True, True)
@example([b'1,"a"b"",2'], True, False)
def test_rows_of_any_csv_add_up_to_its_lines(lines: list[bytes], ended: bool, crlf: bool) -> None:
    end = b"\r\n" if crlf else b"\n"
    data = b"id,name,amount\n" + end.join(lines) + (end if ended and lines else b"")
    assert sum(outcome(data, CSV)) == counted(data, CSV) - 1


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from([b'{"id":1,"name":"a"}', b'{"id":"1"}', b"[]", b"{", b"", b" ", b"null", b'{"id":1}{"id":2}', b"\xff", b'{"name":"\\ud800"}', b'{"id":1,"id":2}'])  # noqa: E501
        | st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")),
        max_size=10,
    )
)  # fmt: skip
def test_rows_of_any_json_lines_add_up_to_its_lines(lines: list[bytes]) -> None:
    data = b"\n".join(lines) + b"\n"
    assert sum(outcome(data, JSONL)) == counted(data, JSONL)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 10**12), st.text(st.characters(codec="utf-8", exclude_characters='\r\n\0"'), min_size=1, max_size=20), st.floats(allow_nan=False, allow_infinity=False)), max_size=20))  # fmt: skip  # noqa: E501
def test_sound_rows_come_back_as_they_were(rows: list[tuple[int, str, float]]) -> None:
    data = "id,extra,name,amount\n" + "".join(f'{i},SECRET,"{n}",{a!r}\n' for i, n, a in rows)
    assert CSV.feed is not None
    tables = [p.table for p in parse(io.BytesIO(data.encode()), CSV, CSV.feed)]
    found = [tuple(row.values()) for table in tables for row in table.to_pylist()]
    assert found == rows


@settings(max_examples=120)
@given(
    st.lists(st.none() | VALUES, max_size=12), st.sampled_from(["integer", "number", "boolean", "date", "timestamp"])
)
def test_casting_by_halves_is_casting_value_by_value(values: list[str | None], kind: str) -> None:
    def one(value: str | None) -> tuple[Any, bool]:
        try:
            return pa.array([value], pa.string()).cast(TYPES[kind]), False
        except pa.ArrowInvalid:
            return pa.nulls(1, TYPES[kind]), True

    typed, flags = cast_or_flag(pa.array(values, pa.string()), TYPES[kind])
    expected = [one(value) for value in values]
    assert typed.type == TYPES[kind]
    assert flags.tolist() == [flag for _, flag in expected]
    assert str(typed.to_pylist()) == str([x for array, _ in expected for x in array.to_pylist()])
    assert flags.dtype == np.bool_


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=8), max_size=12))
def test_broken_encoding_is_found_value_by_value(values: list[bytes]) -> None:
    def sound(value: bytes) -> bool:
        try:
            value.decode()
        except UnicodeDecodeError:
            return False
        return True

    typed, flags = cast_or_flag(pa.array(values, pa.binary()), pa.string())
    assert flags.tolist() == [not sound(value) for value in values]
    assert typed.to_pylist() == [value.decode() if sound(value) else None for value in values]


@settings(max_examples=60)
@given(st.lists(st.tuples(*[VALUES] * 3), min_size=1, max_size=8))
def test_a_row_is_sound_just_when_each_of_its_values_is(rows: list[tuple[str, str, str]]) -> None:
    contract = feed_contract(columns=[*COLUMNS[:2], column("day", "date", required=True)])
    rows = [tuple(v.translate(dict.fromkeys(map(ord, '\r\n\0",'))) for v in row) for row in rows]  # type: ignore[misc]

    def parsed(chosen: list[tuple[str, str, str]]) -> int:
        data = "id,name,day\n" + "".join(",".join(row) + "\n" for row in chosen)
        return outcome(data.encode(), contract)[0]

    assert parsed(rows) == sum(parsed([row]) for row in rows)


def test_the_examples_can_fail() -> None:
    assert outcome(b"id,name,amount\n1,a,2\nx,b,3\n", CSV) == (1, 1)
    with pytest.raises(AssertionError):
        assert sum(outcome(b"id,name,amount\n1,a,2\n", CSV)) == 2
