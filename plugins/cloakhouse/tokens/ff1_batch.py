"""FF1 for many values of one length at once: halves as uint64, one AES call a round over all rows.

The first block of the pseudorandom function and the leading blocks of the tweak don't change between
rounds, so their chain is run once; each round then costs one block a row. Source: NIST SP 800-38G,
algorithms 7 and 8, in the notation of `ff1_reference`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cloakhouse.tokens.aes import BLOCK, AesPermutation, Blocks
from cloakhouse.tokens.ff1_numerals import Numerals, cells
from cloakhouse.tokens.ff1_reference import ROUNDS, Ff1Shape

_Words = NDArray[np.uint64]
_Bytes = NDArray[np.uint8]


def fits(shape: Ff1Shape) -> bool:
    """Tell whether a half and the sum of two halves fit into uint64 (18 digits, or 12 letters or digits)."""
    return int(shape.radix**shape.right) < 1 << 63


class Ff1Batch:
    """The kernel for one shape (for which `fits` holds) under one key; up to `rows` values a call."""

    def __init__(self, aes: AesPermutation, shape: Ff1Shape, rows: int) -> None:
        self._aes, self._shape = aes, shape
        self._numerals = Numerals(shape.radix, rows)
        self._input, self._output = Blocks(rows), Blocks(rows)
        self._high = np.zeros(rows, np.uint64)  # the chain's state XOR the fixed part of Q's last block, per row
        self._low = np.zeros(rows, np.uint64)
        self._halves = np.zeros((2, rows), np.uint64)
        self._word, self._quotient = np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)
        wide = shape.stream_bytes > 8
        self._carry = [_carry_tables(shape.modulus(i)) if wide else [] for i in (0, 1)]
        if not shape.tweak_bytes:  # then Q's fixed part is one block of zeros: the state is the same for all rows
            first = np.frombuffer(aes.one(shape.first_block), ">u8")
            self._high[:], self._low[:] = first[0], first[1]
            self._input.big[:, 0] = first[0]

    def run(self, numerals: _Bytes, tweaks: _Bytes, result: _Bytes, *, decrypt: bool) -> None:
        """Write the encrypted, or decrypted, numerals into `result`; all three are uint8[rows, ...], views or not.

        `numerals` and `result`, which may be the same, have n columns, and `tweaks` has t.
        """
        shape, rows = self._shape, len(numerals)
        if shape.tweak_bytes:
            self._start(tweaks)
        a, b = self._halves[:, :rows]
        self._numerals.read(numerals[:, : shape.left], a)
        self._numerals.read(numerals[:, shape.left :], b)
        for i in reversed(range(ROUNDS)) if decrypt else range(ROUNDS):
            modulus = np.uint64(shape.modulus(i))
            if decrypt:
                b += modulus
                b -= self._round(i, a)
                a, b = self._below(b, modulus), a
            else:
                a += self._round(i, b)
                a, b = b, self._below(a, modulus)
        self._numerals.write(a, result[:, : shape.left])
        self._numerals.write(b, result[:, shape.left :])

    def _start(self, tweaks: _Bytes) -> None:
        """Chain P and every block of Q but the last; keep the state XOR the fixed part of the last."""
        rows, source, state = len(tweaks), self._input, self._output
        size = self._shape.tweak_bytes + self._shape.padding + 1 + self._shape.number_bytes
        q = np.zeros((rows, size), np.uint8)
        cells(q[:, : self._shape.tweak_bytes])[:] = cells(tweaks)
        state.cells[:rows] = np.frombuffer(self._aes.one(self._shape.first_block), "V16")[0]
        for start in range(0, size - BLOCK, BLOCK):
            source.cells[:rows] = cells(q[:, start : start + BLOCK])
            source.words[:rows] ^= state.words[:rows]
            self._aes.apply(source, state, rows)
        source.cells[:rows] = cells(q[:, size - BLOCK :])
        source.words[:rows] ^= state.words[:rows]
        self._high[:rows] = source.big[:rows, 0]
        self._low[:rows] = source.big[:rows, 1]

    def _round(self, i: int, half: _Words) -> _Words:
        """Return y mod radix^m of round i (steps 6.i to 6.iv)."""
        rows, shape, word = len(half), self._shape, self._word[: len(half)]
        place = i << 8 * shape.number_bytes  # the round number stands right before the half's bytes
        if shape.number_bytes == 8:  # else the high word holds nothing of the round
            self._input.big[:rows, 0] = self._high[:rows] ^ np.uint64(place >> 64)
        np.bitwise_xor(half, np.uint64(place & (2**64 - 1)), out=word)
        word ^= self._low[:rows]
        self._input.big[:rows, 1] = word
        self._aes.apply(self._input, self._output, rows)
        modulus = np.uint64(shape.modulus(i))
        word[:] = self._output.big[:rows, 0]
        if shape.stream_bytes == 8:
            return self._reduce(word, modulus)
        y = (word << np.uint64(32)) | (self._output.big[:rows, 1] >> np.uint64(32))
        y = self._reduce(y.astype(np.uint64, copy=False), modulus)
        for k, table in enumerate(self._carry[i % 2]):  # the four bytes above 2^64
            y += table[(word >> np.uint64(32 + 8 * k)) & np.uint64(255)]
            y = self._below(y, modulus)
        return y

    def _reduce(self, numbers: _Words, modulus: np.uint64) -> _Words:
        """Take numbers mod modulus in place; numpy divides by a scalar several times faster than by `%`."""
        quotient = np.floor_divide(numbers, modulus, out=self._quotient[: len(numbers)])
        quotient *= modulus
        numbers -= quotient
        return numbers

    def _below(self, numbers: _Words, modulus: np.uint64) -> _Words:
        """Take numbers below twice the modulus mod modulus, in place; a wrapped difference is never the minimum."""
        less = np.subtract(numbers, modulus, out=self._quotient[: len(numbers)])
        return np.minimum(numbers, less, out=numbers)


def _carry_tables(modulus: int) -> list[_Words]:
    """Return, for each byte position k above 2^64, byte * 2^(64 + 8k) mod modulus by byte."""
    return [np.array([(byte << (64 + 8 * k)) % modulus for byte in range(256)], np.uint64) for k in range(4)]
