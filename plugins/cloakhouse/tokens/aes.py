"""The AES permutation over whole columns of 16-byte blocks: one OpenSSL call per step of a chain.

Confidentiality never rests on ECB here. It is the bare block cipher inside CMAC, SIV and FF1, whose chains
run for all rows at once: step j of every row is one call. Nothing outside this room sees it.
Source: FIPS 197; scheduling by column leaves the algorithms' results unchanged, byte for byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.secret import SecretKey

BLOCK = 16
"""Size of an AES block (bytes)."""
CHUNK_ROWS = 32_768
"""Rows treated at once, so that the scratch blocks (512 KiB each) stay in the processor's second-level cache."""
SLACK = BLOCK - 1
"""Bytes that OpenSSL's `update_into` wants behind its result."""


class Blocks:
    """Scratch memory of `rows` AES blocks, seen as bytes, as opaque 16-byte cells or as words.

    Attributes:
        raw: uint8[16 * rows + 15].
        cells: V16[rows], for gathers and scatters of whole blocks.
        words: uint64[rows, 2] in the machine's byte order, for XOR.
        big: the same memory as big-endian uint64[rows, 2], for arithmetic on block halves.
    """

    __slots__ = ("big", "cells", "raw", "words")

    def __init__(self, rows: int) -> None:
        self.raw: NDArray[np.uint8] = np.zeros(BLOCK * rows + SLACK, np.uint8)
        body = self.raw[: BLOCK * rows]
        self.cells: NDArray[np.void] = body.view("V16")
        self.words: NDArray[np.uint64] = body.view(np.uint64).reshape(rows, 2)
        self.big: NDArray[np.uint64] = body.view(">u8").reshape(rows, 2)


def require_length(key: SecretKey, accepted: tuple[int, int, int], where: str) -> None:
    """Raise KeyServiceError (`key.length`) unless the key has one of the `accepted` lengths (bytes)."""
    if len(key) not in accepted:
        first, second, third = accepted
        raise KeyServiceError(
            code="length",
            where=where,
            expected=f"a key of {first}, {second} or {third} bytes",
            found=f"{len(key)} bytes",
            not_done="nothing was treated",
            remedy="derive the key of this purpose with one of these lengths",
        )


class AesPermutation:
    """AES under one key, applied to `Blocks`. Keep it no longer than the column that it treats.

    Raises KeyServiceError unless the key has 16, 24 or 32 bytes.
    """

    __slots__ = ("_cipher", "_inverse_into", "_update_into")

    def __init__(self, key: SecretKey) -> None:
        require_length(key, (16, 24, 32), "AES")
        self._cipher = Cipher(algorithms.AES(key.reveal()), modes.ECB())  # noqa: S305 - the inner permutation only
        self._update_into: Any = self._cipher.encryptor().update_into
        self._inverse_into: Any = None  # its key schedule costs, and most columns never need it

    def apply(self, source: Blocks, target: Blocks, rows: int) -> None:
        """Write AES of the first `rows` blocks of `source` into `target`, which must be other memory."""
        self._update_into(source.raw[: BLOCK * rows], target.raw)

    def into(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Write AES of every block of `source` (contiguous) into `target`, other memory of 15 bytes more, or longer."""
        self._update_into(source, target)

    def invert_into(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Write the inverse permutation of every block of `source` into `target`; memory as for `into`."""
        if self._inverse_into is None:
            self._inverse_into = self._cipher.decryptor().update_into
        self._inverse_into(source, target)

    def one(self, block: bytes) -> bytes:
        """Return AES of one block (16 bytes in, 16 bytes out)."""
        target = bytearray(BLOCK + SLACK)
        self._update_into(block, target)
        return bytes(target[:BLOCK])
