"""FF1 over a column whose values may be of several lengths: one length after the other, a chunk of rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloakhouse.tokens.aes import CHUNK_ROWS, AesPermutation
from cloakhouse.tokens.arrays import ByteColumn
from cloakhouse.tokens.ff1_batch import Ff1Batch, fits
from cloakhouse.tokens.ff1_format import Ff1Format
from cloakhouse.tokens.ff1_luhn import set_digit
from cloakhouse.tokens.ff1_numerals import cells
from cloakhouse.tokens.ff1_reference import Ff1Shape, ff1_one

_Bytes = NDArray[np.uint8]


def encrypt_middles(text: ByteColumn, codes: _Bytes, layout: Ff1Format, aes: AesPermutation, *, decrypt: bool) -> None:
    """Overwrite the characters that aren't kept, one length after the other, a chunk of rows at a time."""
    lengths = np.diff(text.offsets)
    if len(lengths) and lengths[0] and lengths.min() == lengths.max():  # then values are the rows of a matrix
        cipher = _OneLength(layout, int(lengths[0]), aes, len(lengths), decrypt=decrypt)
        cipher.overwrite(text.data.reshape(-1, cipher.length), codes.reshape(-1, cipher.length))
        return
    for length in np.flatnonzero(np.bincount(lengths)).tolist() if len(lengths) else []:
        if length == 0:
            continue  # nulls only: an empty value is refused before
        starts = text.offsets[:-1][lengths == length]
        cipher = _OneLength(layout, length, aes, len(starts), decrypt=decrypt)
        rows = _gather(text.data, starts, length)
        cipher.overwrite(rows, _gather(codes, starts, length))
        _windows(text.data, length)[starts] = cells(rows)


class _OneLength:
    """Encrypts, or decrypts, values of one length, of which there are `rows`."""

    def __init__(self, layout: Ff1Format, length: int, aes: AesPermutation, rows: int, *, decrypt: bool) -> None:
        self.length, self._layout, self._aes, self._decrypt = length, layout, aes, decrypt
        shape = Ff1Shape(layout.radix, length - layout.kept - layout.chosen, layout.kept)
        self._batch = Ff1Batch(aes, shape, min(rows, CHUNK_ROWS)) if fits(shape) else None

    def overwrite(self, rows: _Bytes, codes: _Bytes) -> None:
        """Overwrite the characters of uint8[rows, length] that aren't kept; `codes` are the numerals of all."""
        middle = self._layout.middle(self.length)
        for first in range(0, len(rows), CHUNK_ROWS):
            part = rows[first : first + CHUNK_ROWS]
            numerals = codes[first : first + CHUNK_ROWS, middle]
            result = self._run(numerals, self._layout.tweaks(part))
            cells(part[:, middle])[:] = cells(self._layout.characters(result))
            if self._layout.luhn:
                self._choose(part)

    def _run(self, numerals: _Bytes, tweaks: _Bytes) -> _Bytes:
        if self._batch is not None:
            result = np.empty(numerals.shape, np.uint8)
            self._batch.run(numerals, tweaks, result, decrypt=self._decrypt)
            return result
        pairs = zip(numerals.tolist(), tweaks, strict=True)
        radix, decrypt = self._layout.radix, self._decrypt
        return np.array([ff1_one(n, radix, t.tobytes(), self._aes, decrypt=decrypt) for n, t in pairs], np.uint8)

    def _choose(self, rows: _Bytes) -> None:
        """Set the digit that is chosen, so that the Luhn sums of whole numbers are what they should be."""
        wanted = self._layout.luhn_sum(encrypted=not self._decrypt)
        rows -= ord("0")
        set_digit(rows, self.length - self._layout.keep_suffix - 1, wanted)
        rows += ord("0")


def _windows(data: _Bytes, length: int) -> NDArray[np.void]:
    """View `data` as the `length` bytes from every position, to gather and scatter values by their starts."""
    return np.ndarray(len(data) - length + 1, f"V{length}", data, 0, (1,))


def _gather(data: _Bytes, starts: NDArray[np.signedinteger[Any]], length: int) -> _Bytes:
    gathered: _Bytes = _windows(data, length)[starts].view(np.uint8)
    return gathered.reshape(len(starts), length)
