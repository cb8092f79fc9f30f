"""From the canonical byte form back to values: the inverse of `canonical`'s table, strict about what it accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.errors import TreatmentError
from cloakhouse.tokens.arrays import (
    UNNAMED,
    ByteColumn,
    bitmap,
    byte_array,
    byte_column,
    is_text,
    per_chunk,
    refuse,
    require,
)
from cloakhouse.tokens.canonical import (
    DATE_TAG,
    INTEGER_TAG,
    UNSIGNED_TAG,
    canonical_form,
    is_bytes,
    is_canonical,
    require_utf8,
)
from cloakhouse.tokens.decimals import NUMBER_TAG

_Mask = NDArray[np.bool_]


def from_canonical(
    forms: ByteColumn | pa.Array | pa.ChunkedArray, kind: Any, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the values of Arrow type `kind` whose canonical forms these are; null stays null.

    Takes binary, large_binary and binary_view, or a ByteColumn. As text and binary have no tag, the form of any value
    reads as binary. Raises TreatmentError, code "form", if a value isn't the form of a value of `kind` (of another
    type, out of its range or scale, not UTF-8), code "type" for a `kind` without canonical form or other input.
    """
    if not is_canonical(kind):
        raise _refusal(column, "a type with a canonical form", f"type {kind}", code="type")
    if isinstance(forms, ByteColumn):
        return _values(forms, kind, column)
    types = pa.types
    accepted: tuple[Callable[[Any], bool], ...] = (types.is_binary, types.is_large_binary, types.is_binary_view)
    require(forms, lambda given: any(check(given) for check in accepted), column, "a binary column of canonical forms")
    result = per_chunk(forms, lambda chunk: _values(byte_column(chunk), kind, column), on_dictionary=False)
    return result.cast(kind) if result.type != kind else result


def _values(forms: ByteColumn, kind: Any, column: str) -> pa.Array:
    if is_text(kind) or is_bytes(kind):
        return _untagged(forms, kind, column)
    lengths = np.diff(forms.offsets).astype(np.int64)
    valid = np.ones(len(forms), np.bool_) if forms.valid is None else forms.valid
    if pa.types.is_null(kind):
        return _checked(pa.nulls(len(forms)), ~valid, kind, column)
    if pa.types.is_date32(kind):
        days, known = _numbers(forms, lengths, valid, DATE_TAG, 4)
        return _checked(_masked(days.astype(np.int32), known, pa.date32()), known | ~valid, kind, column)
    if pa.types.is_decimal(kind):
        return _decimals(forms, lengths, valid, kind, column)
    return _integers(forms, lengths, valid, kind, column)


def _untagged(forms: ByteColumn, kind: Any, column: str) -> pa.Array:
    wide = forms.offsets.dtype.itemsize == 8
    if is_text(kind):
        values = byte_array(forms, pa.large_string() if wide else pa.string())
        try:
            require_utf8(values, forms, column)
        except TreatmentError:
            raise _refusal(column, f"canonical forms of {kind} values", "bytes that aren't UTF-8") from None
    else:
        values = byte_array(forms, pa.large_binary() if wide else pa.binary())
    if pa.types.is_fixed_size_binary(kind):
        fits = np.diff(forms.offsets) == kind.byte_width
        _require_all(fits if forms.valid is None else fits | ~forms.valid, kind, column)
    return values if values.type == kind else values.cast(kind)


def _numbers(
    forms: ByteColumn, lengths: NDArray[np.int64], valid: _Mask, tag: bytes, width: int
) -> tuple[NDArray[np.int64], _Mask]:
    """Return the numbers (int64[n]) of the rows that have this tag and width, and which rows those are."""
    known = valid & (lengths == len(tag) + width)
    starts = forms.offsets[:-1][known].astype(np.int64)
    cells = forms.data[starts[:, None] + np.arange(len(tag) + width)] if len(starts) else np.zeros((0, 2 + width), "u1")
    tagged = (cells[:, : len(tag)] == np.frombuffer(tag, np.uint8)).all(axis=1)
    numbers = np.zeros(len(forms), np.int64)
    numbers[known] = np.ascontiguousarray(cells[:, len(tag) :]).view(f">i{width}").reshape(-1)
    known[known] = tagged
    return np.where(known, numbers, 0), known


