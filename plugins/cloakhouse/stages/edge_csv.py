"""CSV at the edge: one record a line, read as the lake reads it, written as RFC 4180 has it.

The header goes through as it is, and so does its kind of line end. Null is an empty field. A field is quoted where it
holds the delimiter, a quote or a line end; quotes that a kept field doesn't need are left off.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from cloakhouse.errors import DeliveryError
from cloakhouse.stages.edge_rows import BOM, Arriving, EdgeTreater
from cloakhouse.stages.lines import SoundLines, written_out
from cloakhouse.tokens.arrays import byte_column


def csv_blocks(lines: Arriving, treatment: EdgeTreater, delimiter: str, keep: Sequence[str]) -> Iterator[bytes]:
    """Yield the header, then the tokenized rows of each block that has arrived.

    Raises AccessRefused, DeliveryError (see `EdgeTreater.check_names`; `delivery.structure` for no header).
    """
    header = lines.first_line()
    names = _names(header, delimiter)
    treatment.check_names(names, keep)
    yield header
    line_end = "\r\n" if header.endswith(b"\r\n") else "\n"
    for block in SoundLines(cast(BinaryIO, lines), delimiter, treatment.tally.leave_out):
        if block:
            table = _table(block, len(names), delimiter, treatment)
            columns = dict(zip(names, table.columns, strict=True))
            treated, sound = treatment.treated(columns, table.num_rows)
            kept = {n: columns[n].combine_chunks().filter(pa.array(sound)) for n in names if n not in treated}
            texts = [(treated | kept)[name].cast(pa.string()) for name in names]
            yield _written(texts, delimiter, line_end)


def _names(header: bytes, delimiter: str) -> list[str]:
    try:
        [names] = csv.reader([header.removeprefix(BOM).decode().rstrip("\r\n")], delimiter=delimiter, strict=True)
    except (ValueError, csv.Error):
        names = []
    if not names:
        raise _unreadable("no header that can be read")
    return names


def _table(block: bytes, width: int, delimiter: str, treatment: EdgeTreater) -> pa.Table:
    """Return whole lines as a table of `width` binary columns; lines of other lengths are counted and left out."""
    separator = delimiter.encode()
    wrong = 0

    def wrong_field_count(_row: Any) -> str:
        nonlocal wrong
        wrong += 1
        return "skip"

    lines = block.count(b"\n")
    numbers = [str(index) for index in range(width)]
    text = separator.join(map(str.encode, numbers)) + b"\n" + written_out(block, delimiter, width)
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(text),
            read_options=pyarrow.csv.ReadOptions(block_size=len(text) + 1, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, ignore_empty_lines=False, invalid_row_handler=wrong_field_count
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(numbers, pa.binary()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowInvalid:  # its text quotes
        raise _unreadable("lines that can't be read") from None
    if table.num_rows + wrong != lines:
        raise _unreadable(f"{table.num_rows + wrong} records on {lines} lines")
    treatment.tally.bad.update({"wrong_field_count": wrong} if wrong else {})
    return table


def _written(texts: list[pa.Array], delimiter: str, line_end: str) -> bytes:
    """Return rows as lines."""
    special = f'["\\r\\n\\x{{{ord(delimiter):x}}}]'
    fields = [_quoted(pc.fill_null(text, ""), special) for text in texts]
    if len(fields) == 1:  # an empty line would be skipped by most readers
        fields = [pc.if_else(pc.equal(fields[0], ""), '""', fields[0])]
    rows = fields[0] if len(fields) == 1 else pc.binary_join_element_wise(*fields, delimiter)
    view = byte_column(pc.binary_join_element_wise(rows, line_end, ""))
    return view.data[view.offsets[0] : view.offsets[-1]].tobytes()


def _quoted(text: pa.Array, special: str) -> pa.Array:
    needed = pc.match_substring_regex(text, special)
    if not needed.true_count:
        return text
    return pc.if_else(needed, pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', ""), text)


def _unreadable(found: str) -> DeliveryError:
    return DeliveryError(
        where="the feed",
        expected="CSV with a header, one record a line",
        found=found,
        not_done="what came after it was not tokenized",
        remedy="correct the feed, or say with `--format` and `--delimiter` what it is",
        code="structure",
    )
