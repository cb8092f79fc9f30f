"""k-anonymity over indirect identifiers, and local suppression that reaches it.

An equivalence class is the set of rows that agree in every indirect identifier; a null is a value like any
other, so that nulls form classes of their own. Sources: Samarati & Sweeney, "Protecting privacy when
disclosing information" (1998), definition 3; local suppression: ISO/IEC 20889:2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.privacy._codes import Codes, column_codes, require_columns, row_codes

_WHERE = "indirect identifiers"


def k_anonymity(table: pa.Table, quasi_identifiers: Sequence[str]) -> int:
    """Return the k-anonymity of `table` over `quasi_identifiers`: the size of its smallest equivalence
    class (rows). Nulls form a class of their own. An empty table has k = 0. Raises ContractError if a
    column is missing or none is named. Source: Samarati & Sweeney 1998, def. 3."""
    sizes = class_sizes(table, quasi_identifiers)
    return int(sizes.min()) if len(sizes) else 0


def class_sizes(table: pa.Table, quasi_identifiers: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the size (rows) of each equivalence class of `table`, ascending: int64, one entry per class,
    with sum `table.num_rows`. Raises ContractError if a column is missing or none is named."""
    codes = _encode(table, require_columns(table, quasi_identifiers, where=_WHERE))
    counts = np.bincount(row_codes(codes)).astype(np.int64)
    return np.sort(counts[counts > 0])  # a column without nulls leaves code 0 unused


def suppress_small_classes(table: pa.Table, quasi_identifiers: Sequence[str], k: int) -> tuple[pa.Table, int]:
    """Return `table` with k-anonymity of at least `k`, and the number of rows (int) that were touched.

    Local suppression: in the rows of classes smaller than `k`, one indirect identifier after the other
    becomes null, each time the one that brings most rows into a class of `k` or more; a row is left alone
    as soon as its class is large enough, and rows of large classes are never touched. Rows that are still
    in too small a class when all their indirect identifiers are null are dropped, and counted as touched.
    Order of rows and columns and all types stay; suppressed columns become nullable.

    Raises ContractError if a column is missing, none is named, or `k` is less than 1; TreatmentError if
    the result, measured again, misses `k`. Source: ISO/IEC 20889:2018, local suppression.
    """
    if k < 1:
        raise ContractError(
            where=_WHERE,
            expected="k of at least 1",
            found=f"k = {k}",
            not_done="no cell was suppressed",
            remedy="state k as a positive number of rows",
        )
    names = require_columns(table, quasi_identifiers, where=_WHERE)
    masks, drop, touched = _plan(table, names, k)
    for name, mask in masks.items():
        table = _suppress(table, name, mask)
    if drop.any():
        table = table.filter(pa.array(~drop))
    _verify(table, names, k)
    return table, touched


def _plan(
    table: pa.Table, names: Sequence[str], k: int
) -> tuple[dict[str, npt.NDArray[np.bool_]], npt.NDArray[np.bool_], int]:
    """Return which cells become null (a mask per column), which rows go, and how many rows are touched."""
    codes = _encode(table, names)
    small = _in_small_class(codes, k)
    touched = int(small.sum())
    masks: dict[str, npt.NDArray[np.bool_]] = {}
    while small.any() and len(masks) < len(names):
        trials = [(_after_suppressing(codes, at, small, k), at) for at, n in enumerate(names) if n not in masks]
        still_small, best = min(trials, key=lambda trial: (int(trial[0].sum()), trial[1]))
        masks[names[best]] = small
        codes[best] = np.where(small, 0, codes[best])
        small = still_small
    return masks, small, touched


def _after_suppressing(codes: list[Codes], at: int, rows: npt.NDArray[np.bool_], k: int) -> npt.NDArray[np.bool_]:
    trial = [np.where(rows, 0, c) if i == at else c for i, c in enumerate(codes)]
    return _in_small_class(trial, k)


def _in_small_class(codes: list[Codes], k: int) -> npt.NDArray[np.bool_]:
    rows = row_codes(codes)
    return np.asarray(np.bincount(rows)[rows] < k) if len(rows) else np.zeros(0, dtype=np.bool_)


def _encode(table: pa.Table, names: Sequence[str]) -> list[Codes]:
    """Return codes per column with 0 for null, so that suppressing a cell is setting its code to 0."""
    encoded = []
    for name in names:
        codes = column_codes(table[name]) + 1
        encoded.append(np.where(np.asarray(pc.is_null(table[name])), 0, codes))
    return encoded


def _suppress(table: pa.Table, name: str, mask: npt.NDArray[np.bool_]) -> pa.Table:
    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    kept = pc.if_else(pa.array(mask), pa.scalar(None, type=field.type), table[name])
    return table.set_column(at, field.with_nullable(True), kept)


def _verify(table: pa.Table, names: Sequence[str], k: int) -> None:
    reached = k_anonymity(table, names)
    if table.num_rows and reached < k:  # pragma: no cover - guards the procedure above
        raise TreatmentError(
            where=_WHERE,
            expected=f"k of at least {k} after suppression",
            found=f"k = {reached}",
            not_done="the table was not handed on",
            remedy="report this as a defect of the suppression",
        )
