"""Generalization of a column: bins, coarser times, age bands, prefixes and recoding into a hierarchy.

Generalization in the sense of ISO/IEC 20889: rounding, top and bottom coding, recoding of categories.
Every function keeps null as null, keeps the number of rows, and returns a ChunkedArray for a ChunkedArray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.errors import ContractError
from cloakhouse.tokens.arrays import UNNAMED, is_text, per_chunk, refuse, require, validity

TIME_UNITS = ("hour", "day", "week", "month")
_EXACT = 2**53  # up to here every integer is a float64


def numeric_bins(
    values: pa.Array | pa.ChunkedArray, edges: Sequence[int], *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the bin of every number as text: "under 10", "10-19", "20+" for the edges 10 and 20.

    "10-19" holds 10 <= x < 20, so 19.5 too; a bin of one integer is called by it. NaN becomes null.
    Takes integers, floats and decimals. Raises ContractError unless `edges` are ascending integers within
    2^53 of zero, TreatmentError for a column of another type.
    """
    labels, limits = _labels(edges), np.array(edges, np.int64)
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
        return _pick(labels, np.searchsorted(limits, numbers, side="right"), known)

    return per_chunk(values, one, on_dictionary=True)


def floor_time(values: pa.Array | pa.ChunkedArray, unit: str, *, column: str = UNNAMED) -> pa.Array | pa.ChunkedArray:
    """Return every time moved back to the start of its hour, day, week (Monday) or month; the type is kept.

    Takes timestamps and date32; a date is on the hour and on the day already. Times with a zone are floored
    by its local clock. Raises ContractError for another unit, TreatmentError for a column of another type or
    if a local midnight doesn't exist or occurs twice.
    """
    if unit not in TIME_UNITS:
        raise _unusable("time unit", f"one of {', '.join(TIME_UNITS)}", f"{unit!r}")
    types = pa.types
    require(values, lambda kind: types.is_timestamp(kind) or types.is_date32(kind), column, "timestamps or date32")

    def one(chunk: pa.Array) -> pa.Array:
        if unit == "hour" and types.is_timestamp(chunk.type) and chunk.type.tz is not None:
            local = pc.local_timestamp(chunk)  # by its minutes, as the hour's start may be ambiguous
            return pc.subtract(chunk, pc.subtract(local, pc.floor_temporal(local, unit="hour")))
        try:
            return pc.floor_temporal(chunk, unit=unit, week_starts_monday=True)
        except pa.ArrowInvalid:  # its text quotes the time
            raise refuse(
                column,
                code="local-time",
                expected=f"a local start of every {unit}",
                found=f"one that doesn't exist, or occurs twice, in zone {chunk.type.tz}",
                remedy="convert the column to UTC while parsing",
            ) from None

    return per_chunk(values, one, on_dictionary=True)


