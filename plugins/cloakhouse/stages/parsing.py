"""From the bytes of a delivery to typed columns, by contract; what doesn't fit is set aside with a reason code.

Columns that the contract doesn't declare never get past this parser (minimisation). Lines of CSV that aren't one
record each were set aside before it (`cloakhouse.stages.lines`). Work goes a column at a
time: a column is cast as a whole, and only where that fails are the rows at fault found, by halving.

Reason codes: broken_encoding, missing_value, wrong_type, wrong_form, out_of_range, wrong_field_count, not_json;
`unknown_reference` is added by pseudonymization.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from cloakhouse.contracts.model import Column, Contract, Feed
from cloakhouse.errors import StageError
from cloakhouse.stages.lines import BLOCK, SoundLines, written_out

TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
JSON_NATIVE = ("integer", "number", "boolean")
TOP_LEVEL_NULL = re.compile(rb"(?:\A|\n|\})[\s\x00\xef\xbb\xbf]*null")  # pyarrow 26 dies of it (SIGSEGV)
SEAM = re.compile(
    rb"\}[ \t\r]*+\n[ \t\r]*+\{"
)  # between two objects on lines of their own: no JSON text holds it inside
FIRST_DAY = dt.date(1, 1, 1)  # arrow reads year 0, which Python's dates, and Spark's, don't have
SEPARATOR = b"\x1f"
Flags = npt.NDArray[np.bool_]


@dataclass
class BadRows:
    """Rows set aside: a reason code, the column at fault (or empty) and the raw record of each."""

    reasons: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)

    def add(self, reason: str, column: str, record: bytes) -> None:
        """Set one row aside."""
        self.reasons.append(reason)
        self.columns.append(column)
        self.records.append(record)


@dataclass(frozen=True)
class Parsed:
    """One batch: `table` holds the sound rows with the declared columns, `raw` the same rows as delivered."""

    table: pa.Table
    raw: pa.Table
    bad: BadRows


def parse(
    stream: BinaryIO, contract: Contract, feed: Feed, sift: Callable[[pa.Table], pa.Table] | None = None
) -> Iterator[Parsed]:
    """Yield the rows of `stream` (plaintext bytes) in batches of about 4 MiB, cut by its bytes alone, in their order.

    `sift` takes rows out as they were delivered, before their values are looked at: those are neither sound nor bad.
    Memory doesn't grow with the feed.

    Raises StageError when the header no longer holds the declared columns.
    """
    blocks = _csv_blocks(stream, contract, feed) if feed.format == "csv" else _json_blocks(stream, contract)
    for raw, bad in blocks:
        yield _typed(sift(raw) if sift else raw, contract, bad)


def _csv_blocks(stream: BinaryIO, contract: Contract, feed: Feed) -> Iterator[tuple[pa.Table, BadRows]]:
    header = stream.readline()
    empty = _csv_table(header, contract, feed, BadRows())
    width = _fields(header, contract, feed)
    aside: list[tuple[str, bytes]] = []
    for block in SoundLines(stream, feed.delimiter, lambda *fault: aside.append(fault)):
        bad = BadRows()
        for reason, line in aside:
            bad.add(reason, "", line)
        aside.clear()
        lines = header + written_out(block, feed.delimiter, width)
        yield _csv_table(lines, contract, feed, bad) if block else empty, bad


def _fields(header: bytes, contract: Contract, feed: Feed) -> int:
    try:
        return len(next(csv.reader([header.decode("latin-1")], delimiter=feed.delimiter)))
    except (csv.Error, StopIteration):
        raise _unreadable(contract) from None


def _csv_table(text: bytes, contract: Contract, feed: Feed, bad: BadRows) -> pa.Table:
    """Return the declared columns of whole lines below their header, as bytes; lines of other lengths go to `bad`."""

    def wrong_field_count(row: Any) -> str:
        bad.add("wrong_field_count", "", (row.text or "").encode())
        return "skip"

    names = [column.name for column in contract.columns]
    try:
        return pyarrow.csv.read_csv(
            io.BytesIO(text),
            read_options=pyarrow.csv.ReadOptions(block_size=len(text) + 1, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=feed.delimiter, ignore_empty_lines=False, invalid_row_handler=wrong_field_count
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=names,
                column_types={name: pa.binary() for name in names},
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except (KeyError, pa.ArrowInvalid):
        raise _unreadable(contract) from None


def _unreadable(contract: Contract) -> StageError:
    return StageError(
        where=f"a delivery of {contract.name}",
        expected=f"rows under a header with the columns of contract {contract.version}",
        found="another structure",
        not_done="the partition was not pseudonymized; the landed file is untouched",
        remedy="compare the delivery's header with the contract, then correct one of the two",
        code="structure",
    )


def _json_blocks(stream: BinaryIO, contract: Contract) -> Iterator[tuple[pa.Table, BadRows]]:
    schema = pa.schema(
        [(c.name, TYPES[c.logical_type] if c.logical_type in JSON_NATIVE else pa.string()) for c in contract.columns]
    )
    while lines := stream.readlines(BLOCK):
        bad = BadRows()
        parts = [_as_binary(table) for table in _json_tables(lines, schema, bad)]
        empty = _as_binary(schema.empty_table())
        yield pa.concat_tables(parts) if parts else empty, bad


def _as_binary(table: pa.Table) -> pa.Table:
    columns = [c.cast(pa.binary()) if pa.types.is_string(c.type) else c for c in table.columns]
    return pa.table(dict(zip(table.column_names, columns, strict=True)))


def _json_tables(lines: list[bytes], schema: pa.Schema, bad: BadRows) -> Iterator[pa.Table]:
    """Yield the tables of `lines`; where a block can't be read as a whole it is halved down to the lines at fault."""
    options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    text = b"".join(lines)
    try:
        if TOP_LEVEL_NULL.search(text) and (len(lines) > 1 or _json_fault(text)[0] != "wrong_type"):
            raise pa.ArrowInvalid("null in place of an object")
        table = pyarrow.json.read_json(
            io.BytesIO(text),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=options,
        )
        if table.num_rows == len(lines) and _one_a_line(text, len(lines)):
            yield table.select(schema.names)
            return
    except pa.ArrowInvalid:
        table = None
    if len(lines) == 1:
        bad.add(*_json_fault(lines[0]))
        return
    middle = len(lines) // 2
    yield from _json_tables(lines[:middle], schema, bad)
    yield from _json_tables(lines[middle:], schema, bad)


