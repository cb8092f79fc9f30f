"""Values of unequal lengths as rows of 16-byte blocks, so that a chain of block calls runs for all rows at once.

Rows are arranged most blocks first: the rows that have a block j are then the first `counts[j]` of them. Values that
all have as many blocks keep their order; those of one length, at equal distances, are reached by stride, several times
faster than by gathering.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloakhouse.tokens.aes import BLOCK, CHUNK_ROWS
from cloakhouse.tokens.arrays import ByteColumn
from cloakhouse.tokens.planes import Planes

LONG_VALUE = 1024
"""Bytes; longer values are rare and go row by row, so that one of them can't stall a column."""

_Int = NDArray[np.int64]
_Void = NDArray[np.void]
_Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Arrangement:
    """The order in which rows run through a chain. Built by `arranged` or `of_one_length`."""

    order: NDArray[np.intp] | None
    """Index of every row's value, most blocks first; None if all have as many and keep their order."""
    lengths: _Int
    """Length of every value (bytes), in that order; of the first alone with `one_length`."""
    counts: list[int]
    """By block number: how many rows have that block. An empty value has one block, of nothing."""
    one_length: bool = False
    """Whether all values have the same length."""

    def of(self, values: _Int) -> _Int:
        """Return `values`, one per value, in the order of the rows."""
        return values if self.order is None else values[self.order]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.counts[0]

    @property
    def groups(self) -> list[tuple[int, int, int]]:
        """First row, row after the last, and blocks of a row, for every run of rows with equally many blocks."""
        bounds = [*self.counts, 0]
        groups = [(bounds[blocks], bounds[blocks - 1], blocks) for blocks in range(len(self.counts), 0, -1)]
        return [group for group in groups if group[0] < group[1]]


def arranged(lengths: _Int) -> Arrangement:
    """Return the arrangement of one or more values with these lengths (bytes, up to LONG_VALUE)."""
    longest, shortest = int(lengths.max()), int(lengths.min())
    if longest == shortest:
        return of_one_length(longest, len(lengths))
    blocks = _blocks(longest)
    if blocks == _blocks(shortest):
        return Arrangement(None, lengths, [len(lengths)] * blocks)
    last = (np.maximum(lengths, 1) - 1) >> 4
    order = np.argsort((LONG_VALUE // BLOCK - last).astype(np.uint8), kind="stable")
    counts = np.cumsum(np.bincount(last)[::-1])[::-1].tolist()
    return Arrangement(order, lengths[order], counts)


def of_one_length(length: int, rows: int) -> Arrangement:
    """Return the arrangement of `rows` values of this length (bytes)."""
    return Arrangement(None, np.full(1, length), [rows] * _blocks(length), one_length=True)


def _blocks(length: int) -> int:
    return max(1, -(-length // BLOCK))


class Places:
    """Where arranged rows lie in a buffer, to read their blocks into planes and to write planes to them.

    The buffer must reach 16 bytes past the last row. A block that is read or written may reach past its own row.
    numpy takes as long to gather 64 bytes from an uneven address as one, so a row's blocks are gathered together.
    """

    __slots__ = ("_data", "_plan", "_starts", "_stride")

    def __init__(self, data: _Bytes, starts: _Int, plan: Arrangement, stride: int | None = None) -> None:
        """View rows at these starts, in the plan's order; `stride` is their distance where it is known to be equal.

        With a stride, the first start is enough.
        """
        self._data, self._starts, self._plan, self._stride = data, starts, plan, stride

    def read(self, offset: int) -> _Void:
        """Return V16[rows]: the block that starts `offset` bytes after the start of each row."""
        return self._data_windows(BLOCK)[self._starts + offset] if self._stride is None else self._strided(offset)

    def write(self, offset: int, blocks: _Void) -> None:
        """Write one block to each row, `offset` bytes after the row's start."""
        if self._stride is None:
            self._data_windows(BLOCK)[self._starts + offset] = blocks
        else:
            self._strided(offset)[:] = blocks

    def read_all(self, offset: int, planes: Planes) -> None:
        """Lay planes for all blocks of all rows, and read them from `offset` bytes after the row's start."""
        planes.lay(self._plan.counts)
        if self._stride is not None:
            for step in range(len(self._plan.counts)):
                planes.cells(step)[:] = self._strided(offset + BLOCK * step)
            return
        for start, stop, blocks in self._plan.groups:
            gathered = self._data_windows(BLOCK * blocks)[self._starts[start:stop] + offset]
            columns = gathered.view("V16").reshape(stop - start, blocks)
            for step in range(blocks):
                planes.cells(step)[start:stop] = columns[:, step]

    def write_all(self, offset: int, planes: Planes) -> None:
        """Write all blocks of all rows; the last of a row may run up to 15 bytes over its end."""
        if self._stride is not None:
            for step in range(len(self._plan.counts)):
                self._strided(offset + BLOCK * step)[:] = planes.cells(step)
            return
        for start, stop, blocks in self._plan.groups:
            columns = np.empty((stop - start, blocks), "V16")
            for step in range(blocks):
                columns[:, step] = planes.cells(step)[start:stop]
            windows = self._data_windows(BLOCK * blocks)
            windows[self._starts[start:stop] + offset] = columns.view(windows.dtype)[:, 0]

    def _strided(self, offset: int) -> _Void:
        return np.ndarray(self._plan.rows, "V16", self._data, int(self._starts[0]) + offset, (self._stride or 0,))

    def _data_windows(self, size: int) -> _Void:
        """View the `size` bytes from every position."""
        return np.ndarray(len(self._data) - size + 1, f"V{size}", self._data, 0, (1,))


def chunks(column: ByteColumn) -> list[slice]:
    """Return the rows to treat at once: CHUNK_ROWS, or fewer where values are long, as planes hold all their blocks."""
    rows = len(column)
    mean = int(column.offsets[-1] - column.offsets[0]) // max(rows, 1)
    step = max(1024, CHUNK_ROWS * 64 // max(mean, 64))
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


def lengths_of(column: ByteColumn) -> _Int:
    """Return the length of every value (bytes, int64[n]); 0 for null, whatever lies under it."""
    lengths = np.diff(column.offsets).astype(np.int64, copy=False)
    return lengths if column.valid is None else np.where(column.valid, lengths, 0)


def readable(data: _Bytes, start: int, stop: int) -> tuple[_Bytes, int]:
    """Return memory in which 16 bytes may be read from any position up to `stop`, and how far `start` moved in it."""
    if stop + BLOCK <= len(data):
        return data, 0
    return np.concatenate([data[start:stop], np.zeros(BLOCK, np.uint8)]), -start


def starts_of(column: ByteColumn, rows: Any) -> tuple[_Bytes, _Int]:
    """Return readable memory and where in it the values of `rows` (a slice or indices) start (int64[n])."""
    data, moved = readable(column.data, int(column.offsets[0]), int(column.offsets[-1]))
    return data, column.offsets[:-1][rows].astype(np.int64) + moved