def age_band(
    birth_dates: pa.Array | pa.ChunkedArray, on: date, edges: Sequence[int], *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the band of every age as text: "under 35", "35-54", "55+" for the edges 35 and 55.

    The age is the number of completed years on the day `on`; who was born on 29 February completes a year
    on 1 March where there is no 29th. Raises ContractError unless `edges` are ascending integers from 1,
    TreatmentError unless the column is date32 and `age_valid` everywhere.
    """
    labels = _labels(edges)
    if edges[0] < 1:
        raise _unusable("edges", "ages from 1 year", "an edge below")

    def one(chunk: pa.Array) -> pa.Array:
        ages, known = _ages(chunk, on)
        future = int(np.count_nonzero(ages[known] < 0))
        if future:
            raise refuse(
                column,
                code="birth-date",
                expected=f"birth dates up to {on}",
                found=f"{future} of {len(chunk)} later",
                remedy="quarantine the rows that age_valid marks",
            )
        return _pick(labels, np.searchsorted(np.array(edges), ages, side="right"), known)

    _require_dates(birth_dates, column)
    return per_chunk(birth_dates, one, on_dictionary=False)


def age_valid(
    birth_dates: pa.Array | pa.ChunkedArray, on: date, *, column: str = UNNAMED
) -> pa.BooleanArray | pa.ChunkedArray:
    """Return a mask without nulls: True where `age_band` accepts the row, as it is null or not after `on`.

    Raises TreatmentError unless the column is date32.
    """
    _require_dates(birth_dates, column)

    def one(chunk: pa.Array) -> pa.Array:
        ages, known = _ages(chunk, on)
        return pa.array(~known | (ages >= 0))

    return per_chunk(birth_dates, one, on_dictionary=False)


def prefix(values: pa.Array | pa.ChunkedArray, length: int, *, column: str = UNNAMED) -> pa.Array | pa.ChunkedArray:
    """Return the first `length` characters (code points) of every text, such as a postcode's region.

    A value that isn't longer comes back whole: use `mask` where that would reveal it. Raises ContractError
    if `length` is below 1, TreatmentError if the column isn't text.
    """
    if length < 1:
        raise _unusable("prefix length", "at least 1 character", f"{length}")
    require(values, is_text, column, "a text column")
    return per_chunk(values, lambda chunk: pc.utf8_slice_codeunits(chunk, 0, length), on_dictionary=True)


def recode(
    values: pa.Array | pa.ChunkedArray,
    groups: Mapping[str, Sequence[str]],
    other: str | None,
    *,
    column: str = UNNAMED,
) -> pa.Array | pa.ChunkedArray:
    """Return the label of the group that holds each value (string); `other` for a value in no group.

    With `other` None such a value is suppressed: it becomes null. Takes text, and integers by their decimal
    digits. Raises ContractError if a member is in two groups or there is no group, TreatmentError for a
    column of another type.
    """
    members = [member for group in groups.values() for member in group]
    if not members or len(set(members)) != len(members):
        raise _unusable("groups", "at least one member, each in one group", f"{len(members)} members")
    labels = [label for label, group in groups.items() for _ in group] + [other]
    require(
        values,
        lambda kind: is_text(kind) or pa.types.is_integer(kind),
        column,
        "a column of text or integers",
    )
    known = pa.array(members, pa.large_string())

    def one(chunk: pa.Array) -> pa.Array:
        position = pc.index_in(chunk.cast(pa.large_string()), value_set=known)
        rows = pc.fill_null(position, len(members)).to_numpy(zero_copy_only=False)
        return _pick(labels, rows, validity(chunk))

    return per_chunk(values, one, on_dictionary=True)


def _labels(edges: Sequence[int]) -> list[str]:
    ascending = all(low < high for low, high in pairwise(edges))
    whole = all(type(edge) is int and abs(edge) <= _EXACT for edge in edges)
    if not edges or not whole or not ascending:
        raise _unusable("edges", "one or more ascending integers within 2^53 of zero", f"{len(edges)} edges")
    between = [str(low) if high == low + 1 else f"{low}-{high - 1}" for low, high in pairwise(edges)]
    return [f"under {edges[0]}", *between, f"{edges[-1]}+"]


def _pick(labels: Sequence[str | None], rows: NDArray[np.signedinteger], known: NDArray[np.bool_] | None) -> pa.Array:
    """Return labels[rows] as a string array, null where not `known`."""
    indices = pa.array(rows, mask=None if known is None else ~known)
    return pa.array(labels, pa.string()).take(indices)


def _require_dates(values: pa.Array | pa.ChunkedArray, column: str) -> None:
    require(values, pa.types.is_date32, column, "a date32 column of birth dates")


def _ages(birth_dates: pa.Array, on: date) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return completed years on the day `on` (negative for later births), and False where it is unknown."""
    valid = validity(birth_dates)
    days = pc.fill_null(birth_dates.view(pa.int32()), 0).to_numpy().astype("M8[D]")
    months = days.astype("M8[M]")
    month_index = months.astype(np.int64) + 1970 * 12
    day = (days - months).astype(np.int64) + 1
    now = on.year * 12 + on.month - 1
    completed_months = now - month_index - (day > on.day)
    return completed_months // 12, np.ones(len(days), np.bool_) if valid is None else valid


def _unusable(what: str, expected: str, found: str) -> ContractError:
    return ContractError(
        code="generalization",
        where=what,
        expected=expected,
        found=found,
        not_done="no value was treated",
        remedy="correct the column's treatment in the contract",
    )