def _one_a_line(text: bytes, lines: int) -> bool:
    """Tell whether the objects of a sound text stand on lines of their own; as many objects as lines can still be two
    on one line and none on another."""
    return text.count(b"}\n{") + 1 == lines or len(SEAM.findall(text)) + 1 == lines


def _json_fault(line: bytes) -> tuple[str, str, bytes]:
    try:
        reason = "wrong_type" if isinstance(json.loads(line), dict) else "not_json"
    except UnicodeDecodeError:
        reason = "broken_encoding"
    except (ValueError, RecursionError):
        reason = "not_json"
    return reason, "", line


def _typed(raw: pa.Table, contract: Contract, bad: BadRows) -> Parsed:
    count = raw.num_rows
    fault = np.full(count, -1, np.int16)  # index into `found` of the first fault of a row
    found: list[tuple[str, str]] = []
    columns: dict[str, pa.Array] = {}
    for column in contract.columns:
        values, faults = check_column(raw.column(column.name), column)
        columns[column.name] = values
        for reason, flags in faults.items():
            fresh = flags & (fault < 0)
            if fresh.any():
                fault[fresh] = len(found)
                found.append((reason, column.name))
    table = pa.table(columns)
    if not found:
        return Parsed(table, raw, bad)
    rejected = np.flatnonzero(fault >= 0)
    for index, record in zip(rejected, records(raw.take(pa.array(rejected))), strict=True):
        reason, name = found[fault[index]]
        bad.add(reason, name, record)
    keep = pa.array(fault < 0)
    return Parsed(table.filter(keep), raw.filter(keep), bad)


