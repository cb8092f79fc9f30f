"""Generalization of times: to the start of a unit, and of birth dates to bands of ages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.tokens.arrays import UNNAMED, per_chunk, refuse, require, validity
from cloakhouse.tokens.generalize_numbers import bin_labels, pick
from cloakhouse.tokens.refusals import unusable

TIME_UNITS = ("hour", "day", "week", "month", "quarter", "year")


def floor_time(values: pa.Array | pa.ChunkedArray, unit: str, *, column: str = UNNAMED) -> pa.Array | pa.ChunkedArray:
    """Return every time moved back to the start of its hour, day, week (Monday), month, quarter or year.

    The type is kept. Takes timestamps and date32; a date is on the hour and on the day already. Times with a zone
    are floored by its local clock. Raises ContractError for another unit, TreatmentError for a column of another type
    or if a local midnight doesn't exist or occurs twice.
    """
    if unit not in TIME_UNITS:
        raise unusable("generalization", "time unit", f"one of {', '.join(TIME_UNITS)}", f"{unit!r}")
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

    return per_chunk(values, one, on_dictionary=False)


def age_band(
    birth_dates: pa.Array | pa.ChunkedArray, on: date, edges: Sequence[int], *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the band of every age as text: "under 35", "35-54", "55+" for the edges 35 and 55.

    The age is the number of completed years on the day `on`; who was born on 29 February completes a year
    on 1 March where there is no 29th. Raises ContractError unless `edges` are ascending integers from 1,
    TreatmentError unless the column is date32 and `age_valid` everywhere.
    """
    labels = bin_labels(edges)
    if edges[0] < 1:
        raise unusable("generalization", "edges", "ages from 1 year", "an edge below")

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
        return pick(labels, np.searchsorted(np.array(edges), ages, side="right"), known)

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
