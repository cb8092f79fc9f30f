"""Exact copies: which synthetic rows equal a real row, and whether training rows are copied in excess.

Rows of small domains coincide by chance, so a share of copies means little alone. The excess over the share
of rows that equal a row never shown to the synthesizer (the hold-out) is what training has leaked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cloakhouse.errors import ContractError
from cloakhouse.privacy._codes import Codes, column_codes, combine, require_columns

MATCHES_TRAINING = "matches_training"
MATCHES_HOLDOUT = "matches_holdout"

_WHERE = "exact copies"


@dataclass(frozen=True)
class CopyExcess:
    """How much more often synthetic rows equal training rows than hold-out rows.

    Attributes:
        training_share: share (0-1) of synthetic rows that equal a row of the training sample.
        holdout_share: share (0-1) of synthetic rows that equal a row of the hold-out sample.
        excess: training_share - holdout_share, -1 to 1.
        upper_bound: one-sided upper confidence bound on the excess.
        confidence: level of that bound.
        synthetic_rows: synthetic rows looked at.
        reference_rows: rows of the training sample, and equally of the hold-out sample.
    """

    training_share: float
    holdout_share: float
    excess: float
    upper_bound: float
    confidence: float
    synthetic_rows: int
    reference_rows: int

    def as_dict(self) -> dict[str, float | int]:
        """Return the fields as a flat dictionary of numbers."""
        return asdict(self)


def match_mask(synthetic: pa.Table, reference: pa.Table, columns: Sequence[str]) -> pa.BooleanArray:
    """Return a boolean array without nulls, one entry per row of `synthetic`: whether some row of
    `reference` equals it in all of `columns`. Null equals null; floats are compared by their bits.

    Raises ContractError if a column is missing on either side, differs in type (dictionary and plain,
    large and small strings are taken as one), or none is named.
    """
    names = require_columns(synthetic, columns, where=f"{_WHERE}, synthetic table")
    require_columns(reference, names, where=f"{_WHERE}, reference table")
    rows: Codes | None = None
    for name in names:
        codes = column_codes(_stacked(synthetic[name], reference[name], name))
        rows = codes if rows is None else combine(rows, codes)
    assert rows is not None
    split = synthetic.num_rows
    known = np.zeros(int(rows.max()) + 1 if len(rows) else 0, dtype=np.bool_)
    known[rows[split:]] = True
    return pa.array(known[rows[:split]], type=pa.bool_())


def copy_matches(
    synthetic: pa.Table, training: pa.Table, holdout: pa.Table, columns: Sequence[str], *, seed: int = 0
) -> pa.Table:
    """Return two boolean columns, `matches_training` and `matches_holdout`, one row per synthetic row.

    The larger of `training` and `holdout` is subsampled without replacement (numpy PCG64, `seed`) to the
    size of the smaller one, so that chance matches weigh the same on both sides. Raises ContractError as
    `match_mask` does, and if any of the three tables is empty.
    """
    for label, table in (("synthetic", synthetic), ("training", training), ("hold-out", holdout)):
        if not table.num_rows:
            raise _empty(label)
    size = min(training.num_rows, holdout.num_rows)
    return pa.table(
        {
            MATCHES_TRAINING: match_mask(synthetic, _sample(training, size, seed), columns),
            MATCHES_HOLDOUT: match_mask(synthetic, _sample(holdout, size, seed), columns),
        }
    )


def copy_excess(
    synthetic: pa.Table, training: pa.Table, holdout: pa.Table, columns: Sequence[str], *, seed: int = 0
) -> CopyExcess:
    """Return the excess of exact copies of training rows, with a one-sided 95 % upper confidence bound.

    Samples and errors as in `copy_matches`, the bound as in `excess_of_matches`.
    """
    matches = copy_matches(synthetic, training, holdout, columns, seed=seed)
    return excess_of_matches(
        matches[MATCHES_TRAINING].to_numpy(),
        matches[MATCHES_HOLDOUT].to_numpy(),
        reference_rows=min(training.num_rows, holdout.num_rows),
    )


def excess_of_matches(
    matches_training: npt.NDArray[np.bool_],
    matches_holdout: npt.NDArray[np.bool_],
    *,
    reference_rows: int = 0,
    confidence: float = 0.95,
) -> CopyExcess:
    """Return the excess from two boolean arrays of one entry per synthetic row.

    The bound is the hybrid score limit for a difference of paired proportions: unlike a Wald bound it
    stays above zero when no row matches (2.7 / (rows + 2.7) at 95 %). It takes synthetic rows as
    independent, and the two reference samples as given. `reference_rows` is recorded only (0: unknown).
    Raises ContractError if the arrays are empty or differ in length, or `confidence` is not within
    0.5-1 (exclusive). Source: Newcombe 1998, method 10,
    doi:10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C.
    """
    rows = len(matches_training)
    if not rows or rows != len(matches_holdout):
        raise _empty("synthetic")
    if not 0.5 < confidence < 1:
        raise ContractError(
            where=_WHERE,
            expected="a confidence within 0.5-1, exclusive",
            found=f"{confidence}",
            not_done="no bound was computed",
            remedy="use 0.95",
        )
    training, holdout = np.asarray(matches_training, bool), np.asarray(matches_holdout, bool)
    p, q = float(training.mean()), float(holdout.mean())
    return CopyExcess(
        training_share=p,
        holdout_share=q,
        excess=p - q,
        upper_bound=_upper_bound(p, q, int((training & holdout).sum()), rows, confidence),
        confidence=confidence,
        synthetic_rows=rows,
        reference_rows=reference_rows,
    )


def _upper_bound(p: float, q: float, both: int, rows: int, confidence: float) -> float:
    z = NormalDist().inv_cdf(confidence)
    above = _wilson(p, rows, z)[1] - p
    below = q - _wilson(q, rows, z)[0]
    phi = _phi(round(p * rows), round(q * rows), both, rows)
    return min(1.0, p - q + sqrt(max(0.0, above**2 - 2 * phi * above * below + below**2)))


def _phi(training: int, holdout: int, both: int, rows: int) -> float:
    """Return the correlation of the two marks, its numerator corrected for continuity when positive."""
    spread = training * (rows - training) * holdout * (rows - holdout)
    covariance: float = both * rows - training * holdout
    if covariance > 0:
        covariance = max(covariance - rows / 2, 0.0)
    return covariance / sqrt(spread) if spread else 0.0


def _wilson(share: float, rows: int, z: float) -> tuple[float, float]:
    middle = share + z * z / (2 * rows)
    reach = z * sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def _stacked(left: pa.ChunkedArray, right: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    left, right = _plain(left), _plain(right)
    if left.type != right.type:
        raise ContractError(
            where=f"{_WHERE}, column {name}",
            expected=f"one type on both sides ({left.type})",
            found=str(right.type),
            not_done="no row was compared",
            remedy="cast the synthetic table to the contract's types first",
        )
    return pa.chunked_array([*left.chunks, *right.chunks], type=left.type)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    return column.cast(kind)


def _sample(table: pa.Table, size: int, seed: int) -> pa.Table:
    if table.num_rows == size:
        return table
    chosen = np.random.default_rng(seed).choice(table.num_rows, size=size, replace=False)
    return table.take(pa.array(np.sort(chosen)))


def _empty(label: str) -> ContractError:
    return ContractError(
        where=_WHERE,
        expected="rows on every side, and one entry per synthetic row",
        found=f"the {label} side is empty or of another length",
        not_done="no share was computed",
        remedy="pass the whole synthetic table, the training rows and a hold-out",
    )
