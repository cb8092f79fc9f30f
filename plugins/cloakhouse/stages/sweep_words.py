"""Words of 8 bytes: which of those at many places in some bytes are among many that are looked for.

A bit for each word that is looked for, at a place that mixing gives, tells almost all others off; the table of these
bits fits in the cache of a core, for some million words too. What passes is asked of a second, larger one, mixed in
another way, and then looked up.

Source: a Bloom filter of one hash in front of another, and of the set itself: Bloom 1970, doi:10.1145/362686.362692.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

WINDOW = 8  # bytes
HIGH = np.uint64(0x8080808080808080)  # the bits that no byte of ASCII has
_MIX, _MIX_AGAIN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_ROOM = 5  # at most one bit in 32 is set, while a table is of these sizes:
_FEWEST, _MOST, _MOST_AGAIN = 16, 24, 27  # bits that number its bits: 8 kB to 2 MB, and to 16 MB for the second
Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Words64 = npt.NDArray[np.uint64]


def words_of(data: Bytes, first: int, count: int, stride: int) -> Words64:
    """Return the words that begin at every `stride` bytes of `data` from `first`: a view."""
    return np.ndarray(count, "<u8", data, first, (stride,))


def words_at(data: Bytes, places: Indices) -> Words64:
    """Return the words that begin at `places`."""
    return words_of(data, 0, max(len(data) - WINDOW + 1, 0), 1)[places]


class Words:
    """Words that are looked for, which may repeat; immutable."""

    def __init__(self, words: Words64) -> None:
        self._order = np.argsort(words)
        self._sorted = words[self._order]
        bits = int(np.ceil(np.log2(max(len(words), 1)))) + _ROOM
        self._first = _Bits(words * _MIX, min(max(bits, _FEWEST), _MOST))
        self._second = _Bits(words * _MIX * _MIX_AGAIN, min(max(bits, _FEWEST), _MOST_AGAIN))

    def __len__(self) -> int:
        return len(self._sorted)

    def may_hold(self, words: Words64) -> Indices:
        """Return places of `words`: of all that are looked for, and of few others."""
        return self._first.hold(words * _MIX)

    def find(self, words: Words64, places: Indices) -> tuple[Indices, Indices]:
        """Return, for each pair of equal ones, the place in `words`, of `places`, and that in those looked for."""
        found = words[places]
        kept = self._second.hold(found * _MIX * _MIX_AGAIN)
        places, found = places[kept], found[kept]
        low, high = np.searchsorted(self._sorted, found, "left"), np.searchsorted(self._sorted, found, "right")
        counts = high - low
        rows = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return np.repeat(places, counts), self._order[rows]


class _Bits:
    """A table of bits, of which those are set that numbers begin with."""

    def __init__(self, numbers: Words64, bits: int) -> None:
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << (bits - 3), np.uint8)
        places = np.unique(numbers >> self._shift)
        at = (places >> _THREE).view(np.int64)
        firsts = np.flatnonzero(np.diff(at, prepend=-1))
        if len(firsts):
            masks = np.left_shift(1, places & _SEVEN, dtype=np.uint64, casting="unsafe").astype(np.uint8)
            self._table[at[firsts]] = np.bitwise_or.reduceat(masks, firsts)

    def hold(self, numbers: Words64) -> Indices:
        """Return which of `numbers`, which are used up, begin with bits that are set."""
        numbers >>= self._shift
        within = numbers.astype(np.uint8)
        within &= np.uint8(7)
        numbers >>= _THREE
        found = self._table.take(numbers.view(np.int64), mode="clip")
        found >>= within
        found &= np.uint8(1)
        return np.flatnonzero(found.view(np.bool_))


_THREE, _SEVEN = np.uint64(3), np.uint64(7)
