"""Decimals in their canonical byte form (the table is `canonical`'s): by column, but for numbers beyond 64 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.tokens.arrays import validity

NUMBER_TAG = b"\xffn"
_WORD = 64  # bits
_DIGITS = 18  # 10^18 is the largest power of ten in int64


def decimal_forms(values: pa.Array, integer_forms: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return the canonical bytes of every decimal (large_binary), null where it is null.

    `integer_forms` gives the forms (large_binary) of int64 and uint64 arrays. Unscaled values within int64 are
    treated by column; others one by one, which is for the few.
    """
    kind = values.type
    if kind.bit_width < 128:
        values = values.cast(pa.decimal128(kind.precision, kind.scale))
    valid = validity(values)
    known = np.ones(len(values), np.bool_) if valid is None else valid
    unscaled, narrow = _unscaled(values)
    if kind.scale < 0:
        narrow = np.zeros(len(values), np.bool_)
    forms = _narrow_forms(np.where(narrow & known, unscaled, 0), kind.scale, integer_forms)
    wide = np.flatnonzero(known & ~narrow)
    if len(wide):
        replaced = [_one(number, integer_forms) for number in values.take(pa.array(wide)).to_pylist()]
        forms = pc.replace_with_mask(forms, pa.array(known & ~narrow), pa.array(replaced, pa.large_binary()))
    return forms if valid is None else pc.if_else(pa.array(valid), forms, pa.scalar(None, pa.large_binary()))


def _unscaled(values: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the low words of the unscaled numbers, and where they are all of the number."""
    words = values.type.bit_width // _WORD
    data = values.buffers()[1]
    if data is None or not len(values):
        return np.zeros(len(values), np.int64), np.ones(len(values), np.bool_)
    cells = np.frombuffer(data, np.int64, words * len(values), values.offset * words * 8).reshape(-1, words)
    low = np.ascontiguousarray(cells[:, 0])
    sign = low >> 63
    narrow = (cells[:, 1:] == sign[:, None]).all(axis=1) & (low != np.iinfo(np.int64).min)  # whose magnitude isn't one
    return low, narrow


def _narrow_forms(unscaled: NDArray[np.int64], scale: int, integer_forms: Callable[[pa.Array], pa.Array]) -> pa.Array:
    magnitude = np.abs(unscaled)
    if scale <= 0:
        return integer_forms(pa.array(unscaled))
    unit = 10 ** min(scale, _DIGITS)
    whole = magnitude // unit if scale <= _DIGITS else np.zeros_like(magnitude)
    part = magnitude - whole * unit if scale <= _DIGITS else magnitude
    integers = integer_forms(pa.array(np.where(unscaled < 0, -whole, whole)))
    if not part.any():
        return integers
    text = pa.large_string()
    sign = pc.if_else(pa.array(unscaled < 0), pa.scalar("-", text), pa.scalar("", text))
    digits = pc.utf8_rtrim(pc.utf8_lpad(pa.array(part).cast(text), scale, "0"), "0")
    plain = pc.binary_join_element_wise(
        sign, pa.array(whole).cast(text), pa.scalar(".", text), digits, pa.scalar("", text)
    ).cast(pa.large_binary())
    tag, nothing = pa.scalar(NUMBER_TAG, pa.large_binary()), pa.scalar(b"", pa.large_binary())
    return pc.if_else(pa.array(part == 0), integers, pc.binary_join_element_wise(tag, plain, nothing))


def _one(number: Any, integer_forms: Callable[[pa.Array], pa.Array]) -> bytes:
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    if "." in text or not -(1 << 63) <= int(text) < 1 << 64:
        return NUMBER_TAG + text.encode()
    kind = pa.uint64() if int(text) >= 0 else pa.int64()
    form: bytes = integer_forms(pa.array([int(text)], kind))[0].as_py()
    return form
