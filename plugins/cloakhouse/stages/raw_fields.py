"""The fields of raw lines that may name a person: by column where the line can be read, else whole fields, all of them.

A block is read as a whole where every line of it is one sound record. Where it isn't, it is cut at its one line that is
no UTF-8, else halved, down to a few lines, which are looked at one by one (`cloakhouse.stages.odd_lines`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json

from cloakhouse.contracts.model import Contract, Feed
from cloakhouse.stages.lines import LOOSE_RETURN, is_utf8
from cloakhouse.stages.odd_lines import OddLines
from cloakhouse.stages.parsing import JSON_NATIVE, SEPARATOR, TOP_LEVEL_NULL, TYPES, _one_a_line

FEW = 16  # lines that are looked at one by one


@dataclass(frozen=True)
class Fields:
    """What the lines of a block say about persons.

    Attributes:
        columns: the wanted columns, in order, each binary with one value a line; null where it has none to read.
        doubtful: lines whose columns can't be told apart, by number in the block, with all their whole fields.
    """

    columns: tuple[pa.Array, ...]
    doubtful: tuple[tuple[int, tuple[bytes, ...]], ...]


@dataclass(frozen=True)
class RawFields:
    """Reads the columns `names` from raw lines of a feed; `header` is its first line, empty for JSON."""

    contract: Contract
    feed: Feed
    names: tuple[str, ...]
    header: bytes = b""

    @property
    def _odd(self) -> OddLines:
        return OddLines(self.feed, self.names, self.header)

    def read(self, block: bytes) -> Fields:
        """Return the fields of whole lines."""
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + 1
        if len(ends) == 0 or ends[-1] != len(block):
            ends = np.append(ends, len(block))
        starts = np.concatenate([[0], ends[:-1]])
        parts, doubtful, at = [], [], 0
        for columns, unclear in self._parts(block, starts, ends):
            doubtful += [(at + number, fields) for number, fields in unclear]
            parts.append(columns)
            at += len(columns[0])
        joined = tuple(pa.concat_arrays([part[i] for part in parts]) for i in range(len(self.names)))
        return Fields(joined, tuple(doubtful))

    def of_record(self, record: bytes, by_column: bool) -> tuple[tuple[bytes | None, ...], tuple[bytes, ...]]:
        """Return the wanted fields of a quarantined record, or, where they can't be told apart, all its whole fields.

        `by_column`: the record is the declared columns, joined by the unit separator.
        """
        fields = record.split(SEPARATOR)
        declared = [column.name for column in self.contract.columns]
        if by_column and len(fields) == len(declared):
            return tuple(fields[declared.index(name)] or None for name in self.names), ()
        if SEPARATOR in record:
            return (None,) * len(self.names), tuple(fields)
        return self._odd.read(record)

    def _parts(self, block: bytes, starts: Any, ends: Any) -> Iterator[tuple[tuple[pa.Array, ...], list[Any]]]:
        count, text = len(starts), block[starts[0] : ends[-1]]
        odd: list[int] = []
        broken = _only_broken(text) if count > FEW else None  # else looked at first where the parser stops at it
        sound = self._sound(text, count, odd) if broken is None else None
        if sound is not None:
            yield sound, [(n, self._odd.whole_fields(block[starts[n] : ends[n]])) for n in odd]
        elif count <= FEW:
            lines = [self._odd.read(block[start:end]) for start, end in zip(starts, ends, strict=True)]
            columns = zip(*(wanted for wanted, _ in lines), strict=True)
            yield (
                tuple(pa.array(column, pa.binary()) for column in columns),
                [(number, fields) for number, (_, fields) in enumerate(lines) if fields],
            )
        else:
            at = count // 2 if broken is None else int(np.searchsorted(ends - starts[0], broken, side="right"))
            for part in (slice(at), slice(at, at + (broken is not None)), slice(at + (broken is not None), count)):
                if len(starts[part]):
                    yield from self._parts(block, starts[part], ends[part])

    def _sound(self, text: bytes, count: int, odd: list[int]) -> tuple[pa.Array, ...] | None:
        """Return the wanted columns when every line is one record, else None.

        `odd` gets the numbers of the lines that have another number of fields; the columns are null there.
        """
        try:
            table = self._csv(text, odd) if self.feed.format == "csv" else self._json(text, count)
        except (pa.ArrowInvalid, KeyError):
            return None
        if table is None or table.num_rows != count:
            return None
        return tuple(table.column(name).cast(pa.binary()).combine_chunks() for name in self.names)

    def _csv(self, text: bytes, odd: list[int]) -> pa.Table | None:
        """Return the lines of another number of fields as nulls, too, and add their numbers to `odd`."""
        if b"\r" in text and LOOSE_RETURN.search(text):
            return None
        lines = self.header + text

        def skipped(row: Any) -> str:
            odd.append(-1 if row.number is None else row.number - 2)  # counted from 1, and with the header
            return "skip"

        table = pyarrow.csv.read_csv(
            io.BytesIO(lines),
            read_options=pyarrow.csv.ReadOptions(block_size=len(lines) + 1, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self.feed.delimiter,
                ignore_empty_lines=False,
                invalid_row_handler=skipped if is_utf8(text) else None,  # pyarrow hands it text, and tells why it can't
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(self.names), column_types=dict.fromkeys(self.names, pa.binary())
            ),
        )
        if not odd:
            return table
        if min(odd) < 0 or max(odd) >= table.num_rows + len(odd):
            return None
        places = np.zeros(table.num_rows + len(odd), np.bool_)
        places[odd] = True
        return table.take(pa.array(np.cumsum(~places) - 1, mask=places))

    def _json(self, text: bytes, count: int) -> pa.Table | None:
        if TOP_LEVEL_NULL.search(text) or not _one_a_line(text, count):
            return None
        kinds = [(name, self.contract.column(name).logical_type) for name in self.names]
        schema = pa.schema([(name, TYPES[kind] if kind in JSON_NATIVE else pa.string()) for name, kind in kinds])
        table = pyarrow.json.read_json(
            io.BytesIO(text),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        return pa.table({name: table.column(name).cast(pa.string()) for name in self.names})


def _only_broken(text: bytes) -> int | None:
    """Return where the one line that isn't UTF-8 breaks off, None when there are several, or none."""
    try:
        text.decode()
    except UnicodeDecodeError as fault:
        behind = text.find(b"\n", fault.start) + 1
        return fault.start if not behind or is_utf8(text[behind:]) else None
    return None