def records(raw: pa.Table) -> list[bytes]:
    """Return each row of `raw` as one byte string, its fields separated by the unit separator (0x1F)."""
    rows = zip(*(column.to_pylist() for column in raw.columns), strict=True)
    return [
        SEPARATOR.join(v if isinstance(v, bytes) else b"" if v is None else str(v).encode() for v in r) for r in rows
    ]


def check_column(raw: pa.ChunkedArray, column: Column) -> tuple[pa.Array, dict[str, Flags]]:
    """Return (typed values, faults): one array of the column's type, and per reason which rows are at fault.

    Rows at fault are null in the values. `raw` is binary, or already of the type.
    """
    values = raw.combine_chunks() if isinstance(raw, pa.ChunkedArray) else raw
    faults: dict[str, Flags] = {}
    if pa.types.is_binary(values.type):
        values, broken = cast_or_flag(values, pa.string())
        values, wrong = _from_text(values, column)
        faults = {"broken_encoding": broken, "wrong_type": wrong}
    elif pa.types.is_floating(values.type):
        values, wrong = _finite(values)
        faults = {"wrong_type": wrong}
    missing = _flags(pc.is_null(values)) if column.required else np.zeros(len(values), np.bool_)
    for flags in faults.values():
        missing &= ~flags
    faults["missing_value"] = missing
    faults["wrong_form"] = _misfits(values, column)
    faults["out_of_range"] = _outside(values, column)
    return values, faults


def _from_text(values: pa.Array, column: Column) -> tuple[pa.Array, Flags]:
    if column.logical_type == "string":
        return values, np.zeros(len(values), np.bool_)
    hexadecimal = np.zeros(len(values), np.bool_)
    if column.logical_type == "integer":
        hexadecimal = _flags(pc.match_substring(values, "x", ignore_case=True))
        if hexadecimal.any():
            values = pc.if_else(pa.array(~hexadecimal), values, None)
    typed, wrong = cast_or_flag(values, TYPES[column.logical_type])
    if column.logical_type == "number":
        typed, infinite = _finite(typed)
        wrong |= infinite
    if column.logical_type in ("date", "timestamp"):
        early = _flags(pc.less(typed, _bound(FIRST_DAY, typed.type)))
        typed, wrong = (pc.if_else(pa.array(~early), typed, None), wrong | early) if early.any() else (typed, wrong)
    return typed, wrong | hexadecimal


def _finite(values: pa.Array) -> tuple[pa.Array, Flags]:
    wrong = _flags(pc.invert(pc.is_finite(values)))
    return (pc.if_else(pa.array(~wrong), values, None), wrong) if wrong.any() else (values, wrong)


def cast_or_flag(values: pa.Array, target: pa.DataType) -> tuple[pa.Array, Flags]:
    """Return (`values` as `target`, flags): values that can't be cast are null and flagged.

    Whole arrays are cast at once; a failing one is halved, so few faults cost few casts.
    """
    try:
        return values.cast(target), np.zeros(len(values), np.bool_)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, target), np.ones(1, np.bool_)
    middle = len(values) // 2
    left, left_flags = cast_or_flag(values.slice(0, middle), target)
    right, right_flags = cast_or_flag(values.slice(middle), target)
    return pa.concat_arrays([left, right]), np.concatenate([left_flags, right_flags])


def _flags(mask: pa.Array) -> Flags:
    flags: Flags = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return np.array(flags, np.bool_)


def _misfits(values: pa.Array, column: Column) -> Flags:
    bad = np.zeros(len(values), np.bool_)
    if column.pattern is not None:
        bad |= _flags(pc.invert(pc.match_substring_regex(values, f"^(?:{column.pattern})$")))
    if column.max_length is not None:
        bad |= _flags(pc.greater(pc.utf8_length(values), column.max_length))
    return bad


def _outside(values: pa.Array, column: Column) -> Flags:
    bad = np.zeros(len(values), np.bool_)
    if column.minimum is not None:
        bad |= _flags(pc.less(values, _bound(column.minimum, values.type)))
    if column.maximum is not None:
        bad |= _flags(pc.greater(values, _bound(column.maximum, values.type)))
    return bad


def _bound(value: Any, kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_timestamp(kind) and isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    return pa.scalar(value, kind)
