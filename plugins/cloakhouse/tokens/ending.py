"""How the chains of CMAC and S2V end: padding and subkeys of the last blocks, as tables by a value's length.

Source: NIST SP 800-38B sections 6.1 and 6.2; RFC 5297 section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloakhouse.tokens.aes import BLOCK, AesPermutation

_Void = NDArray[np.void]


@dataclass(frozen=True)
class Ending:
    """What is done to the last blocks of a value, by the class of its length: padding and subkeys in one table."""

    keep: _Void
    """V16[classes]: mask of the last block's own bytes."""
    last: _Void
    """V16[classes]: what is XORed onto the last block."""
    before: _Void | None = None
    """V16[classes]: what is XORed onto the block before the last; None for nothing."""

    @classmethod
    def of_cmac(cls, zero_block: bytes) -> Ending:
        """Return CMAC's, whose class is the last block's length, 0 to 16; `zero_block` is AES of 16 zero bytes.

        A full block takes subkey K1; a shorter one is padded with a 1 bit and zeros and takes K2.
        """
        k1 = double(zero_block)
        k2 = int.from_bytes(double(k1), "big")
        keep = [b"\xff" * size + bytes(BLOCK - size) for size in range(BLOCK + 1)]
        pad = [(k2 ^ (0x80 << 8 * (BLOCK - 1 - size))).to_bytes(BLOCK, "big") for size in range(BLOCK)]
        return cls(as_cells(keep), as_cells([*pad, k1]))

    def classes(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the class of every length (bytes)."""
        classes: NDArray[np.int64] = lengths - ((np.maximum(lengths, 1) - 1) & -BLOCK)
        if self.before is not None:
            classes += BLOCK * (lengths >= BLOCK)
        return classes


def s2v_ending(aes: AesPermutation, d: bytes) -> Ending:
    """Return S2V's last blocks, with CMAC's own padding and subkeys folded in.

    Classes 0 to 15 are forms shorter than a block: dbl(D) XOR the padded form. Classes 17 to 32 are the others, by the
    length of their last block: D is XORed onto their last 16 bytes, which reach into the block before.
    """
    cmac = Ending.of_cmac(aes.one(bytes(BLOCK)))
    keep, last = (_blocks(cells) for cells in (cmac.keep, cmac.last))
    base = xor(double(d), last[BLOCK])  # a padded form is a full block, under K1
    short = [xor(base, (bytes(size) + b"\x80").ljust(BLOCK, b"\0")) for size in range(BLOCK)]
    long = [xor(last[size], d[BLOCK - size :].ljust(BLOCK, b"\0")) for size in range(BLOCK + 1)]
    before = [d[: BLOCK - size].rjust(BLOCK, b"\0") for size in range(BLOCK + 1)]
    none = [bytes(BLOCK)] * BLOCK
    return Ending(as_cells([*keep[:BLOCK], *keep]), as_cells([*short, *long]), as_cells([*none, *before]))


def _blocks(cells: NDArray[np.void]) -> list[bytes]:
    return [cell.tobytes() for cell in cells]


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def as_cells(blocks: list[bytes]) -> _Void:
    """Return 16-byte blocks as V16[n]."""
    return np.frombuffer(b"".join(blocks), "V16")


def double(block: bytes) -> bytes:
    """Double in GF(2^128): the subkey step of SP 800-38B section 6.1, and `dbl` of RFC 5297 section 2.3."""
    number = int.from_bytes(block, "big")
    return (((number << 1) & ((1 << 128) - 1)) ^ (0x87 if number >> 127 else 0)).to_bytes(BLOCK, "big")