def _integers(forms: ByteColumn, lengths: NDArray[np.int64], valid: _Mask, kind: Any, column: str) -> pa.Array:
    signed, known = _numbers(forms, lengths, valid, INTEGER_TAG, 8)
    high, large = _numbers(forms, lengths, valid, UNSIGNED_TAG, 8)
    least, most = _range(kind)
    fits = known & (signed >= least) & (signed <= min(most, (1 << 63) - 1))
    if most >= 1 << 63:
        fits |= large & (high < 0)  # by two's complement: from 2^63
    _require_all(fits | ~valid, kind, column)
    return _masked(np.where(large, high, signed).astype(kind.to_pandas_dtype()), fits, kind)


def _decimals(forms: ByteColumn, lengths: NDArray[np.int64], valid: _Mask, kind: Any, column: str) -> pa.Array:
    signed, small = _numbers(forms, lengths, valid, INTEGER_TAG, 8)
    high, large = _numbers(forms, lengths, valid, UNSIGNED_TAG, 8)
    text = pa.array(signed).cast(pa.string())
    if large.any():
        text = pc.if_else(pa.array(large), pa.array(high.view(np.uint64)).cast(pa.string()), text)
    tagged = byte_array(replace(forms, valid=valid), pa.large_binary() if forms.offsets.itemsize == 8 else pa.binary())
    others = valid & ~small & ~large
    _require_all(~others | (lengths > len(NUMBER_TAG)), kind, column)
    if others.any():
        tagged_only = pc.if_else(pa.array(others), tagged, pa.scalar(NUMBER_TAG + b"0", tagged.type))
        plain = _read(pc.binary_replace_slice(tagged_only, 0, len(NUMBER_TAG), b""), kind, column)
        text = pc.if_else(pa.array(others), plain.cast(pa.string()), text)
    values = pc.if_else(pa.array(valid), _read(text, kind, column), pa.scalar(None, kind))
    again = byte_array(canonical_form(values), pa.large_binary())
    if not again.equals(tagged.cast(pa.large_binary())):  # not the shortest text, or of another tag
        raise _unlike(kind, column, "some")
    return values


def _read(text: pa.Array, kind: Any, column: str) -> pa.Array:
    try:
        return text.cast(pa.string()).cast(kind)
    except pa.ArrowInvalid:  # its text quotes the value
        raise _unlike(kind, column, "some") from None


def _masked(numbers: NDArray[Any], known: _Mask, kind: Any) -> pa.Array:
    buffers = [None if known.all() else bitmap(known), pa.py_buffer(np.ascontiguousarray(numbers))]
    return pa.Array.from_buffers(kind, len(numbers), buffers)


def _range(kind: Any) -> tuple[int, int]:
    limits = np.iinfo(kind.to_pandas_dtype())
    return int(limits.min), int(limits.max)


def _checked(values: pa.Array, fits: _Mask, kind: Any, column: str) -> pa.Array:
    _require_all(fits, kind, column)
    return values


def _require_all(fits: _Mask, kind: Any, column: str) -> None:
    if not fits.all():
        raise _unlike(kind, column, f"{int(np.count_nonzero(~fits))} of {len(fits)}")


def _unlike(kind: Any, column: str, count: str) -> TreatmentError:
    return _refusal(column, f"canonical forms of {kind} values", f"{count} that aren't")


def _refusal(column: str, expected: str, found: str, *, code: str = "form") -> TreatmentError:
    remedy = "ask for the type that the tokens were made from"
    return refuse(column, code=code, expected=expected, found=found, remedy=remedy)
