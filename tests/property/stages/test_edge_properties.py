"""Whatever a feed holds and however it arrives: the edge writes what the lake would, and leaves out what it would."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.contracts import column, feed_contract
from tests.support.edge import DrawnKeys, edge_file

from cloakhouse.contracts.model import Contract
from cloakhouse.stages.edge_feed import Summary, tokenize_feed
from cloakhouse.stages.edge_rows import as_text
from cloakhouse.stages.parsing import parse
from cloakhouse.tokens.apply import Around, treat, untreatable
from cloakhouse.tokens.place import Place

DAY = dt.date(2017, 1, 2)
COLUMNS = (
    column(
        "id",
        "integer",
        required=True,
        options="{minimum: 0}",
        cls="direct identifier",
        how="{token: {domain: customer, purpose: analytics, period: month}}",
    ),
    column(
        "mail",
        options="{maxLength: 6}",
        cls="direct identifier",
        how="{token: {domain: mail, purpose: analytics, form: base32, normalise: digits}}",
    ),
    column("born", "date", cls="indirect identifier", how="{generalize: {ageBands: [35, 55], on: 2017-01-01}}"),
    column("price", "number", cls="sensitive", how="{round: {to: 0.5}}"),
    column("code", cls="direct identifier", how="{reversible token: {domain: code, purpose: analytics}}"),
)
NAMES = ["id", "mail", "born", "price", "code"]
CSV = feed_contract(columns=COLUMNS)
JSONL = feed_contract(columns=COLUMNS, form="jsonl")
FILE = edge_file(CSV, NAMES, ["2017-01"])


class Pieces(io.RawIOBase):
    """A stream that arrives in pieces of given sizes, over and over."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data = data
        self.sizes = sizes
        self.turn = 0

    def read1(self, size: int) -> bytes:
        wanted = min(size, self.sizes[self.turn % len(self.sizes)])
        self.turn += 1
        piece, self.data = self.data[:wanted], self.data[wanted:]
        return piece


def at_the_edge(data: bytes, form: Any, sizes: list[int]) -> tuple[bytes, Summary]:
    sink = io.BytesIO()
    summary = tokenize_feed(Pieces(data, sizes), sink, FILE, form=form, day=DAY)  # type: ignore[arg-type]
    return sink.getvalue(), summary


def in_the_lake(data: bytes, contract: Contract) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return what the lake's parser and treatments make of the whole feed at once, and what they set aside."""
    assert contract.feed is not None
    reasons: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for parsed in parse(io.BytesIO(data), contract, contract.feed):
        reasons.update(parsed.bad.reasons)
        fit = np.ones(parsed.table.num_rows, np.bool_)
        found = {}
        for c in contract.columns:
            values = parsed.table.column(c.name).combine_chunks()
            unfit = untreatable(values, c)
            fit &= ~unfit
            values = pc.if_else(pa.array(~unfit), values, None)
            found[c.name] = as_text(treat(values, c, DrawnKeys(), Around(Place("people", str(DAY)))))
        reasons["wrong_form"] += int(np.count_nonzero(~fit))
        rows += pa.table(found).filter(pa.array(fit)).to_pylist()
    return rows, dict(sorted((+reasons).items()))


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4) | st.just([1 << 20])
FIELDS = st.sampled_from(
    ["", "1", "22", "-1", "0x1f", "x", "12.5", "1e400", "1980-01-01", "2017-06-01", "0 1-2", "٣", '"1"', '"a,b"',
     '"a""b"', '"', 'a"b', '""', "\r", "é", "\x00", "\ufeff1", " "]
).map(str.encode) | st.sampled_from([b"\xff", b'"\xff"'])  # fmt: skip
GOOD = st.tuples(
    st.integers(0, 99).map(lambda n: str(n).encode()),
    st.sampled_from([b"", b"1 2", "٣".encode(), b'"3/4"']),
    st.sampled_from([b"", b"1980-01-01", b"1950-12-31"]),
    st.sampled_from([b"", b"1.3", b"-0.2", b"1e20"]),
    st.sampled_from([b"", b"abc", "é".encode(), b'"a,b"', b"\xef\xbb\xbf"]),
).map(b",".join)
LINES = GOOD | st.lists(FIELDS, min_size=1, max_size=6).map(b",".join) | st.tuples(GOOD, FIELDS).map(b",".join)


