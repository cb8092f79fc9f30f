"""Many values looked for at once in bytes, at the speed of memory and not of the number of values.

Every occurrence of a value of 15 bytes or more holds 8 bytes that begin at a multiple of 8, wherever it begins itself,
and one of 11 bytes or more holds 8 that begin at a multiple of 4. So only these positions are looked at, every eighth
where all values are tokens, else every fourth: either the 8 bytes, mixed to a number, are in a table, or no value is
there. What passes two such tables is looked up, and compared to the byte. Of the windows that a value has the one is
taken whose bytes the fewest values have: all that end in `@example.com` are told apart by what stands before. Where
every window is a common one, as of a short name before a long host, every position is looked at.

A value that names a person counts where it stands as a word: `Anna Berg` isn't in `Johanna Bergmann`, nor is a card
number in a longer number. Tokens count anywhere.

Source: a filter of hashed q-grams in front of exact comparison: Salmela, Tarhio, Kytojoki 2006,
doi:10.1145/1187436.1187438 (multi-pattern matching with q-grams).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

WINDOW = 8  # bytes
OF_TOKENS, OF_TEXT, OF_COMMON_TEXT = 8, 4, 1  # bytes between positions that are looked at
SHORTEST = WINDOW + OF_TEXT - 1  # bytes of a value that can be found anywhere
COMMON = 32  # values that share their rarest window
ANYWHERE, NUMBER, WORD, ADDRESS = range(4)  # what may stand beside a value
_BLOCK = 1 << 17  # bytes looked at in one go, so that what is computed of them stays in the cache
_MIX, _MIX_AGAIN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_ROOM = 5  # bits: at most one in 32 of a table is set
_BITS = (16, 27)  # of the numbers in tables: 64 kB to 128 MB
Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


def _joining() -> npt.NDArray[np.bool_]:
    """Return, by kind, side (before, after) and byte, whether that byte belongs to a longer word than the value."""
    joins = np.zeros((4, 2, 256), np.bool_)
    digits = np.frombuffer(b"0123456789", np.uint8)
    joins[NUMBER, :, digits] = True
    words = np.array([chr(byte).isalnum() or byte > 127 for byte in range(256)])
    joins[WORD] = joins[ADDRESS] = words
    joins[ADDRESS, 0, np.frombuffer(b"._%+-", np.uint8)] = True
    joins[ADDRESS, 1, ord("-")] = True
    return joins


_JOINS = _joining()


def beside(value: bytes) -> int:
    """Return how a value that names a person is told from a part of a longer one."""
    return NUMBER if value.isdigit() else ADDRESS if b"@" in value else WORD


@dataclass(frozen=True)
class Found:
    """Occurrences: where each starts (bytes, or for cells their row), and which value it is."""

    places: Indices
    values: Indices

    def __len__(self) -> int:
        return len(self.values)


class Needles:
    """Values to look for; immutable."""

    def __init__(self, values: pa.Array, kinds: npt.NDArray[np.uint8]) -> None:
        """`values` are unique, binary, of `SHORTEST` bytes or more; `kinds` says what may stand beside each."""
        data, edges = cells(values)
        self.lengths = np.diff(edges)
        self.longest = int(self.lengths.max(initial=SHORTEST))
        self._kinds = kinds
        if (self.lengths < SHORTEST).any():
            raise ValueError(f"values to look for have at least {SHORTEST} bytes")
        padded = np.concatenate([data, np.zeros(WINDOW, np.uint8)])
        tokens = (kinds == ANYWHERE) & (self.lengths >= WINDOW + OF_TOKENS - 1)
        text = np.flatnonzero(~tokens)
        common = rarest(padded, edges, OF_TEXT, text)[1] > COMMON if len(text) else np.zeros(0, np.bool_)
        every, rare = np.flatnonzero(tokens), text[~common]
        if len(rare):  # positions are looked at once: what is at every fourth finds tokens, too
            every, rare = every[:0], np.sort(np.concatenate([every, rare]))
        groups = ((OF_TOKENS, every), (OF_TEXT, rare), (OF_COMMON_TEXT, text[common]))
        self._groups = [Group(padded, edges, stride, which) for stride, which in groups if len(which)]

    def __len__(self) -> int:
        return len(self.lengths)

    def find(self, data: Bytes) -> Found:
        """Return where in `data` the values stand; its ends count as ends of words."""
        starts, values = self._candidates(data)
        keep = self._stand_alone(data, starts, values, np.zeros_like(starts), np.full_like(starts, len(data)))
        return Found(starts[keep], values[keep])

    def find_in_cells(self, column: pa.Array) -> Found:
        """Return which cells of a column (text or bytes, of fixed size or not) hold the values, each whole."""
        data, edges = cells(column)
        starts, values = self._candidates(data)
        rows = np.searchsorted(edges, starts, "right") - 1
        low, high = edges[rows], edges[np.minimum(rows + 1, len(edges) - 1)]
        within = starts + self.lengths[values] <= high
        starts, values, rows = starts[within], values[within], rows[within]
        keep = self._stand_alone(data, starts, values, low[within], high[within])
        return Found(rows[keep], values[keep])

    def _candidates(self, data: Bytes) -> tuple[Indices, Indices]:
        """Return (start, value) of every place where a value stands, whatever is beside it."""
        none = np.zeros(0, np.int64)
        parts = [(none, none), *(found for group in self._groups for found in group.find(data))]
        starts, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        return starts, values

    def _stand_alone(
        self, data: Bytes, starts: Indices, values: Indices, low: Indices, high: Indices
    ) -> npt.NDArray[np.bool_]:
        """Return which occurrences, each within its bounds `low` to `high`, are no part of a longer word."""
        if not len(starts):
            return np.zeros(0, np.bool_)
        ends, kinds = starts + self.lengths[values], self._kinds[values]
        before = _JOINS[kinds, 0, data[np.maximum(starts - 1, 0)]] & (starts > low)
        after = _JOINS[kinds, 1, data[np.minimum(ends, len(data) - 1)]] & (ends < high)
        return np.asarray(~before & ~after)


class Group:
    """Values that are looked for at the same positions: every `stride` bytes."""

    def __init__(self, data: Bytes, edges: Indices, stride: int, which: Indices) -> None:
        """`data` holds all values, with 8 bytes behind them, value i from `edges[i]`; `which` are in this group."""
        self._data, self._stride = data, stride
        self._starts, self._lengths = edges[which], edges[which + 1] - edges[which]
        words = np.ndarray(len(data) - WINDOW + 1, "<u8", data, 0, (1,))
        shifts = rarest(data, edges, stride, which)[0][:, None] + np.arange(stride)
        found = words[self._starts[:, None] + shifts].reshape(-1)
        order = np.argsort(found)
        self._words, self._shifts = found[order], shifts.reshape(-1)[order]
        self._owners, self._which = np.repeat(np.arange(len(which)), stride)[order], which
        self._first, self._last = words[self._starts], words[self._starts + self._lengths - WINDOW]
        self._shift = np.uint64(64 - int(np.clip(np.ceil(np.log2(len(found))) + _ROOM, *_BITS)))
        self._tables = np.zeros((2, 1 << (64 - int(self._shift))), np.bool_)
        mixed = self._words * _MIX
        self._tables[0, (mixed >> self._shift).view(np.int64)] = True
        self._tables[1, ((mixed * _MIX_AGAIN) >> self._shift).view(np.int64)] = True

    def find(self, data: Bytes) -> Iterator[tuple[Indices, Indices]]:
        """Yield (start, value) of what is found, part by part."""
        last, most = len(data) - WINDOW + 1, _BLOCK // self._stride
        mixes, rows, marks = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.bool_)
        for first in range(0, last, _BLOCK):
            count = -(-(min(first + _BLOCK, last) - first) // self._stride)
            words = np.ndarray(count, "<u8", data, first, (self._stride,))
            mixed = np.multiply(words, _MIX, out=mixes[:count])
            np.right_shift(mixed, self._shift, out=rows[:count].view(np.uint64))
            passed = np.flatnonzero(self._tables[0].take(rows[:count], mode="clip", out=marks[:count]))
            if len(passed):
                again = ((mixed[passed] * _MIX_AGAIN) >> self._shift).view(np.int64)
                passed = passed[self._tables[1].take(again, mode="clip")]
                if len(passed):
                    yield self._compared(data, first + passed * self._stride, words[passed])

    def _compared(self, data: Bytes, places: Indices, words: npt.NDArray[np.uint64]) -> tuple[Indices, Indices]:
        low, high = np.searchsorted(self._words, words, "left"), np.searchsorted(self._words, words, "right")
        counts = high - low
        at = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        values = self._owners[at]
        starts = np.repeat(places, counts) - self._shifts[at]
        ends = starts + self._lengths[values]
        fits = (starts >= 0) & (ends <= len(data))
        starts, values, ends = starts[fits], values[fits], ends[fits]
        windows = np.ndarray(len(data) - WINDOW + 1, "<u8", data, 0, (1,))
        ends_alike = np.flatnonzero(windows[ends - WINDOW] == self._last[values])
        alike = ends_alike[windows[starts[ends_alike]] == self._first[values[ends_alike]]]
        equal = [at for at in alike if self._equals(data, int(starts[at]), int(values[at]))]
        return starts[equal], self._which[values[equal]]

    def _equals(self, data: Bytes, start: int, value: int) -> bool:
        length, mine = int(self._lengths[value]), int(self._starts[value])
        return data[start : start + length].tobytes() == self._data[mine : mine + length].tobytes()


def rarest(data: Bytes, edges: Indices, stride: int, which: Indices) -> tuple[Indices, Indices]:
    """Return for each value (see `Group`) from which of its bytes on `stride` windows are taken, those whose commonest
    one the fewest values have; and how many these are (or somewhat more: windows are counted by a hash of 24 bits)."""
    starts, spans = edges[which], edges[which + 1] - edges[which] - (WINDOW + stride - 1) + 1
    words = np.ndarray(len(data) - WINDOW + 1, "<u8", data, 0, (1,))
    buckets = ((words * _MIX) >> np.uint64(40)).view(np.int64)
    shared = np.bincount(buckets)[buckets]
    firsts = np.cumsum(spans) - spans
    within = np.arange(spans.sum()) - np.repeat(firsts, spans)
    places = np.repeat(starts, spans) + within
    worst = shared[places]
    for at in range(1, stride):
        np.maximum(worst, shared[places + at], out=worst)
    least = np.minimum.reduceat(worst, firsts)
    best = np.flatnonzero(worst == np.repeat(least, spans))[::-1]
    chosen = np.zeros(len(which), np.int64)
    chosen[np.searchsorted(firsts, best, "right") - 1] = within[best]  # the first of equals is written last
    return chosen, least


def cells(column: pa.Array) -> tuple[Bytes, Indices]:
    """Return the bytes of a column of text, binary or fixed size, and where each cell begins in them (rows + 1)."""
    if pa.types.is_fixed_size_binary(column.type):
        width, rows = column.type.byte_width, len(column)
        buffer = column.buffers()[1]
        data = np.frombuffer(buffer, np.uint8)[column.offset * width :][: rows * width] if buffer else _NOTHING
        return np.ascontiguousarray(data), np.arange(rows + 1) * width
    whole = column.cast(pa.large_binary())
    if not len(whole):
        return _NOTHING, np.zeros(1, np.int64)
    edges = np.frombuffer(whole.buffers()[1], np.int64)[whole.offset : whole.offset + len(whole) + 1]
    buffer = whole.buffers()[2]
    data = np.frombuffer(buffer, np.uint8)[edges[0] : edges[-1]] if buffer else _NOTHING
    return data, edges - edges[0]


_NOTHING = np.zeros(0, np.uint8)
