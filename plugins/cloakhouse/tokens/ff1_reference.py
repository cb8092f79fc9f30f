"""FF1 for one value, written as the standard writes it: for long values, and what the column kernel is held to.

Source: NIST SP 800-38G, section 5 (notation) and algorithms 6 to 8. Comments carry the steps' numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloakhouse.tokens.aes import BLOCK, AesPermutation

ROUNDS = 10


@dataclass(frozen=True)
class Ff1Shape:
    """What FF1 fixes once radix, number of numerals and tweak length are known."""

    radix: int
    length: int
    """Numerals in the value (n)."""
    tweak_bytes: int
    """Length of the tweak (t)."""

    @property
    def left(self) -> int:
        """u: numerals in the left half (step 1)."""
        return self.length // 2

    @property
    def right(self) -> int:
        """v: numerals in the right half (step 1)."""
        return self.length - self.left

    @property
    def number_bytes(self) -> int:
        """b: bytes that hold a number of v numerals (step 3)."""
        return ((int(self.radix**self.right) - 1).bit_length() + 7) // 8

    @property
    def stream_bytes(self) -> int:
        """d: bytes that become the number y (step 4)."""
        return 4 * ((self.number_bytes + 3) // 4) + 4

    @property
    def first_block(self) -> bytes:
        """P: the first block of the pseudorandom function's input (step 5)."""
        head = bytes([1, 2, 1]) + self.radix.to_bytes(3, "big") + bytes([ROUNDS, self.left % 256])
        return head + self.length.to_bytes(4, "big") + self.tweak_bytes.to_bytes(4, "big")

    @property
    def padding(self) -> int:
        """Zero bytes between tweak and round number in Q (step 6.i)."""
        return (-self.tweak_bytes - self.number_bytes - 1) % BLOCK

    def modulus(self, round_number: int) -> int:
        """radix^m, where m is u in an even round and v in an odd one (steps 6.v and 6.vii)."""
        return int(self.radix ** (self.left if round_number % 2 == 0 else self.right))


def ff1_one(
    numerals: Sequence[int], radix: int, tweak: bytes, aes: AesPermutation, *, decrypt: bool = False
) -> list[int]:
    """Return the FF1 encryption, or decryption, of `numerals` (each 0 to radix - 1): as many numerals.

    Checks nothing: the caller holds radix, length and domain to the standard's limits.
    """
    shape = Ff1Shape(radix, len(numerals), len(tweak))
    a = _number(numerals[: shape.left], radix)  # steps 1, 2
    b = _number(numerals[shape.left :], radix)
    for i in range(ROUNDS):
        if decrypt:
            i = ROUNDS - 1 - i
            a, b = (b - _round(i, a, shape, tweak, aes)) % shape.modulus(i), a
        else:
            a, b = b, (a + _round(i, b, shape, tweak, aes)) % shape.modulus(i)
    return _numerals(a, radix, shape.left) + _numerals(b, radix, shape.right)  # step 7


def _round(i: int, half: int, shape: Ff1Shape, tweak: bytes, aes: AesPermutation) -> int:
    """Return y, the number that round i adds to, or takes from, the other half (steps 6.i to 6.iv)."""
    q = tweak + bytes(shape.padding) + bytes([i]) + half.to_bytes(shape.number_bytes, "big")
    r = bytes(BLOCK)
    for start in range(0, BLOCK + len(q), BLOCK):  # PRF(P || Q), algorithm 6
        r = aes.one(_xor(r, (shape.first_block + q)[start : start + BLOCK]))
    stream, counter = r, 1
    while len(stream) < shape.stream_bytes:
        stream += aes.one(_xor(r, counter.to_bytes(BLOCK, "big")))
        counter += 1
    return int.from_bytes(stream[: shape.stream_bytes], "big")


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _number(numerals: Sequence[int], radix: int) -> int:
    number = 0
    for numeral in numerals:
        number = number * radix + numeral
    return number


def _numerals(number: int, radix: int, count: int) -> list[int]:
    numerals = []
    for _ in range(count):
        number, numeral = divmod(number, radix)
        numerals.append(numeral)
    return numerals[::-1]
