"""Tokens as text and back: hexadecimal or base32, by tables of whole groups of bits.

Tokens of 16 bytes, and of any length (AES-SIV). Every token has one text: lower-case digits in hexadecimal (RFC 4648
section 8, in lower case), upper-case letters without padding signs in base32 (section 6); others are refused.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.errors import TreatmentError
from cloakhouse.tokens.aes import CHUNK_ROWS
from cloakhouse.tokens.arrays import (
    UNNAMED,
    ByteColumn,
    byte_array,
    byte_column,
    is_text,
    per_chunk,
    refuse,
    require,
    validity,
)
from cloakhouse.tokens.base32 import decode_rows, encode_rows, encode_tokens, text_length

HEX_CHARACTERS = 32
BASE32_CHARACTERS = 26
_MAX_BYTES = 2**31 - 1  # what the 32-bit offsets of an Arrow string array reach
_NO_DIGIT = 255
_HEX = b"0123456789abcdef"

_Bytes = NDArray[np.uint8]


def to_hex(tokens: pa.Array | pa.ChunkedArray, *, column: str = UNNAMED) -> pa.Array | pa.ChunkedArray:
    """Return tokens as lower-case hexadecimal digits, two a byte (string; chunked as the input is).

    Takes fixed_size_binary(16), binary, large_binary and binary_view. Null stays null. Raises TreatmentError for
    another type, or if one array would pass 2 GiB of text.
    """
    _require_tokens(tokens, column)

    def one(chunk: pa.Array) -> pa.Array:
        if pa.types.is_fixed_size_binary(chunk.type):
            return _fixed(chunk, HEX_CHARACTERS, column, _hex)
        view = _nothing_under_nulls(chunk)
        offsets = 2 * (view.offsets.astype(np.int64) - int(view.offsets[0]))
        _require_small(int(offsets[-1]), 2, len(chunk), column)
        text = _hex_pairs()[view.data[view.offsets[0] : view.offsets[-1]]].view(np.uint8)
        return byte_array(ByteColumn(offsets.astype(np.int32), text, view.valid), pa.string())

    return per_chunk(tokens, one, on_dictionary=True)


def to_base32(tokens: pa.Array | pa.ChunkedArray, *, column: str = UNNAMED) -> pa.Array | pa.ChunkedArray:
    """Return tokens as characters A-Z and 2-7, eight per five bytes (26 for 16 bytes; string; chunked as the input is).

    The alphabet is RFC 4648 section 6; padding signs are left off. Types, nulls and errors as `to_hex`.
    """
    _require_tokens(tokens, column)

    def one(chunk: pa.Array) -> pa.Array:
        if pa.types.is_fixed_size_binary(chunk.type):
            return _fixed(chunk, BASE32_CHARACTERS, column, encode_tokens)
        view = _nothing_under_nulls(chunk)
        lengths = np.diff(view.offsets).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(text_length(lengths))])
        _require_small(int(offsets[-1]), 2, len(chunk), column)
        text = np.empty(int(offsets[-1]), np.uint8)
        for length, rows in _by_length(lengths):
            cells = _gather(view.data, view.offsets[:-1][rows], length)
            _scatter(text, offsets[:-1][rows], encode_rows(cells))
        return byte_array(ByteColumn(offsets.astype(np.int32), text, view.valid), pa.string())

    return per_chunk(tokens, one, on_dictionary=True)


def from_hex(
    text: pa.Array | pa.ChunkedArray, *, kind: Any = None, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the tokens that `to_hex` was given, as `kind`: fixed_size_binary(16) by default, or binary.

    Null stays null. Raises TreatmentError, code "rendering", if a text isn't one that `to_hex` gives for `kind`, code
    "type" unless the column is text.
    """
    require(text, is_text, column, "a text column of hexadecimal tokens")
    kind = pa.binary(16) if kind is None else kind

    def one(chunk: pa.Array) -> pa.Array:
        view = _nothing_under_nulls(chunk)
        starts = view.offsets.astype(np.int64) - int(view.offsets[0])
        digits = _digits(_HEX)[view.data[view.offsets[0] : view.offsets[-1]]]
        odd = np.diff(starts) % 2 == 1
        wrong = odd | _any(digits == _NO_DIGIT, starts)
        _require_none(wrong, "hexadecimal", column)
        data = (digits[0::2] << np.uint8(4)) | digits[1::2]
        return _tokens(
            ByteColumn((starts // 2).astype(view.offsets.dtype), data.astype(np.uint8), view.valid), kind, column
        )

    return per_chunk(text, one, on_dictionary=False)


def from_base32(
    text: pa.Array | pa.ChunkedArray, *, kind: Any = None, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the tokens that `to_base32` was given, as `kind`: fixed_size_binary(16) by default, or binary.

    Null stays null. Raises TreatmentError as `from_hex`; also if bits behind the last byte aren't zero, since such a
    text would be a second one of the same token.
    """
    require(text, is_text, column, "a text column of base32 tokens")
    kind = pa.binary(16) if kind is None else kind

    def one(chunk: pa.Array) -> pa.Array:
        view = _nothing_under_nulls(chunk)
        lengths = np.diff(view.offsets).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths * 5 // 8)])
        data, wrong = np.empty(int(offsets[-1]), np.uint8), np.zeros(len(chunk), np.bool_)
        for length, rows in _by_length(lengths):
            decoded, wrong[rows] = decode_rows(_gather(view.data, view.offsets[:-1][rows], length))
            _scatter(data, offsets[:-1][rows], decoded)
        _require_none(wrong, "base32", column)
        return _tokens(ByteColumn(offsets.astype(view.offsets.dtype), data, view.valid), kind, column)

    return per_chunk(text, one, on_dictionary=False)


def _require_tokens(tokens: pa.Array | pa.ChunkedArray, column: str) -> None:
    types = pa.types
    checks = (types.is_binary, types.is_large_binary, types.is_binary_view)
    require(
        tokens,
        lambda kind: kind == pa.binary(16) or any(check(kind) for check in checks),
        column,
        "a fixed_size_binary(16) or binary column of tokens",
    )


def _fixed(chunk: pa.Array, width: int, column: str, encode: Any) -> pa.Array:
    rows = len(chunk)
    _require_small(rows * width, width, rows, column)
    data = chunk.buffers()[1]
    empty = data is None or rows == 0
    cells = np.zeros((0, 16), np.uint8) if empty else np.frombuffer(data, np.uint8, 16 * rows, 16 * chunk.offset)
    cells, valid = cells.reshape(rows, 16), validity(chunk)
    if valid is not None:
        cells = np.where(valid[:, None], cells, np.uint8(0))
    text = np.empty(rows * width, np.uint8)
    for start in range(0, rows, CHUNK_ROWS):
        part = cells[start : start + CHUNK_ROWS]
        text[start * width : (start + len(part)) * width] = encode(part)
    return byte_array(ByteColumn(np.arange(rows + 1, dtype=np.int32) * np.int32(width), text, valid), pa.string())


def _tokens(forms: ByteColumn, kind: Any, column: str) -> pa.Array:
    values = byte_array(forms, pa.large_binary() if forms.offsets.itemsize == 8 else pa.binary())
    if pa.types.is_fixed_size_binary(kind):
        fits = np.diff(forms.offsets) == kind.byte_width
        _require_none(~fits if forms.valid is None else ~fits & forms.valid, f"{kind.byte_width}-byte", column)
    return values if values.type == kind else values.cast(kind)


def _nothing_under_nulls(chunk: pa.Array) -> ByteColumn:
    """View the values, with every null empty: bytes hidden under a null must not reach the result."""
    view = byte_column(chunk)
    if view.valid is None:
        return view
    filled = byte_column(pc.fill_null(chunk, "" if is_text(chunk.type) else b""))
    return ByteColumn(filled.offsets, filled.data, view.valid)


def _by_length(lengths: NDArray[np.int64]) -> list[tuple[int, NDArray[np.intp]]]:
    present = np.flatnonzero(np.bincount(lengths)).tolist() if len(lengths) else []
    return [(length, np.flatnonzero(lengths == length)) for length in present if length]


def _gather(data: _Bytes, starts: NDArray[Any], length: int) -> _Bytes:
    cells: _Bytes = np.ndarray(len(data) - length + 1, f"V{length}", data, 0, (1,))[starts].view(np.uint8)
    return cells.reshape(-1, length)


def _scatter(data: _Bytes, starts: NDArray[Any], rows: _Bytes) -> None:
    length = rows.shape[1]
    if length:
        cells = np.ascontiguousarray(rows).view(f"V{length}").reshape(-1)
        np.ndarray(len(data) - length + 1, f"V{length}", data, 0, (1,))[starts] = cells


def _any(flags: NDArray[np.bool_], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    counts = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(counts[offsets[1:]] > counts[offsets[:-1]])


def _require_small(size: int, width: int, rows: int, column: str) -> None:
    if size > _MAX_BYTES:
        raise refuse(
            column,
            code="too-large",
            expected=f"at most {_MAX_BYTES // width} tokens in one array" if width > 2 else f"{_MAX_BYTES} characters",
            found=f"{rows} tokens",
            remedy="pass a chunked array, or smaller batches",
        )


def _require_none(wrong: NDArray[np.bool_], form: str, column: str) -> None:
    if wrong.any():
        raise _unlike(int(np.count_nonzero(wrong)), len(wrong), form, column)


def _unlike(count: int, rows: int, form: str, column: str) -> TreatmentError:
    return refuse(
        column,
        code="rendering",
        expected=f"tokens in {form} form, each with its one text",
        found=f"{count} of {rows} that aren't",
        remedy="take the tokens as they were rendered, neither cut, padded nor changed in case",
    )


def _hex(cells: _Bytes) -> _Bytes:
    return _hex_table()[cells.view(np.uint16).reshape(-1)].view(np.uint8)


@lru_cache(maxsize=1)
def _hex_table() -> NDArray[np.uint32]:
    """Return the four digits of every two bytes, indexed as the machine reads two bytes."""
    digits = np.frombuffer(_HEX, np.uint8)
    pairs = np.arange(65536, dtype=np.uint16).view(np.uint8)
    return digits[np.stack([pairs >> 4, pairs & 15], axis=1)].reshape(-1).view(np.uint32)


@lru_cache(maxsize=1)
def _hex_pairs() -> NDArray[np.uint16]:
    digits, bytes_ = np.frombuffer(_HEX, np.uint8), np.arange(256)
    return digits[np.stack([bytes_ >> 4, bytes_ & 15], axis=1)].reshape(-1).view(np.uint16)


def _digits(alphabet: bytes) -> _Bytes:
    table = np.full(256, _NO_DIGIT, np.uint8)
    table[np.frombuffer(alphabet, np.uint8)] = np.arange(len(alphabet))
    return table