@settings(max_examples=40)
@given(st.lists(LINES, max_size=10), st.sampled_from([b"\n", b"\r\n"]), SIZES)
@example([b"1,,,,", b"", b"1,2"], b"\n", [1])
@example([b"1,\xef\xbb\xbf2,,,", b"\xef\xbb\xbf1,,,,"], b"\n", [1])
def test_any_csv_becomes_what_the_lake_makes_of_it(lines: list[bytes], end: bytes, sizes: list[int]) -> None:
    data = b"id,mail,born,price,code\n" + b"".join(line + end for line in lines if line.strip(b"\r"))
    out, summary = at_the_edge(data, "csv", sizes)
    rows, reasons = in_the_lake(data, CSV)
    assert summary == Summary(len(rows), reasons)
    found = list(csv.DictReader(io.StringIO(out.decode(), newline="")))
    expected = [{name: as_field(value) for name, value in row.items()} for row in rows]
    assert found == expected


def as_field(value: Any) -> str:
    if isinstance(value, float):
        return str(pa.scalar(value).cast(pa.string()))
    return "" if value is None else str(value)


VALUES = (
    st.sampled_from(
        [None, True, 0, 1, -1, 2**63, 1.5, 1e300, "1", "12.5", "1980-01-01", "2017-06-01", "x", "0 1-2", {}, [1]]
    )
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
GOOD_OBJECTS = st.fixed_dictionaries(
    {"id": st.integers(0, 99)},
    optional={
        "mail": st.sampled_from([None, "1 2", "٣"]),
        "born": st.sampled_from([None, "1980-01-01"]),
        "price": st.none() | st.integers(-9, 9) | st.floats(-1e9, 1e9),
        "code": st.none() | st.text(max_size=8),
    },
)
OBJECTS = GOOD_OBJECTS | st.dictionaries(st.sampled_from(NAMES), VALUES) | VALUES.filter(lambda v: v is not None)
FIRST = b'{"id": 1, "mail": null, "born": null, "price": null, "code": null}\n'


@settings(max_examples=60)
@given(st.lists(OBJECTS, max_size=8), st.booleans(), SIZES)
def test_any_json_becomes_what_the_lake_makes_of_it(objects: list[Any], ascii_only: bool, sizes: list[int]) -> None:
    lines = [json.dumps(value, ensure_ascii=ascii_only).encode(errors="replace") for value in objects]
    data = FIRST + b"".join(line + b"\n" for line in lines)
    out, summary = at_the_edge(data, "jsonl", sizes)
    rows, reasons = in_the_lake(data, JSONL)
    assert summary == Summary(len(rows), reasons)
    found = [json.loads(line) for line in out.decode().split("\n")[:-1]]
    assert [{name: row.get(name) for name in NAMES} for row in found] == rows


KEPT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.lists(KEPT, min_size=1, max_size=5), st.sampled_from([None, 1]), st.booleans(), SIZES)
def test_what_is_kept_of_json_stays_byte_for_byte(
    values: list[Any], indent: int | None, ascii_only: bool, sizes: list[int]
) -> None:
    file = edge_file(CSV, ["code"])
    texts = [json.dumps({"kept": v, "code": None, "more": [v]}, ensure_ascii=ascii_only) for v in values]
    if indent:
        texts = [text.replace('"kept": ', ' "kept"\t:  ', 1) for text in texts]
    data = "".join(text + "\n" for text in texts).encode(errors="surrogatepass")
    sink = io.BytesIO()
    source: Any = Pieces(data, sizes)
    summary = tokenize_feed(source, sink, file, form="jsonl", keep=["kept", "more"], day=DAY)
    assert summary == Summary(len(values), {})
    assert sink.getvalue() == data


@settings(max_examples=60)
@given(st.lists(st.text(max_size=6).filter(lambda t: "\x00" not in t), max_size=6), st.sampled_from(",;\t|"))
def test_what_is_kept_of_csv_has_the_same_fields(texts: list[str], delimiter: str) -> None:
    whole = [text.replace("\r", "").replace("\n", "") for text in texts]
    sheet = io.StringIO()
    writer = csv.writer(sheet, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([["kept", "code"], *([text, ""] for text in whole)])
    sink = io.BytesIO()
    source: Any = io.BytesIO(sheet.getvalue().encode())
    summary = tokenize_feed(
        source, sink, edge_file(CSV, ["code"]), form="csv", delimiter=delimiter, keep=["kept"], day=DAY
    )
    assert summary == Summary(len(whole), {})
    found = list(csv.reader(io.StringIO(sink.getvalue().decode(), newline=""), delimiter=delimiter))
    assert found[1:] == [[text, ""] for text in whole]
