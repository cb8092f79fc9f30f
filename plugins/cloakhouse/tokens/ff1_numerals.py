"""Numerals and their numbers, eight at a time: lanes of one uint64 are joined, or parted, in three steps.

Two numerals below 36 make a number that fits 16 bits, four one that fits 32. So a word of eight numerals (the first in
its lowest byte) becomes a number in three multiplications, and a number its numerals in three divisions, for all rows
at once and for any radix up to 36. Words are read and written as the machine's uint64, little-endian.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORD = 8  # numerals in one
_Words = NDArray[np.uint64]
_Bytes = NDArray[np.uint8]
_LANES = ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0x00000000FFFFFFFF))  # bits of a lane, every other


class Numerals:
    """Reads and writes up to `rows` numbers below radix^m < 2^63 as m numerals each, with scratch memory of its own."""

    __slots__ = ("_radix", "_scratch", "_word")

    def __init__(self, radix: int, rows: int) -> None:
        self._radix = radix
        self._word, self._scratch = np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)

    def read(self, numerals: _Bytes, numbers: _Words) -> None:
        """Write the number of every row of uint8[rows, m], first numeral first, into uint64[rows]."""
        rows, size = numerals.shape
        word = self._word[:rows]
        numbers[:] = 0
        for start, stop in _groups(size):
            word[:] = 0
            cells(word.view(np.uint8).reshape(rows, _WORD)[:, _WORD - (stop - start) :])[:] = cells(
                numerals[:, start:stop]
            )
            self._join(word)
            if start:
                numbers *= np.uint64(self._radix**_WORD)
            numbers += word

    def write(self, numbers: _Words, numerals: _Bytes) -> None:
        """Write the numerals of every number of uint64[rows] into uint8[rows, m]; `numbers` is used up."""
        rows, size = numerals.shape
        word, scratch = self._word[:rows], self._scratch[:rows]
        for start, stop in reversed(_groups(size)):
            word[:] = numbers
            if start:
                np.floor_divide(numbers, np.uint64(self._radix**_WORD), out=numbers)
                np.multiply(numbers, np.uint64(self._radix**_WORD), out=scratch)
                word -= scratch
            self._part(word)
            cells(numerals[:, start:stop])[:] = cells(
                word.view(np.uint8).reshape(rows, _WORD)[:, _WORD - (stop - start) :]
            )

    def _join(self, word: _Words) -> None:
        """Turn eight numerals into their number, in place: each lane is its lower half times radix^k plus its upper."""
        lower = self._scratch[: len(word)]
        for step, (bits, mask) in enumerate(_LANES):
            np.bitwise_and(word, np.uint64(mask), out=lower)
            lower *= np.uint64(self._radix ** (1 << step))
            word >>= np.uint64(bits)
            word &= np.uint64(mask)
            word += lower

    def _part(self, word: _Words) -> None:
        """Turn a number below radix^8 into its eight numerals, in place: lanes of 64, 32 and 16 bits in turn."""
        for step, lane in ((2, np.uint64), (1, np.uint32), (0, np.uint16)):
            lanes: NDArray[Any] = word.view(lane)
            scratch: NDArray[Any] = self._scratch[: len(word)].view(lane)
            base, bits = lane(self._radix ** (1 << step)), lane(_LANES[step][0])
            np.floor_divide(lanes, base, out=scratch)
            # The rest goes to the upper half, the quotient q to the lower: (n - q * base) << bits | q.
            lanes <<= bits
            scratch *= lane((int(base) << int(bits)) - 1)
            lanes -= scratch


def _groups(size: int) -> list[tuple[int, int]]:
    """Return where groups of eight numerals start and stop, counted from the last: only the first may be shorter."""
    first = (size - 1) % _WORD + 1
    return [(max(0, stop - _WORD), stop) for stop in range(first, size + 1, _WORD)]


def cells(numerals: _Bytes) -> NDArray[np.void]:
    """View uint8[rows, m] as V{m}[rows]: numpy copies whole cells many times faster than rows of a few bytes."""
    return numerals.view(f"V{numerals.shape[1]}")[:, 0]
