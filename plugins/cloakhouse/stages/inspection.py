"""Looking at a delivery while it streams past: gzip soundness, lines, split points, the header. Constant memory."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterator

import numpy as np

from cloakhouse.contracts.model import Contract, Feed
from cloakhouse.errors import DeliveryError
from cloakhouse.stages.splits import SPLIT_BYTES, SplitPoints

CHUNK = 1 << 20  # bytes
LANDED_NOTHING = "the file was not landed; it stays in the inbox and other files go on"


def refuse(name: str, expected: str, found: str, remedy: str, code: str) -> DeliveryError:
    """Return the refusal of the delivered file `name`."""
    return DeliveryError(
        where=f"inbox/{name}", expected=expected, found=found, not_done=LANDED_NOTHING, remedy=remedy, code=code
    )


class Gunzip:
    """Decompresses gzip members in bounded pieces and knows whether the last one ended."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._member = zlib.decompressobj(wbits=31)
        self._started = False

    def pieces(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield the plaintext of the next compressed bytes, at most CHUNK bytes at a time."""
        while data:
            if self._member.eof:
                self._member, self._started = zlib.decompressobj(wbits=31), False
            try:
                piece = self._member.decompress(data, CHUNK)
            except zlib.error:
                raise refuse(
                    self._name,
                    "a gzip stream",
                    "bytes that are not gzip, or damaged on the way",
                    "have the sender compress and deliver it again",
                    "gzip",
                ) from None
            self._started = True
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece

    def finish(self) -> None:
        """Raise DeliveryError when the stream ended inside a member: the file is truncated."""
        if self._started and not self._member.eof:
            raise refuse(
                self._name,
                "a gzip stream to its end",
                "a stream that stops in the middle",
                "have the sender deliver the whole file again",
                "truncated",
            )


class LineCounter:
    """Counts lines (a last line without line feed counts), keeps the first one, and notes where splits begin."""

    def __init__(self, name: str, feed: Feed, split_bytes: int = SPLIT_BYTES) -> None:
        self._name = name
        self._headers = 1 if feed.format == "csv" else 0
        self._points = SplitPoints(self._headers, split_bytes)
        self._at = 0  # bytes before the next piece
        self._limit = feed.max_line_bytes
        self._open = 0  # bytes since the last line feed
        self._first: bytearray | None = bytearray()
        self._feeds = 0
        self.first = b""

    @property
    def lines(self) -> int:
        """Lines seen so far."""
        return self._feeds + (1 if self._open else 0)

    @property
    def rows(self) -> int:
        """Lines without the header."""
        return self.lines - self._headers

    @property
    def splits(self) -> tuple[dict[str, int], ...]:
        """Where splits begin, once all has been seen: offset (bytes of plaintext), data rows before it."""
        return self._points.points(self.rows)

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes. Raises DeliveryError for a line over the contract's maxLineBytes."""
        ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == 10)
        self._points.look(self._at, ends, self._feeds)
        self._at += len(piece)
        if self._first is not None:
            self._first += piece[: int(ends[0]) if len(ends) else len(piece)]
            if len(ends):
                self.first, self._first = bytes(self._first), None
        if len(ends) == 0:
            longest = self._open = self._open + len(piece)
        else:
            inner = int(np.diff(ends).max()) - 1 if len(ends) > 1 else 0
            longest = max(self._open + int(ends[0]), inner)
            self._feeds += len(ends)
            self._open = len(piece) - int(ends[-1]) - 1
            longest = max(longest, self._open)
        if longest > self._limit:
            raise refuse(
                self._name,
                f"lines of at most {self._limit} bytes",
                f"a longer one after line {self._feeds}",
                "check the line ends of the export; raise maxLineBytes in the contract if such lines are real",
                "line-length",
            )

    def finish(self) -> None:
        """Close the first line when the file is a single one."""
        if self._first is not None:
            self.first, self._first = bytes(self._first), None


def check_header(name: str, contract: Contract, first: bytes) -> int:
    """Return how many columns of the first line the contract doesn't declare: of a CSV header, or of a JSON object.

    Raises DeliveryError when a declared column is missing from a CSV header; a JSON line may leave any out, and
    one that is no object has 0. Names that were found are not shown: a file without header has a customer there.
    """
    feed = contract.feed
    assert feed is not None
    if feed.format != "csv":
        return _undeclared_keys(contract, first)
    try:
        found = next(csv.reader(io.StringIO(first.decode("utf-8")), delimiter=feed.delimiter, strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        found = []
    declared = [column.name for column in contract.columns]
    missing = [column for column in declared if column not in found]
    if missing or len(set(found)) != len(found):
        problem = f"{len(found)} fields, {len(declared) - len(missing)} of the {len(declared)} declared among them"
        raise refuse(
            name,
            f"a header with the declared columns (first missing: {missing[0] if missing else 'none, but one is twice'})"
            f", separated by {feed.delimiter!r}",
            problem,
            "check the delimiter and the header line; if the feed changed, raise the contract's version",
            "header",
        )
    return len(found) - len(declared)


def _undeclared_keys(contract: Contract, first: bytes) -> int:
    try:
        found = json.loads(first)
    except (ValueError, RecursionError):
        return 0
    return len(found.keys() - {column.name for column in contract.columns}) if isinstance(found, dict) else 0
