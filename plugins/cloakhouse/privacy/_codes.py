"""Integer codes for the rows of Arrow tables, so that equality of rows becomes equality of integers.

Equality is exact: nulls equal nulls, floats are compared by their bits (so NaN equals the same NaN, and
0.0 differs from -0.0). Codes are small non-negative numbers, not always without gaps, and mean nothing
outside the call that made them. Dictionary encoding is hash based; Arrow itself resolves collisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import ContractError

Codes = npt.NDArray[np.int64]

_MAX_PRODUCT = 2**62  # two codes are packed into one int64 as long as they fit


def require_columns(table: pa.Table, columns: Sequence[str], *, where: str) -> list[str]:
    """Return `columns` without repetitions. Raises ContractError when the list is empty, or a column is
    missing from `table` or ambiguous there."""
    wanted = list(dict.fromkeys(columns))
    if not wanted:
        raise ContractError(
            where=where,
            expected="at least one column",
            found="an empty list of columns",
            not_done="nothing was measured",
            remedy="name the columns in the contract or in the suite",
        )
    absent = [name for name in wanted if table.column_names.count(name) != 1]
    if absent:
        raise ContractError(
            where=where,
            expected=f"each of {wanted} once in the table",
            found=f"{absent} missing or repeated",
            not_done="nothing was measured",
            remedy="compare the contract's columns with the columns that were written",
        )
    return wanted


def column_codes(column: pa.ChunkedArray) -> Codes:
    """Return one dense int64 code per row of `column`; null has a code of its own."""
    array = _comparable(column)
    encoded = pc.dictionary_encode(array, null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def combine(left: Codes, right: Codes) -> Codes:
    """Return dense codes of the pairs (`left`[i], `right`[i]). Both are of equal length."""
    if not len(left):
        return left
    width = int(right.max()) + 1
    if (int(left.max()) + 1) * width >= _MAX_PRODUCT:  # pragma: no cover - needs 2**31 distinct rows
        _, left = np.unique(left, return_inverse=True)
    return _dense(left * width + right)


def row_codes(columns: Sequence[Codes]) -> Codes:
    """Return codes of the rows made of `columns` (one array of codes per column, at least one)."""
    rows = columns[0]
    for codes in columns[1:]:
        rows = combine(rows, codes)
    return rows


def _dense(codes: Codes) -> Codes:
    return np.asarray(pa.array(codes).dictionary_encode().indices.to_numpy(), dtype=np.int64)


def _comparable(column: pa.ChunkedArray) -> Any:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps chunks when offsets would overflow
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=kind)
    if pa.types.is_floating(kind):
        return array.view({16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width])
    return array
