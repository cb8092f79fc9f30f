"""l-diversity and t-closeness: what an equivalence class tells of its members' sensitive value.

Classes are those of k-anonymity: rows that agree in every indirect identifier, nulls as a value of their own. A null
sensitive value is a value, too. Sources: Machanavajjhala et al. 2007, doi:10.1145/1217299.1217302 (distinct and
entropy l-diversity); Li, Li & Venkatasubramanian 2007, doi:10.1109/ICDE.2007.367856 (t-closeness).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import ContractError
from cloakhouse.privacy._codes import Codes, column_codes, require_columns, row_codes

_WHERE = "diversity of a sensitive column"
Numbers = npt.NDArray[np.float64]


def l_diversity(table: pa.Table, quasi_identifiers: Sequence[str], sensitive: str) -> int:
    """Return the distinct l-diversity of `table`: the least number of distinct values of `sensitive` in an equivalence
    class over `quasi_identifiers`. An empty table has l = 0. Raises ContractError if a column is missing, none is
    named, or `sensitive` is among the identifiers."""
    cells = _cells(table, quasi_identifiers, sensitive)
    if not cells.num_rows:
        return 0
    return int(pc.min(cells.group_by("class").aggregate([("value", "count")])["value_count"]).as_py())


def entropy_l_diversity(table: pa.Table, quasi_identifiers: Sequence[str], sensitive: str) -> float:
    """Return the entropy l-diversity of `table`: exp of the least entropy (nats) of `sensitive` in an equivalence
    class, at least 1 and never more than the distinct l-diversity. An empty table has 0. Raises as `l_diversity`
    does."""
    classes, _, counts = _arrays(_cells(table, quasi_identifiers, sensitive))
    if not len(counts):
        return 0.0
    sizes = np.bincount(classes, counts)
    shares = counts / sizes[classes]
    return float(np.exp(np.bincount(classes, -shares * np.log(shares))[sizes > 0].min()))


def t_closeness(table: pa.Table, quasi_identifiers: Sequence[str], sensitive: str, *, ordered: bool = False) -> float:
    """Return the t of `table`, 0-1: the largest distance of the distribution of `sensitive` in an equivalence class
    from that in the whole table. An empty table has 0.

    The earth mover's distance: with equal distances between values (half the sum of differences), or, if `ordered`,
    with the distance of ranks over the number of values less one; nulls rank last. Raises as `l_diversity` does.
    """
    cells = _cells(table, quasi_identifiers, sensitive)
    if ordered:
        cells = _ranked(cells, table[sensitive])
    classes, values, counts = _arrays(cells)
    if not len(counts):
        return 0.0
    sizes = np.bincount(classes, counts)
    shares, overall = counts / sizes[classes], np.bincount(values, counts) / counts.sum()
    if ordered:
        return _largest_ordered(classes, values, shares, overall)
    present = np.bincount(classes, np.abs(shares - overall[values]))
    absent = 1 - np.bincount(classes, overall[values])  # values a class doesn't hold
    return float(((present + absent) / 2)[sizes > 0].max())


def _largest_ordered(classes: Codes, values: Codes, shares: Numbers, overall: Numbers) -> float:
    """Return the largest distance, going through the classes in blocks of bounded memory."""
    width = len(overall)
    if width < 2:
        return 0.0
    order = np.argsort(classes, kind="stable")
    classes, values, shares = classes[order], values[order], shares[order]
    _, dense = np.unique(classes, return_inverse=True)
    step = max(2**22 // width, 1)
    largest = 0.0
    for low in range(0, int(dense[-1]) + 1, step):
        start, end = np.searchsorted(dense, [low, low + step])
        block = np.zeros((int(dense[end - 1]) - low + 1, width))
        block[dense[start:end] - low, values[start:end]] = shares[start:end]
        moved = np.abs(np.cumsum(block - overall, axis=1)).sum(axis=1) / (width - 1)
        largest = max(largest, float(moved.max()))
    return largest


def _cells(table: pa.Table, quasi_identifiers: Sequence[str], sensitive: str) -> pa.Table:
    """Return `class`, `value` (int64 codes) and `rows`, one row per pair that occurs."""
    names = require_columns(table, quasi_identifiers, where=_WHERE)
    require_columns(table, [sensitive], where=_WHERE)
    if sensitive in names:
        raise ContractError(
            where=_WHERE,
            expected="a sensitive column that is no indirect identifier",
            found=f"{sensitive} among {names}",
            not_done="nothing was measured",
            remedy="take it out of the indirect identifiers, or name another sensitive column",
        )
    codes = row_codes([column_codes(table[name]) for name in names])
    cells = pa.table({"class": codes, "value": column_codes(table[sensitive])})
    return cells.group_by(["class", "value"]).aggregate([([], "count_all")]).rename_columns(["class", "value", "rows"])


def _ranked(cells: pa.Table, column: pa.ChunkedArray) -> pa.Table:
    """Return `cells` with the rank of each value instead of its code."""
    codes = column_codes(column)
    if not len(codes):
        return cells
    distinct, first = np.unique(codes, return_index=True)
    order = pc.sort_indices(column.take(pa.array(first))).to_numpy()
    ranks = np.zeros(int(distinct[-1]) + 1, np.int64)
    ranks[distinct[order]] = np.arange(len(order))
    return cells.set_column(1, "value", pa.array(ranks[cells["value"].to_numpy()]))


def _arrays(cells: pa.Table) -> tuple[Codes, Codes, Codes]:
    return cells["class"].to_numpy(), cells["value"].to_numpy(), cells["rows"].to_numpy()
