"""Keyed tokens of 16 bytes: AES-CMAC of every value's canonical form, by column.

The chain of every row advances together: step j is one AES call over all rows that have a block j.
Source: NIST SP 800-38B section 6.2; RFC 4493 section 2.4. Tokens show equality and frequency, and whoever
holds the key can try a dictionary of values: this is pseudonymization, not anonymization.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import algorithms
from numpy.typing import NDArray

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import BLOCK, CHUNK_ROWS, AesPermutation, Blocks
from cloakhouse.tokens.arrays import UNNAMED, ByteColumn, bitmap, per_chunk, require
from cloakhouse.tokens.canonical import canonical_form, is_canonical
from cloakhouse.tokens.render import to_base32, to_hex

__all__ = ["LONG_VALUE", "TOKEN_BYTES", "cmac_tokens", "to_base32", "to_hex"]

TOKEN_BYTES = 16
LONG_VALUE = 1024  # bytes; longer values are rare and go row by row, so that one of them can't stall a column

_Void = NDArray[np.void]
_Int = NDArray[np.int64]


def cmac_tokens(
    values: pa.Array | pa.ChunkedArray, key: SecretKey, *, column: str = UNNAMED
) -> pa.FixedSizeBinaryArray:
    """Return the AES-CMAC of every value: fixed_size_binary(16), as many rows, null where `values` is null.

    Takes text, binary, integers and date32 (see `canonical`), of any length, sliced, chunked or
    dictionary-encoded; a dictionary is tokenized once per entry. `key` (16, 24 or 32 bytes) must serve
    nothing but these tokens. 2^35 distinct values collide with a probability of about 2^-59.
    Raises TreatmentError for a type without a canonical form, KeyServiceError for a key of another length.
    """
    require(values, is_canonical, column, "a text, binary, integer or date32 column")
    mac = _ColumnCmac(key, min(len(values), CHUNK_ROWS))
    tokens = per_chunk(values, lambda chunk: mac.tokens(canonical_form(chunk)), on_dictionary=True)
    return tokens.combine_chunks() if isinstance(tokens, pa.ChunkedArray) else tokens


class _ColumnCmac:
    """The chain's state for one key: subkeys folded into tables by the length of the last block."""

    def __init__(self, key: SecretKey, rows: int) -> None:
        self._aes = AesPermutation(key)
        self._key = key
        self._keep, self._pad = _last_block_tables(self._aes.one(bytes(BLOCK)))
        self._input, self._state = Blocks(rows), Blocks(rows)

    def tokens(self, column: ByteColumn) -> pa.FixedSizeBinaryArray:
        rows = len(column)
        result = np.empty(rows, "V16")
        for start in range(0, rows, CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, rows)
            valid = None if column.valid is None else column.valid[start:stop]
            chunk = ByteColumn(column.offsets[start : stop + 1], column.data, valid)
            self._chunk(chunk, result[start:stop])
        buffers = [bitmap(column.valid), pa.py_buffer(result.view(np.uint8))]
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(TOKEN_BYTES), rows, buffers)

    def _chunk(self, column: ByteColumn, result: _Void) -> None:
        lengths = np.diff(column.offsets).astype(np.int64, copy=False)
        if column.valid is not None:
            lengths = np.where(column.valid, lengths, 0)
        longest = int(lengths.max())
        if longest > LONG_VALUE:
            short = np.where(lengths > LONG_VALUE, 0, lengths)
            self._short(column, short, result)
            self._long(column, np.flatnonzero(lengths > LONG_VALUE), result)
        elif longest == int(lengths.min()):
            self._uniform(column, longest, result)
        else:
            self._short(column, lengths, result)
        if column.valid is not None:
            result[~column.valid] = np.zeros((), "V16")  # a token of what lies under a null must not exist

    def _uniform(self, column: ByteColumn, length: int, result: _Void) -> None:
        """Values of one length lie at equal distances: read them by stride."""
        rows, start = len(column), int(column.offsets[0])
        data, start = _readable(column.data, start, start + rows * length)
        last = max(0, (length - 1) // BLOCK)
        tail = np.full(rows, length - BLOCK * last)
        for step in range(last + 1):
            self._input.cells[:rows] = np.ndarray(rows, "V16", data, start + BLOCK * step, (length,))
            self._advance(step, rows, rows if step < last else 0, tail)
        result[:] = self._state.cells[:rows]

    def _short(self, column: ByteColumn, lengths: _Int, result: _Void) -> None:
        """Values of mixed lengths: longest first, so that the rows still in the chain are a prefix."""
        last = np.maximum(lengths - 1, 0) // BLOCK
        order = np.argsort((LONG_VALUE // BLOCK - last).astype(np.uint8), kind="stable")
        data, shift = _readable(column.data, int(column.offsets[0]), int(column.offsets[-1]))
        starts = (column.offsets[:-1].astype(np.int64) - (int(column.offsets[0]) - shift))[order]
        tail = (lengths - BLOCK * last)[order]
        cells = np.ndarray(len(data) - BLOCK + 1, "V16", data, 0, (1,))  # the 16 bytes from every position
        ending = np.bincount(last)  # rows whose last block is block j
        rows = len(order)
        for step, finished in enumerate(ending.tolist()):
            self._input.cells[:rows] = cells[starts[:rows] + BLOCK * step]
            self._advance(step, rows, rows - finished, tail)
            rows -= finished
        result[order] = self._state.cells[: len(order)]

    def _advance(self, step: int, rows: int, unfinished: int, tail: _Int) -> None:
        """state = AES(state XOR block) for the first `rows`; from `unfinished` on, the block is the last."""
        words = self._input.words
        if unfinished < rows:
            ends = tail[unfinished:rows]
            words[unfinished:rows] &= self._keep.take(ends).view(np.uint64).reshape(-1, 2)
            words[unfinished:rows] ^= self._pad.take(ends).view(np.uint64).reshape(-1, 2)
        if step:
            words[:rows] ^= self._state.words[:rows]
        self._aes.apply(self._input, self._state, rows)

    def _long(self, column: ByteColumn, rows: NDArray[np.intp], result: _Void) -> None:
        cells = result.view(np.uint8).reshape(-1, TOKEN_BYTES)
        for row in rows.tolist():
            mac = cmac.CMAC(algorithms.AES(self._key.reveal()))
            mac.update(column.data[column.offsets[row] : column.offsets[row + 1]].tobytes())
            cells[row] = np.frombuffer(mac.finalize(), np.uint8)


def _last_block_tables(zero_block: bytes) -> tuple[_Void, _Void]:
    """Return, by the last block's length 0 to 16, the mask of its own bytes and what is XORed onto it.

    A full block takes subkey K1; a shorter one is padded with a 1 bit and zeros and takes K2.
    """
    k1 = _double(zero_block)
    k2 = int.from_bytes(_double(k1), "big")
    keep = [b"\xff" * size + bytes(BLOCK - size) for size in range(BLOCK + 1)]
    pad = [(k2 ^ (0x80 << 8 * (BLOCK - 1 - size))).to_bytes(BLOCK, "big") for size in range(BLOCK)]
    return np.frombuffer(b"".join(keep), "V16"), np.frombuffer(b"".join([*pad, k1]), "V16")


def _double(block: bytes) -> bytes:
    """Double in GF(2^128): the subkey step of SP 800-38B section 6.1."""
    number = int.from_bytes(block, "big")
    return (((number << 1) & ((1 << 128) - 1)) ^ (0x87 if number >> 127 else 0)).to_bytes(BLOCK, "big")


def _readable(data: NDArray[np.uint8], start: int, stop: int) -> tuple[NDArray[np.uint8], int]:
    """Return memory in which 16 bytes may be read from any position up to `stop`, and where `start` is in it."""
    if stop + BLOCK <= len(data):
        return data, start
    return np.concatenate([data[start:stop], np.zeros(BLOCK, np.uint8)]), 0
