"""What FF1 may be asked to treat: alphabet, kept characters, and the verdict on every value of a column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cloakhouse.errors import ContractError
from cloakhouse.tokens.arrays import ByteColumn
from cloakhouse.tokens.ff1_luhn import INVALID_SUM, Luhn, luhn_sums

DIGITS = "0123456789"
MIN_DOMAIN = 1_000_000
"""Least number of possible values of the encrypted part (NIST SP 800-38G Rev. 1)."""
MAX_LENGTH = 1024
"""Longest value that is encrypted (characters); the standard allows more, the time grows with the square."""
_FOREIGN = 255  # code of a byte that is no numeral


@dataclass(frozen=True)
class Verdict:
    """Per value of a column, as bool[n]; a null is accepted and has no fault."""

    too_short: NDArray[np.bool_]
    """The part to encrypt has fewer than MIN_DOMAIN possible values."""
    too_long: NDArray[np.bool_]
    foreign: NDArray[np.bool_]
    """Has a character outside the alphabet; only judged where the length is right."""
    unchecked: NDArray[np.bool_]
    """Has a Luhn sum other than the settings demand; only judged where the characters are right."""

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """True where the value can be encrypted, or is null."""
        return ~(self.too_short | self.too_long | self.foreign | self.unchecked)


@dataclass(frozen=True)
class Ff1Format:
    """Settings of one FF1 column. Raises ContractError if they can't be used."""

    alphabet: str
    """2 to 36 distinct ASCII characters; the position of a character is its numeral."""
    keep_prefix: int = 0
    """Characters that stay in clear at the start."""
    keep_suffix: int = 0
    """Characters that stay in clear at the end."""
    kept_alphabet: str | None = None
    """Characters that kept positions may hold; None for `alphabet`."""
    luhn: Luhn | None = None
    """With a value, the last free digit isn't encrypted but chosen, so that the whole number is Luhn-valid, or not."""

    def __post_init__(self) -> None:
        letters = self.alphabet
        if not (2 <= len(letters) <= 36 and letters.isascii() and len(set(letters)) == len(letters)):
            raise _unusable("2 to 36 distinct ASCII characters", f"{len(letters)} characters, or one twice")
        if self.keep_prefix < 0 or self.keep_suffix < 0 or self.kept >= MAX_LENGTH:
            raise _unusable("kept lengths from 0", f"{self.keep_prefix} and {self.keep_suffix}")
        if self.kept_alphabet is not None and not self.kept_alphabet.isascii():
            raise _unusable("an ASCII alphabet for kept characters", "other characters")
        if self.luhn not in (None, "valid", "invalid"):
            raise _unusable("luhn `valid`, `invalid` or none", "another word")
        if self.luhn and not (letters == DIGITS and set(self.kept_alphabet or DIGITS) <= set(DIGITS)):
            raise _unusable("the alphabet 0123456789 for a number with a Luhn digit", "another alphabet")

    @property
    def radix(self) -> int:
        """Size of the alphabet."""
        return len(self.alphabet)

    @property
    def kept(self) -> int:
        """Characters that stay in clear; they form the tweak."""
        return self.keep_prefix + self.keep_suffix

    @cached_property
    def shortest(self) -> int:
        """Length of the shortest value that leaves a domain of MIN_DOMAIN to encrypt (characters)."""
        length = 2
        while self.radix**length < MIN_DOMAIN:
            length += 1
        return self.kept + self.chosen + length

    @property
    def chosen(self) -> int:
        """Free characters that are chosen, not encrypted: 1 with `luhn`, at the end of the free ones."""
        return int(self.luhn is not None)

    def luhn_sum(self, *, encrypted: bool) -> int:
        """Return the Luhn sum mod 10 of plain, or of encrypted, numbers."""
        return INVALID_SUM if encrypted and self.luhn == "invalid" else 0

    def tweaks(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the kept characters of values of one length, uint8[rows, kept]: the prefix, then the suffix."""
        return np.concatenate([rows[:, : self.keep_prefix], rows[:, rows.shape[1] - self.keep_suffix :]], axis=1)

    def middle(self, length: int) -> slice:
        """Return where the encrypted characters of a value of `length` stand."""
        return slice(self.keep_prefix, length - self.keep_suffix - self.chosen)

    def codes(self, text: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the numeral of every byte of uint8[n]; 255 for a byte outside the alphabet."""
        if self._run is None:
            return np.frombuffer(text.tobytes().translate(self._numerals), np.uint8)
        codes = text - self._run  # what stands before the run wraps round to a number behind it
        if codes.max(initial=0) >= self.radix:
            codes[codes >= self.radix] = _FOREIGN
        return codes

    def characters(self, numerals: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the character of every numeral, in an array of the same shape."""
        if self._run is not None:
            return numerals + self._run
        table = self.alphabet.encode().ljust(256, b"\0")
        return np.frombuffer(numerals.tobytes().translate(table), np.uint8).reshape(numerals.shape)

    def judge(self, column: ByteColumn, codes: NDArray[np.uint8], *, encrypted: bool = False) -> Verdict:
        """Return which values can be encrypted, or are what encryption gives; `codes` are the column's."""
        offsets = column.offsets.astype(np.int64) - int(column.offsets[0])
        lengths = np.diff(offsets)
        present = column.valid if column.valid is not None else np.ones(len(column), np.bool_)
        too_short = present & (lengths < self.shortest)
        too_long = present & (lengths > MAX_LENGTH)
        foreign = present & ~too_short & ~too_long
        foreign &= self._has_foreign(column, codes, offsets, foreign)
        unchecked = present & ~too_short & ~too_long & ~foreign
        if self.luhn:
            wanted = self.luhn_sum(encrypted=encrypted)
            unchecked[unchecked] = _sums(codes, offsets[:-1][unchecked], lengths[unchecked]) != wanted
        else:
            unchecked[:] = False
        return Verdict(too_short, too_long, foreign, unchecked)

    def _has_foreign(
        self, column: ByteColumn, codes: NDArray[np.uint8], offsets: NDArray[np.int64], judged: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        if self.kept_alphabet is None and codes.max(initial=0) != _FOREIGN:
            return np.zeros(len(column), np.bool_)
        outside = codes == _FOREIGN
        text = column.data[column.offsets[0] : column.offsets[-1]]
        kept = self.alphabet if self.kept_alphabet is None else self.kept_alphabet
        outside_kept = ~np.isin(text, np.frombuffer(kept.encode(), np.uint8))
        start, stop = offsets[:-1][judged], offsets[1:][judged]
        inner, end = start + self.keep_prefix, stop - self.keep_suffix
        found = np.zeros(len(column), np.bool_)
        found[judged] = _any(outside, inner, end) | _any(outside_kept, start, inner) | _any(outside_kept, end, stop)
        return found

    @cached_property
    def _run(self) -> np.uint8 | None:
        """The first character if all follow one another in ASCII, as digits do: then codes are a subtraction."""
        first = ord(self.alphabet[0])
        return np.uint8(first) if self.alphabet == "".join(map(chr, range(first, first + self.radix))) else None

    @cached_property
    def _numerals(self) -> bytes:
        table = bytearray([_FOREIGN]) * 256
        for numeral, letter in enumerate(self.alphabet.encode()):
            table[letter] = numeral
        return bytes(table)


def _any(flags: NDArray[np.bool_], start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return, per range start to stop, whether a flag in it is set."""
    counts = np.concatenate([[0], np.cumsum(flags)])
    result: NDArray[np.bool_] = counts[stop] > counts[start]
    return result


def _sums(codes: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the Luhn sums of values of any lengths, one length after the other."""
    result = np.zeros(len(starts), np.uint8)
    for length in np.flatnonzero(np.bincount(lengths)).tolist() if len(lengths) else []:
        chosen = lengths == length
        cells = np.ndarray(len(codes) - length + 1, f"V{length}", codes, 0, (1,))
        result[chosen] = luhn_sums(cells[starts[chosen]].view(np.uint8).reshape(-1, length))
    return result


def _unusable(expected: str, found: str) -> ContractError:
    return ContractError(
        code="ff1",
        where="FF1 settings",
        expected=expected,
        found=found,
        not_done="no value was treated",
        remedy="correct the column's treatment in the contract",
    )
