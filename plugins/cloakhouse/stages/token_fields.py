"""Where tokens stand in a CSV file (RFC 4180, comma, UTF-8), found a block of bytes at a time. Memory stays flat.

A field is within quotes where the number of quotes before it is odd, so commas and line ends that separate are found
for a whole block at once. What two readers might take for different fields is refused: a quote that doesn't stand at
the edge of its field, or a row with more or fewer fields than the header.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cloakhouse.errors import ConfigurationError, NotFound
from cloakhouse.keys.files import storage_error
from cloakhouse.tokens.arrays import ByteColumn, byte_array, byte_column, refuse

BLOCK = 4 << 20  # bytes; no row is longer
MARK = b"\xef\xbb\xbf"  # byte order mark of UTF-8
QUOTE, COMMA, LINE_FEED, RETURN = b'",\n\r'


@dataclass(frozen=True)
class Block:
    """Whole rows as they stand in the file, and where the tokens in them start; all are `width` bytes long."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    width: int

    def tokens(self) -> pa.Array:
        """Return the tokens, in order (string, none of them null; not checked to be UTF-8)."""
        offsets = np.arange(len(self.starts) + 1, dtype=np.int32) * np.int32(self.width)
        return byte_array(
            ByteColumn(offsets, _cells(self.data, self.width)[self.starts].view(np.uint8), None), pa.string()
        )

    def with_tokens(self, tokens: pa.Array) -> bytes:
        """Return the bytes with `tokens` (string, each `width` long, as many) in the places of those before."""
        data, view = self.data.copy(), byte_column(tokens)
        _cells(data, self.width)[self.starts] = view.data[view.offsets[0] : view.offsets[-1]].view(f"V{self.width}")
        return data.tobytes()


@dataclass(frozen=True)
class TokenFile:
    """A CSV file with a header, one of whose columns holds tokens of `width` characters, or nothing."""

    path: Path
    column: str
    width: int

    def blocks(self, digest: Any) -> Iterator[Block]:
        """Yield the file's bytes, header included, and give each to `digest` (of hashlib).

        Raises NotFound unless it is a regular file, ConfigurationError (`configuration.link`) for one that has no such
        column or isn't CSV as above, TreatmentError for a field of another length, StorageError.
        """
        try:
            if not self.path.is_file():
                raise self._missing()
            with self.path.open("rb") as stream:
                yield from self._blocks(stream, digest)
        except OSError as fault:
            raise storage_error(fault, self.path, "nothing was linked") from None

    def _blocks(self, stream: BinaryIO, digest: Any) -> Iterator[Block]:
        names: list[str] = []
        for data in self._whole_rows(stream, digest):
            body = 0
            if not names:
                body = int(next(iter(_line_ends(data)), len(data) - 1)) + 1
                names = self._names(data[:body])
                yield Block(np.frombuffer(data[:body], np.uint8), np.zeros(0, np.int64), self.width)
            if body < len(data):
                yield self._block(data[body:], len(names), names.index(self.column))
        if not names:
            raise self._unusable("a header", "an empty file")

    def _whole_rows(self, stream: BinaryIO, digest: Any) -> Iterator[bytes]:
        rest = b""
        while chunk := stream.read(BLOCK):
            digest.update(chunk)
            rest += chunk
            ends = _line_ends(rest)
            if len(ends):
                yield rest[: ends[-1] + 1]
                rest = rest[ends[-1] + 1 :]
            if len(rest) > BLOCK:
                raise self._unusable(f"rows of at most {BLOCK:,} bytes, and quotes that are closed", "a longer row")
        if rest:
            yield rest

    def _names(self, header: bytes) -> list[str]:
        try:
            names = next(csv.reader([header.decode("utf-8-sig")], strict=True))
        except (UnicodeDecodeError, csv.Error):
            raise self._unusable("CSV in UTF-8 with a header", "another form") from None
        if names.count(self.column) != 1 or len(set(names)) != len(names):
            expected = f"columns with names of their own, one of them `{self.column}`"
            raise self._unusable(expected, f"{len(names)} columns, {names.count(self.column)} of them called so")
        return names

    def _block(self, rows: bytes, fields: int, chosen: int) -> Block:
        """Return whole rows with the places of their tokens; the file's last row may lack its line end."""
        data = np.frombuffer(rows if rows.endswith(b"\n") else rows + b"\n", np.uint8)
        inside = _inside(data)
        separators = np.flatnonzero(((data == COMMA) | (data == LINE_FEED)) & ~inside)
        last = np.arange(len(separators)) % fields == fields - 1
        if inside[-1] or not _at_edges(data, inside):
            raise self._unusable("quotes around whole fields, doubled within them", "others")
        if len(separators) % fields or ((data[separators] == LINE_FEED) != last).any():
            raise self._unusable(f"{fields} fields in every row, as in the header", "other rows")
        starts = np.concatenate([[-1], separators])[chosen:-1:fields] + 1
        starts, ends = _bare(data, starts, separators[chosen::fields])
        present = ends > starts
        self._require_width(ends[present] - starts[present])
        return Block(np.frombuffer(rows, np.uint8), starts[present], self.width)

    def _require_width(self, lengths: NDArray[np.int64]) -> None:
        wrong = np.count_nonzero(lengths != self.width)
        if wrong:
            raise refuse(
                self.column,
                code="rendering",
                expected=f"tokens of {self.width} characters, or empty fields",
                found=f"{wrong} of {len(lengths)} in a block of rows that are of another length",
                remedy="check the column, and the form that its contract names (hex or base32)",
            )

    def _missing(self) -> NotFound:
        return NotFound(
            where=self.path.name,
            expected="a CSV file with a column of tokens",
            found="no such file",
            not_done="nothing was linked",
            remedy="correct the path",
        )

    def _unusable(self, expected: str, found: str) -> ConfigurationError:
        return ConfigurationError(
            where=self.path.name,
            expected=expected,
            found=found,
            not_done="nothing was linked",
            remedy="correct the file, or name the column of tokens with --column",
            code="link",
        )


def _cells(data: NDArray[np.uint8], width: int) -> NDArray[np.void]:
    """View `data` as the `width` bytes from every position, to gather and scatter tokens by their starts."""
    return np.ndarray(max(len(data) - width + 1, 0), f"V{width}", data, 0, (1,))


def _inside(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return after which bytes a field within quotes goes on."""
    odd: NDArray[np.bool_] = np.logical_xor.accumulate(data == QUOTE)
    return odd


def _line_ends(rows: bytes) -> NDArray[np.intp]:
    data = np.frombuffer(rows, np.uint8)
    return np.flatnonzero((data == LINE_FEED) & ~_inside(data))


def _at_edges(data: NDArray[np.uint8], inside: NDArray[np.bool_]) -> bool:
    """Return whether every quote opens a field, closes one, or is one of a doubled pair; a line end ends `data`."""
    quotes = np.flatnonzero(data == QUOTE)
    opens, closes = quotes[inside[quotes]], quotes[~inside[quotes]]
    edges = [COMMA, LINE_FEED, QUOTE]
    after, then = data[closes + 1], data[np.minimum(closes + 2, len(data) - 1)]
    closed = np.isin(after, edges) | ((after == RETURN) & (then == LINE_FEED))
    return bool(np.isin(data[opens - 1], edges).all() and closed.all())


def _bare(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where fields start and end without their quotes, and without the carriage return of a line end."""
    ends = ends - ((data[ends] == LINE_FEED) & (ends > starts) & (data[ends - 1] == RETURN))
    quoted = data[starts] == QUOTE
    return starts + quoted, ends - quoted
