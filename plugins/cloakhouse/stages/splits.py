"""Where a delivery is cut, so that several workers treat it: every 64 MiB or so of plaintext, at the start of a line.

Landing finds the places in its one pass over the plaintext and writes them into the delivery's manifest, as byte
offsets into the plaintext (decompressed) and numbers of data rows before them; nothing of the content. A manifest
without them, of an earlier version, is one split.

A large delivery's neighbours are put together (`fewer`), so that a partition is a few files, however large it is, and
one that is compressed isn't decompressed from its start for every 64 MiB of it: that grows with the square of its size.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from cloakhouse.contracts.model import Feed

SPLIT_BYTES = 64 << 20  # bytes of plaintext
DISCARD = 1 << 20  # bytes at a time
MOST = 64  # splits of one delivery
MOST_COMPRESSED = 16  # each decompresses what is before it: half of these passes over the whole


@dataclass(frozen=True)
class Split:
    """A part of a delivery, cut between lines.

    Attributes:
        number: its place among the delivery's splits, from 0.
        offset / end: bytes of plaintext where it begins and where the next one does; None for the last one's end.
        rows: data rows in it, as landing counted them.
    """

    number: int
    offset: int
    end: int | None
    rows: int

    @classmethod
    def whole(cls, rows: int) -> Split:
        """Return the only split of a delivery of `rows` data rows."""
        return cls(0, 0, None, rows)


class SplitPoints:
    """Collects where splits begin while the lines of a delivery stream past."""

    def __init__(self, headers: int, split_bytes: int) -> None:
        self._headers = headers
        self._size = split_bytes
        self._due = split_bytes  # the next split begins with the first line from here on
        self._found = [(0, 0)]

    def look(self, at: int, ends: npt.NDArray[np.int64], lines: int) -> None:
        """Take the line feeds of the next piece: it begins at byte `at` and has them at `ends`, after `lines` lines."""
        while True:
            index = max(int(np.searchsorted(ends, self._due - at - 1)), self._headers - lines)  # no split without rows
            if index >= len(ends):
                return
            offset = at + int(ends[index]) + 1
            self._found.append((offset, lines + index + 1 - self._headers))
            self._due = offset + self._size

    def points(self, rows: int) -> tuple[dict[str, int], ...]:
        """Return the splits of a delivery of `rows` data rows: offset, and data rows before it."""
        return tuple({"offset": offset, "rows": before} for offset, before in self._found if before < rows)


def splits_of(delivery: Mapping[str, Any]) -> list[Split]:
    """Return the splits of a delivery, in order, from its manifest's content."""
    points = delivery.get("splits") or [{"offset": 0, "rows": 0}]
    below = [*points[1:], {"offset": None, "rows": delivery["rows"]}]
    return [
        Split(number, point["offset"], next_one["offset"], next_one["rows"] - point["rows"])
        for number, (point, next_one) in enumerate(zip(points, below, strict=True))
    ]


def fewer(splits: Sequence[Split], most: int) -> list[Split]:
    """Return the same lines in at most `most` splits: neighbours put together, as evenly as can be."""
    if len(splits) <= most:
        return list(splits)
    borders = [number * len(splits) // most for number in range(most + 1)]
    return [
        Split(number, splits[low].offset, splits[high - 1].end, sum(split.rows for split in splits[low:high]))
        for number, (low, high) in enumerate(itertools.pairwise(borders))
    ]


class Section(io.RawIOBase):
    """Reads the bytes `front`, then `size` bytes of `source` from where it stands (None: up to its end)."""

    def __init__(self, source: BinaryIO, front: bytes, size: int | None) -> None:
        super().__init__()
        self._source = source
        self._front = front
        self.left = size

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer`; return the number of bytes, 0 at the end."""
        target = memoryview(buffer).cast("B")
        if self._front:
            size = min(len(target), len(self._front))
            target[:size], self._front = self._front[:size], self._front[size:]
            return size
        if self.left is not None:
            target = target[: self.left]
        size = self._source.readinto(target)  # type: ignore[attr-defined]
        if self.left is not None:
            self.left -= size
        return int(size)


def section(plain: BinaryIO, split: Split, feed: Feed) -> Section:
    """Return the lines of `split`, for CSV below the header; `plain` is the delivery's plaintext, from its start.

    An uncompressed stream jumps there; a compressed one is read and discarded up to there.
    """
    front = plain.readline() if split.number and feed.format == "csv" else b""
    if split.number:
        if feed.compressed:
            _discard(plain, split.offset - len(front))
        else:
            plain.seek(split.offset)
    return Section(plain, front, None if split.end is None else split.end - split.offset)


def _discard(plain: BinaryIO, size: int) -> None:
    while size and (piece := plain.read(min(size, DISCARD))):
        size -= len(piece)
