"""Base32 of many values of one length at once (RFC 4648 section 6, without padding signs)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_NO_LETTER = 255
_TOKEN_GROUPS = 13  # of ten bits, in 16 bytes

_Bytes = NDArray[np.uint8]


def text_length(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many characters values of these lengths (bytes) take."""
    return -(-8 * lengths // 5)


def encode_tokens(cells: _Bytes) -> _Bytes:
    """Return the text of uint8[rows, 16], 26 characters a row, as uint8[26 * rows]."""
    words = cells.view(">u8").astype(np.uint64)
    high, low = words[:, 0], words[:, 1]
    ten_bits, mask = _letters(), np.uint64(1023)
    text = np.empty((len(cells), _TOKEN_GROUPS), np.uint16)
    for group in range(6):  # bits 0 to 59
        text[:, group] = ten_bits[(high >> np.uint64(54 - 10 * group)) & mask]
    text[:, 6] = ten_bits[((high << np.uint64(6)) | (low >> np.uint64(58))) & mask]
    for group in range(5):  # bits 70 to 119
        text[:, 7 + group] = ten_bits[(low >> np.uint64(48 - 10 * group)) & mask]
    text[:, 12] = ten_bits[(low << np.uint64(2)) & mask]
    return text.reshape(-1).view(np.uint8)


def encode_rows(cells: _Bytes) -> _Bytes:
    """Return the text of uint8[rows, n] as uint8[rows, ceil(8 n / 5)]."""
    rows, length = cells.shape
    groups = -(-length // 5)
    padded = np.zeros((rows, groups, 8), np.uint8)
    whole = length // 5
    padded[:, :whole, 3:] = cells[:, : 5 * whole].reshape(rows, whole, 5)
    if whole < groups:
        padded[:, whole, 3 : 3 + length - 5 * whole] = cells[:, 5 * whole :]
    numbers = padded.reshape(-1).view(">u8").astype(np.uint64)
    text = np.empty((len(numbers), 4), np.uint16)
    for pair in range(4):
        text[:, pair] = _letters()[(numbers >> np.uint64(30 - 10 * pair)) & np.uint64(1023)]
    return text.view(np.uint8).reshape(rows, 8 * groups)[:, : -(-8 * length // 5)]


def decode_rows(text: _Bytes) -> tuple[_Bytes, NDArray[np.bool_]]:
    """Return the bytes of uint8[rows, n] characters, uint8[rows, 5 n / 8], and bool[rows]: which rows are no base32.

    Those have a character outside the alphabet, a number of characters that no value takes, or bits other than zero
    behind the last byte.
    """
    rows, length = text.shape
    size = 5 * length // 8
    if -(-8 * size // 5) != length:
        return np.zeros((rows, size), np.uint8), np.ones(rows, np.bool_)
    groups = -(-length // 8)
    values = np.zeros((rows, 8 * groups), np.uint8)
    values[:, :length] = _values()[text]
    wrong = (values == _NO_LETTER).any(axis=1)
    numbers = np.zeros((rows, groups), np.uint64)
    for place in range(8):
        numbers <<= np.uint64(5)
        numbers |= values[:, place::8]
    decoded = numbers.astype(">u8").view(np.uint8).reshape(rows, groups, 8)[:, :, 3:].reshape(rows, 5 * groups)
    return decoded[:, :size], wrong | decoded[:, size:].any(axis=1)


@lru_cache(maxsize=1)
def _letters() -> NDArray[np.uint16]:
    """Return the two letters of every ten bits."""
    letters, groups = np.frombuffer(ALPHABET, np.uint8), np.arange(1024)
    return letters[np.stack([groups >> 5, groups & 31], axis=1)].reshape(-1).view(np.uint16)


@lru_cache(maxsize=1)
def _values() -> _Bytes:
    table = np.full(256, _NO_LETTER, np.uint8)
    table[np.frombuffer(ALPHABET, np.uint8)] = np.arange(len(ALPHABET))
    return table
