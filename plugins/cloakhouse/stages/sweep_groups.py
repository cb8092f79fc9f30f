"""Values that are looked for in the same way: at which places of some bytes a word of each is asked for.

| group | where a value of it can be | words of a value |
| --- | --- | --- |
| `Sampled` | a word of it begins at a multiple of `stride`, wherever the value begins itself | `stride` |
| `Anchored` by numbers | where a number of 11 digits or more begins: as part of a longer one it names nobody | 1 |
| `Anchored` by `@` | around each `@` | 1 |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cloakhouse.stages.sweep_words import HIGH, WINDOW, Bytes, Indices, Words, Words64, words_at, words_of

BLOCK = 1 << 15  # words asked for in one go, so that what is computed of them stays in the cache
BYTES = 1 << 19  # looked at for anchors in one go
_FEW = 4  # of so many words, one: then these are picked out before they are asked for
_MIX = np.uint64(0x9E3779B97F4A7C15)
_NONE = np.zeros(0, np.int64)
Anchors = Callable[[Bytes, int, int, Indices], Indices]
Pairs = Iterator[tuple[Indices, Indices]]


@dataclass(frozen=True)
class Values:
    """Some of the values: their bytes one after the other and a word more, where each begins (values + 1), and the
    number that each has."""

    data: Bytes
    edges: Indices
    numbers: Indices

    @classmethod
    def of(cls, values: pa.Array) -> Values:
        """Return all of `values` (binary)."""
        data, edges = cells(values)
        return cls(np.concatenate([data, np.zeros(WINDOW, np.uint8)]), edges, np.arange(len(values)))

    def those(self, rows: Indices) -> Values:
        """Return some of them, by row."""
        lengths = self.lengths[rows]
        edges = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(edges[-1]) - np.repeat(edges[:-1], lengths)
        data = self.data[np.repeat(self.edges[rows], lengths) + within]
        return Values(np.concatenate([data, np.zeros(WINDOW, np.uint8)]), edges, self.numbers[rows])

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def lengths(self) -> Indices:
        """Bytes of each."""
        return np.diff(self.edges)

    def standing(self, data: Bytes, starts: Indices, rows: Indices) -> tuple[Indices, Indices]:
        """Return (start, number) of those of `rows` that stand in `data` at `starts`, to the byte."""
        begin, lengths = self.edges[rows], self.edges[rows + 1] - self.edges[rows]
        fits = np.flatnonzero((starts >= 0) & (starts + lengths <= len(data)))
        for mine in (lambda n: lengths[n] - WINDOW, lambda _: 0):  # its last word, then its first
            ours = words_at(self.data, begin[fits] + mine(fits))
            fits = fits[words_at(data, starts[fits] + mine(fits)) == ours]
        equal = [n for n in fits if self._equals(data, int(starts[n]), int(begin[n]), int(lengths[n]))]
        return starts[equal], self.numbers[rows[equal]]

    def _equals(self, data: Bytes, start: int, begin: int, length: int) -> bool:
        return data[start : start + length].tobytes() == self.data[begin : begin + length].tobytes()


class Sampled:
    """Values that are looked for at every `stride` bytes.

    Where they are many, words of ASCII and others are kept `apart`: text is never compared with what stands in binary
    tokens alone, nor ciphertext with text.
    """

    def __init__(self, values: Values, stride: int, *, apart: bool = True) -> None:
        self._values, self._stride, self._apart = values, stride, apart
        shifts = rarest(values, stride)[0][:, None] + np.arange(stride)
        words = words_at(values.data, (values.edges[:-1, None] + shifts).reshape(-1))
        rows, shifts = np.repeat(np.arange(len(values)), stride), shifts.reshape(-1)
        binary = (words & HIGH) != 0
        kinds = (binary, ~binary) if apart else (np.ones_like(binary),)
        self._kinds = [(Words(words[mine]), rows[mine], shifts[mine]) for mine in kinds]

    def find(self, data: Bytes, _edges: Indices) -> Pairs:
        """Yield (start, number) of what stands in `data`, kind by kind."""
        words = words_of(data, 0, max(-(-(len(data) - WINDOW + 1) // self._stride), 0), self._stride)
        passed: list[list[Indices]] = [[_NONE] for _ in self._kinds]
        for first in range(0, len(words), BLOCK):
            block = words[first : first + BLOCK]
            for (known, _, _), some, parts in zip(self._kinds, self._picked(block), passed, strict=True):
                places = known.may_hold(block if some is None else block[some])
                parts.append(first + (places if some is None else some[places]))
        for (known, rows, shifts), parts in zip(self._kinds, passed, strict=True):
            places, found = known.find(words, np.concatenate(parts))
            yield self._values.standing(data, places * self._stride - shifts[found], rows[found])

    def _picked(self, block: Words64) -> list[Indices | None]:
        """Return by kind which words of a block may be of it, None for all of them where it is no use to pick them."""
        if not self._apart:
            return [None]
        binary = (block & HIGH) != 0
        masks, many = (binary, ~binary), int(np.count_nonzero(binary))
        sizes = [
            size if len(known) else 0
            for size, (known, _, _) in zip((many, len(block) - many), self._kinds, strict=True)
        ]
        return [
            None if size * _FEW >= len(block) else np.flatnonzero(mask) if size else _NONE
            for size, mask in zip(sizes, masks, strict=True)
        ]


Part = tuple[Values, Indices, int]
"""Values, where in each its anchor is, and how far from that its word."""


class Anchored:
    """Values that are looked for at places that `anchors` tells: each by the word so many bytes from its anchor."""

    def __init__(self, anchors: Anchors, parts: Sequence[Part]) -> None:
        self._anchors = anchors
        self._parts = [
            (values, within, offset, Words(words_at(values.data, values.edges[:-1] + within + offset)))
            for values, within, offset in parts
        ]

    def find(self, data: Bytes, edges: Indices) -> Pairs:
        """Yield (start, number) of what stands in `data`, part by part; `edges` are where cells begin."""
        blocks = range(0, len(data), BYTES)
        found = [self._anchors(data, first, min(first + BYTES, len(data)), edges) for first in blocks]
        anchors = np.concatenate([_NONE, *found])
        for values, within, offset, known in self._parts:
            fits = anchors[(anchors >= -offset) & (anchors <= len(data) - WINDOW - offset)]
            if len(fits):
                words = words_at(data, fits + offset)
                places, rows = known.find(words, known.may_hold(words))
                yield values.standing(data, fits[places] - within[rows], rows)


def rarest(values: Values, stride: int) -> tuple[Indices, Indices]:
    """Return for each value from which of its bytes on `stride` words are taken, those whose commonest one the fewest
    values have; and how many these are (or somewhat more: words are counted by a hash of 24 bits)."""
    starts, spans = values.edges[:-1], values.lengths - (WINDOW + stride - 1) + 1
    words = words_of(values.data, 0, len(values.data) - WINDOW + 1, 1)
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
    chosen = np.zeros(len(values), np.int64)
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
