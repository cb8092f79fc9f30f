"""Tokens as text: hexadecimal or base32, by tables of whole groups of bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cloakhouse.tokens.aes import CHUNK_ROWS
from cloakhouse.tokens.arrays import UNNAMED, ByteColumn, byte_array, per_chunk, refuse, require, validity

HEX_CHARACTERS = 32
BASE32_CHARACTERS = 26
_MAX_BYTES = 2**31 - 1  # what the 32-bit offsets of an Arrow string array reach


def to_hex(tokens: pa.FixedSizeBinaryArray | pa.ChunkedArray, *, column: str = UNNAMED) -> pa.Array:
    """Return 16-byte tokens as text of 32 lower-case hexadecimal digits (string; chunked as the input is).

    Null stays null. Raises TreatmentError if the type isn't fixed_size_binary(16), or if one array would
    pass 2 GiB of text.
    """
    return _render(tokens, _hex, HEX_CHARACTERS, column)


def to_base32(tokens: pa.FixedSizeBinaryArray | pa.ChunkedArray, *, column: str = UNNAMED) -> pa.Array:
    """Return 16-byte tokens as text of 26 characters A-Z and 2-7 (string; chunked as the input is).

    The alphabet is RFC 4648 section 6; the six padding signs are left off. Null stays null. Raises
    TreatmentError if the type isn't fixed_size_binary(16), or if one array would pass 2 GiB of text.
    """
    return _render(tokens, _base32, BASE32_CHARACTERS, column)


def _render(
    tokens: pa.Array, encode: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], width: int, column: str
) -> pa.Array:
    require(tokens, lambda kind: kind == pa.binary(16), column, "a fixed_size_binary(16) column of tokens")

    def one(chunk: pa.Array) -> pa.Array:
        rows = len(chunk)
        if rows * width > _MAX_BYTES:
            raise refuse(
                column,
                code="too-large",
                expected=f"at most {_MAX_BYTES // width} tokens in one array",
                found=f"{rows} tokens",
                remedy="pass a chunked array, or smaller batches",
            )
        data = chunk.buffers()[1]
        empty = data is None or rows == 0
        cells = (
            np.zeros((0, 16), np.uint8)
            if empty
            else np.frombuffer(data, np.uint8, 16 * rows, 16 * chunk.offset).reshape(rows, 16)
        )
        valid = validity(chunk)
        if valid is not None:
            cells = np.where(valid[:, None], cells, np.uint8(0))
        offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
        text = np.empty(rows * width, np.uint8)
        for start in range(0, rows, CHUNK_ROWS):
            part = cells[start : start + CHUNK_ROWS]
            text[start * width : (start + len(part)) * width] = encode(part)
        return byte_array(ByteColumn(offsets, text, valid), pa.string())

    return per_chunk(tokens, one, on_dictionary=True)


def _hex(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return _hex_table()[cells.view(np.uint16).reshape(-1)].view(np.uint8)


def _base32(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    words = cells.view(">u8").astype(np.uint64)
    high, low = words[:, 0], words[:, 1]
    ten_bits, mask = _base32_table(), np.uint64(1023)
    text = np.empty((len(cells), BASE32_CHARACTERS // 2), np.uint16)
    for group in range(6):  # bits 0 to 59
        text[:, group] = ten_bits[(high >> np.uint64(54 - 10 * group)) & mask]
    text[:, 6] = ten_bits[((high << np.uint64(6)) | (low >> np.uint64(58))) & mask]
    for group in range(5):  # bits 70 to 119
        text[:, 7 + group] = ten_bits[(low >> np.uint64(48 - 10 * group)) & mask]
    text[:, 12] = ten_bits[(low << np.uint64(2)) & mask]
    return text.reshape(-1).view(np.uint8)


@lru_cache(maxsize=1)
def _hex_table() -> NDArray[np.uint32]:
    """Return the four digits of every two bytes, indexed as the machine reads two bytes."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    pairs = np.arange(65536, dtype=np.uint16).view(np.uint8)
    return digits[np.stack([pairs >> 4, pairs & 15], axis=1)].reshape(-1).view(np.uint32)


@lru_cache(maxsize=1)
def _base32_table() -> NDArray[np.uint16]:
    letters = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", np.uint8)
    groups = np.arange(1024)
    return letters[np.stack([groups >> 5, groups & 31], axis=1)].reshape(-1).view(np.uint16)
