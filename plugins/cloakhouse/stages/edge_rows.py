"""What the two forms of a feed share at the edge: lines as they arrive, columns checked and treated, rows counted."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Column
from cloakhouse.errors import AccessRefused, DeliveryError
from cloakhouse.stages.parsing import Flags, check_column
from cloakhouse.tokens.apply import Around, treat, untreatable, uses
from cloakhouse.tokens.edge_keys import EdgeFile
from cloakhouse.tokens.place import Place
from cloakhouse.tokens.render import to_hex

MAX_LINE = 1 << 20  # bytes, with its line feed
BOM = b"\xef\xbb\xbf"


@dataclass
class Tally:
    """What became of the rows so far: how many were tokenized, and how many were left out by reason."""

    rows: int = 0
    bad: Counter[str] = field(default_factory=Counter)

    def leave_out(self, reason: str, _line: bytes = b"") -> None:
        """Count one row that is left out."""
        self.bad[reason] += 1


class Arriving:
    """`source` in blocks of whole lines, each given as soon as it is there: nothing waits for a block to fill.

    The last line gets the line feed that it may lack. Memory: what arrives at once (at most 1 MiB) and one line.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._read = getattr(source, "read1", source.read)
        self._rest = bytearray()
        self._ahead = b""

    def first_line(self) -> bytes:
        """Return the first line, or nothing if there is none; to be called first. Raises as `read`."""
        block = self.read()
        end = block.find(b"\n") + 1
        self._ahead = block[end:]
        return block[:end]

    def read(self, _size: int = -1) -> bytes:
        """Return the next block, or nothing at the end. Raises DeliveryError for a line above 1 MiB."""
        if self._ahead:
            block, self._ahead = self._ahead, b""
            return block
        while piece := self._read(MAX_LINE):
            end = piece.rfind(b"\n") + 1
            self._check(len(self._rest) + (piece.find(b"\n") + 1 or len(piece)))
            self._rest += piece[:end] if end else piece
            if end:
                block, self._rest = bytes(self._rest), bytearray(piece[end:])
                return block
        last, self._rest = bytes(self._rest), bytearray()
        return last + b"\n" if last else b""

    def readline(self) -> bytes:
        """Return nothing: blocks end with their line."""
        return b""

    @staticmethod
    def _check(length: int) -> None:
        if length > MAX_LINE:
            raise DeliveryError(
                where="the feed",
                expected=f"lines of at most {MAX_LINE} bytes",
                found="a longer one",
                not_done="it and the lines after it were not tokenized",
                remedy="check the feed's form: one record a line",
                code="line",
            )


class EdgeTreater:
    """Treats rows by the columns of a key file. Raises AccessRefused (`access.edge`) at once where a key is lacking."""

    def __init__(self, file: EdgeFile, day: dt.date) -> None:
        self.columns = file.columns
        self.tally = Tally()
        self._keys = file.keys
        self._around = Around(Place(file.dataset, day.isoformat()))
        for column in self.columns:
            period = self._around.place.period(column.treatment.parameters.get("period"))
            for use in uses(column, period):
                self._keys.key(use)

    def check_names(self, names: Sequence[str], keep: Sequence[str]) -> None:
        """Raise unless every column that a feed has is tokenized or kept, and every one to tokenize is there, once.

        AccessRefused (`access.unnamed`), DeliveryError (`delivery.columns`). Names that only the feed knows aren't
        quoted: a feed without a header has values in that place.
        """
        known = {column.name for column in self.columns}
        others = [str(place) for place, name in enumerate(names, 1) if name not in known and name not in keep]
        if others:
            raise AccessRefused(
                where="the feed's columns",
                expected="columns to tokenize (" + ", ".join(sorted(known)) + ") and columns named to be kept",
                found=f"{len(others)} of {len(names)} that are neither, at place " + ", ".join(others[:20]),
                not_done="no row was tokenized: an unnamed column would leave in clear",
                remedy="name columns that may stay in clear with `--keep`, or don't send them",
                code="unnamed",
            )
        lacking = sorted(known - set(names))
        if lacking or len(set(names)) != len(names):
            raise DeliveryError(
                where="the feed's columns",
                expected="each column of the key file, once",
                found="none called " + ", ".join(lacking) if lacking else "a column twice",
                not_done="no row was tokenized",
                remedy="correct the feed, or have a key file exported for its columns",
                code="columns",
            )

    def treated(
        self, raw: Mapping[str, pa.Array], rows: int, wrong: Mapping[str, Flags] | None = None
    ) -> tuple[dict[str, pa.Array], Flags]:
        """Return the treated columns of the sound rows, as they are written (see `as_text`), and bool[rows]: which.

        `raw` is binary, or of the column's type; `wrong` says which values are of no such type. The tally counts each
        row that is left out under the first fault of it.
        """
        sound = np.ones(rows, np.bool_)
        for flags in (wrong or {}).values():
            self._leave_out(sound, flags, "wrong_type")
        values: dict[str, pa.Array] = {}
        for column in self.columns:
            values[column.name], faults = check_column(raw[column.name], column)
            for reason, flags in faults.items():
                self._leave_out(sound, flags, reason)
        fit = np.ones(int(np.count_nonzero(sound)), np.bool_)
        chosen = pa.array(sound)
        found = {c.name: self._treated(values[c.name].filter(chosen), c, fit) for c in self.columns}
        self.tally.rows += int(np.count_nonzero(fit))
        sound[sound] = fit
        return {name: treated.filter(pa.array(fit)) for name, treated in found.items()}, sound

    def _treated(self, values: pa.Array, column: Column, fit: Flags) -> pa.Array:
        unfit = untreatable(values, column)
        if unfit.any():
            self._leave_out(fit, unfit, "wrong_form")
            values = pc.if_else(pa.array(~unfit), values, None)
        return as_text(treat(values, column, self._keys, self._around))

    def _leave_out(self, sound: Flags, flags: Flags, reason: str) -> None:
        fresh = int(np.count_nonzero(flags & sound))
        if fresh:
            self.tally.bad[reason] += fresh
            sound &= ~flags


def as_text(values: pa.Array) -> pa.Array:
    """Return treated values as text feeds have them; numbers stay numbers.

    Binary tokens are lower-case hexadecimal digits; dates and timestamps ISO 8601 (`2026-11-01T09:00:00`).
    """
    kind: Any = values.type
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return to_hex(values)
    if pa.types.is_timestamp(kind):
        return pc.strftime(values.cast(pa.timestamp("s")), "%Y-%m-%dT%H:%M:%S")  # only starts of units get here
    return values.cast(pa.string()) if pa.types.is_date32(kind) else values
