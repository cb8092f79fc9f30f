"""Generalization of numbers: bins, and top and bottom coding (of dates and times too)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.tokens.arrays import UNNAMED, per_chunk, require, validity
from cloakhouse.tokens.refusals import unusable

End = int | float | date
"""Where a column is cut off: an integer, a number, a date, or a datetime (which is a date)."""

_EXACT = 2**53  # up to here every integer is a float64


def numeric_bins(
    values: pa.Array | pa.ChunkedArray, edges: Sequence[int], *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the bin of every number as text: "under 10", "10-19", "20+" for the edges 10 and 20.

    "10-19" holds 10 <= x < 20, so 19.5 too; a bin of one integer is called by it. NaN becomes null.
    Takes integers, floats and decimals. Raises ContractError unless `edges` are ascending integers within
    2^53 of zero, TreatmentError for a column of another type.
    """
    labels, limits = bin_labels(edges), np.array(edges, np.int64)
    types = pa.types
    require(
        values,
        lambda kind: types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind),
        column,
        "a column of numbers",
    )

    def one(chunk: pa.Array) -> pa.Array:
        valid = validity(chunk)
        if not types.is_integer(chunk.type):
            chunk = chunk.cast(pa.float64())
        numbers = pc.fill_null(chunk, 0).to_numpy(zero_copy_only=False)
        if numbers.dtype == np.uint64:
            numbers = np.minimum(numbers, np.uint64(_EXACT)).astype(np.int64)
        known = numbers == numbers if valid is None else valid & (numbers == numbers)
        return pick(labels, np.searchsorted(limits, numbers, side="right"), known)

    return per_chunk(values, one, on_dictionary=True)


def clamp(
    values: pa.Array | pa.ChunkedArray, bottom: End | None = None, top: End | None = None, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return every value, but `bottom` for those below it and `top` for those above; the type is kept.

    Takes integers, float64, date32 and timestamps; NaN becomes null. A date as an end of timestamps is its midnight,
    and a time without a zone is UTC where the column has one. Raises ContractError unless there is an end, each fits
    the column's type and `bottom` is not above `top`; TreatmentError for a column of another type.
    """
    types = pa.types
    accepted = (types.is_integer, types.is_float64, types.is_date32, types.is_timestamp)
    require(values, lambda kind: any(is_kind(kind) for is_kind in accepted), column, "numbers, dates or timestamps")
    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    low, high = (None if end is None else _raw_end(end, kind) for end in (bottom, top))
    if (low is None and high is None) or (low is not None and high is not None and low > high):
        raise unusable("generalization", "clamp", "a bottom, a top, or both in order", "none, or both out of order")

    def one(chunk: pa.Array) -> pa.Array:
        valid = validity(chunk)
        raw = chunk.view(_raw_type(kind))
        numbers = pc.fill_null(raw, 0).to_numpy(zero_copy_only=False)
        known = numbers == numbers if valid is None else valid & (numbers == numbers)
        return pa.array(np.clip(numbers, low, high), raw.type, mask=~known).view(kind)

    return per_chunk(values, one, on_dictionary=True)


def _raw_type(kind: Any) -> Any:
    if pa.types.is_date32(kind):
        return pa.int32()
    return pa.int64() if pa.types.is_timestamp(kind) else kind


def _raw_end(end: End, kind: Any) -> int | float:
    """Return an end as the number that a column of type `kind` holds for it; an integer beyond the type is its last."""
    if pa.types.is_integer(kind) and type(end) is int:
        limits = np.iinfo(kind.to_pandas_dtype())
        return max(int(limits.min), min(end, int(limits.max)))
    if pa.types.is_float64(kind) and type(end) in (int, float) and end == end:
        return float(end)  # type: ignore[arg-type]
    if pa.types.is_timestamp(kind) and isinstance(end, date):
        end = end if isinstance(end, datetime) else datetime.combine(end, time())
        return _scalar(end, kind)
    if pa.types.is_date32(kind) and type(end) is date:
        return _scalar(end, kind)
    raise unusable("generalization", "clamp", f"an end for a column of type {kind}", f"a {type(end).__name__}")


def _scalar(end: date, kind: Any) -> int:
    try:
        return int(pa.scalar(end, kind).value)
    except (pa.ArrowInvalid, OverflowError):
        raise unusable("generalization", "clamp", f"an end within {kind}", "one outside") from None


def bin_labels(edges: Sequence[int]) -> list[str]:
    """Return the labels of the bins between `edges`, one more than these. Raises ContractError for unusable edges."""
    ascending = all(low < high for low, high in pairwise(edges))
    whole = all(type(edge) is int and abs(edge) <= _EXACT for edge in edges)
    if not edges or not whole or not ascending:
        expected = "one or more ascending integers within 2^53 of zero"
        raise unusable("generalization", "edges", expected, f"{len(edges)} edges")
    between = [str(low) if high == low + 1 else f"{low}-{high - 1}" for low, high in pairwise(edges)]
    return [f"under {edges[0]}", *between, f"{edges[-1]}+"]


def pick(
    labels: Sequence[str | None], rows: NDArray[np.signedinteger[Any]], known: NDArray[np.bool_] | None
) -> pa.Array:
    """Return labels[rows] as a string array, null where not `known`."""
    indices = pa.array(rows, mask=None if known is None else ~known)
    return pa.array(labels, pa.string()).take(indices)
