"""Anchors: the places of some bytes at which a number begins or an `@` stands, told by a bit for each byte.

Bits are 64 to a word, the first byte's the lowest, so that what is asked of many bytes costs little.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Bitmap = npt.NDArray[np.uint64]

LEAST = 11  # digits of a number that is an anchor
_WORD = 64  # bits
_AT, _ZERO, _TEN = np.uint8(ord("@")), np.uint8(ord("0")), np.uint8(10)


def ats(data: Bytes, first: int, stop: int, _edges: Indices) -> Indices:
    """Return where an `@` stands in data[first:stop]."""
    return first + _places(_bitmap(data[first:stop] == _AT))


def numbers(data: Bytes, first: int, stop: int, edges: Indices) -> Indices:
    """Return where in data[first:stop] a number begins, after which `LEAST` digits stand.

    One begins where no digit is before it, and at each of `edges`, which are in order.
    """
    digits = _bitmap(data[first : stop + _WORD] - _ZERO < _TEN)
    runs = digits
    for step in (1, 2, 4, LEAST - 8):  # 2, 4, 8 and 11 digits from here
        runs = runs & _ahead(runs, step)
    if not runs.any():
        return np.zeros(0, np.int64)
    before = (digits << np.uint64(1)) | np.append(np.uint64(0), digits[:-1] >> np.uint64(_WORD - 1))
    before[0] |= np.uint64(first > 0 and bool((data[first - 1 : first] - _ZERO < _TEN)[0]))
    low, high = np.searchsorted(edges, (first, stop))
    if low < high:
        begins = np.zeros(len(digits) * _WORD, np.bool_)
        begins[edges[low:high] - first] = True
        before &= ~_bitmap(begins)
    places = first + _places(runs & ~before)
    return places[places < stop]


def _bitmap(mask: npt.NDArray[np.bool_]) -> Bitmap:
    packed = np.packbits(mask, bitorder="little")
    return np.concatenate([packed, np.zeros(-len(packed) % 8, np.uint8)]).view("<u8")


def _ahead(bits: Bitmap, count: int) -> Bitmap:
    """Return for each byte the bit of the one `count` bytes behind it; none is set behind the last."""
    following = np.append(bits[1:], np.uint64(0))
    return (bits >> np.uint64(count)) | (following << np.uint64(_WORD - count))


def _places(bits: Bitmap) -> Indices:
    """Return which bits are set."""
    eights = bits.view(np.uint8)
    some = np.flatnonzero(eights != 0)
    within = np.flatnonzero(np.unpackbits(eights[some], bitorder="little").view(np.bool_))
    places: Indices = some[within >> 3] * 8 + (within & 7)
    return places
