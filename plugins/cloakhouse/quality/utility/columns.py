"""Columns as utility sees them: every value becomes the number of a public cell, the same on all three sides.

Cells of numbers follow from the contract's maximum alone, those of categories from the declared values, so that no
end of a cell is a value of somebody. Without a maximum the cells are powers of ten, halved; without declared values
a category is its own cell, and has no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import ContractError, ValidationRefused
from cloakhouse.privacy._codes import Codes, column_codes, require_columns

WHERE = "utility of a synthetic dataset"
SIDES = ("synthetic", "training", "hold-out")
CENT = 0.005  # half a cent: what rounds to zero
SINGLE = 5  # small whole numbers with a cell of their own
GROWING = 12  # cells above them
UNLIMITED = (-1e3, -10.0, -CENT, CENT, 1.5, 3.5, 7.5, 10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e5, 1e6)
Numbers = npt.NDArray[np.float64]
Tables = tuple[pa.Table, pa.Table, pa.Table]


@dataclass(frozen=True)
class UtilityColumn:
    """A column to compare.

    Attributes:
        name: column name.
        categorical: values stand for themselves; no order, no arithmetic.
        maximum: public cap of a number, or None.
        values: every value that a category may have, declared and so public (for parts of a date: all of them);
            None when not declared.
    """

    name: str
    categorical: bool
    maximum: float | None = None
    values: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Cells:
    """A column of the three tables, as cells.

    Attributes:
        column: the column.
        size: number of cells; codes are 0 to size - 1.
        codes: int64 codes of the synthetic, training and hold-out rows.
        numbers: float64 values of the same (NaN: missing), for numeric columns; else None.
        labels: public names of the cells, or None where the values are not public.
    """

    column: UtilityColumn
    size: int
    codes: tuple[Codes, Codes, Codes]
    numbers: tuple[Numbers, Numbers, Numbers] | None = None
    labels: tuple[str, ...] | None = None


def edges(maximum: float | None) -> Numbers:
    """Return the rising inner edges of at most 20 cells of a number, of which the first is below and the last above.

    Zero and the maximum (where values are capped) have cells of their own; in between are small whole numbers, then
    growing cells. A maximum of less than 2 is cut evenly. Raises ContractError for a maximum that is not finite and
    above 0.
    """
    if maximum is None:
        return np.array(UNLIMITED)
    if not isfinite(maximum) or maximum <= CENT * 2:
        raise _setting("a maximum above 0.01, finite", "one that is not")
    if maximum < 2:
        even = np.linspace(0, maximum, SINGLE + GROWING + 1)[1:-1]
        return np.asarray(np.r_[CENT, even[(even > CENT) & (even < maximum - CENT)], maximum - CENT])
    inner: Numbers = np.arange(0.5, min(float(SINGLE + GROWING), maximum)) + 1.0
    if maximum > SINGLE + GROWING:
        inner = np.r_[inner[:SINGLE], np.geomspace(SINGLE + 0.5, maximum - 0.5, GROWING + 1)[1:]]
    return np.asarray(np.unique(np.r_[CENT, inner[inner < maximum - CENT], maximum - CENT]))


def encode(tables: Tables, columns: Sequence[UtilityColumn]) -> tuple[Cells, ...]:
    """Return `columns` of the synthetic, training and hold-out `tables` as cells; null and NaN are a cell.

    Raises ContractError when a column is missing or repeated, has another kind of type than it is declared or than
    the training rows have, or its values or maximum can't be used; ValidationRefused when a table has no rows.
    """
    names = [column.name for column in columns]
    for side, table in zip(SIDES, tables, strict=True):
        require_columns(table, names, where=f"{WHERE}, {side} rows")
        if not table.num_rows:
            raise ValidationRefused(
                where=WHERE,
                expected="rows on all three sides",
                found=f"no {side} rows",
                not_done="utility was not measured, so nothing can be published on it",
                remedy="sample rows, and split off a hold-out that is not empty",
                code="empty",
            )
    if len(set(names)) < len(names):
        raise _setting("each column once", "a name repeated")
    return tuple(_categories(tables, c) if c.categorical else _numeric(tables, c) for c in columns)


def _numeric(tables: Tables, column: UtilityColumn) -> Cells:
    inner = edges(column.maximum)
    found = tuple(_floats(table[column.name], column.name) for table in tables)
    codes = tuple(_in_cells(values, inner) for values in found)
    labels = None if column.maximum is None else (*_between(inner), "missing")
    return Cells(column, len(inner) + 2, _three(codes), _three(found), labels)


def _floats(values: pa.ChunkedArray, name: str) -> Numbers:
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise _setting("a numeric type, as it is no category", f"type {kind}", f", column {name}")
    numbers = np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(), np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _in_cells(values: Numbers, inner: Numbers) -> Codes:
    missing = len(inner) + 1
    return np.where(np.isnan(values), missing, np.searchsorted(inner, values, "right")).astype(np.int64)


def _between(inner: Numbers) -> list[str]:
    ends = [f"{edge:.4g}" for edge in inner]
    return [f"below {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"{ends[-1]} and above"]


def _categories(tables: Tables, column: UtilityColumn) -> Cells:
    kind = _plain(tables[1][column.name].type)
    try:
        parts = [pc.cast(table[column.name], kind) for table in tables]
        allowed = None if column.values is None else pa.array(column.values).cast(kind).unique().drop_null()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # the texts quote values
        raise _setting("values of the type of the training rows", "others", f", column {column.name}") from None
    if allowed is None:
        together = column_codes(pa.chunked_array([c for part in parts for c in part.chunks], type=kind))
        ends = np.cumsum([table.num_rows for table in tables])[:2]
        return Cells(column, int(together.max()) + 1, _three(tuple(np.split(together, ends))))
    codes = tuple(_declared(part, allowed) for part in parts)
    labels = (*(str(value) for value in allowed.to_pylist()), "not declared", "missing")
    return Cells(column, len(allowed) + 2, _three(codes), None, labels)


def _declared(values: pa.ChunkedArray, allowed: pa.Array) -> Codes:
    at = np.asarray(pc.fill_null(pc.index_in(values, value_set=allowed), len(allowed)), np.int64)
    return np.where(np.asarray(values.is_null(nan_is_null=True)), len(allowed) + 1, at)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _three(parts: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    synthetic, training, holdout = parts
    return synthetic, training, holdout


def _setting(expected: str, found: str, place: str = "") -> ContractError:
    return ContractError(
        where=f"{WHERE}{place}",
        expected=expected,
        found=found,
        not_done="utility was not measured",
        remedy="compare the contract's columns with the columns that were written",
    )
