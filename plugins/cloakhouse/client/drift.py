"""How the distribution of a column differs between two datasets, told from counts in bins. Pure arithmetic.

Bins come from a sample of the first dataset, the counts from every row of both:

- numbers, dates and timestamps: ten bins between the sample's deciles, equal ones merged, open at both ends;
- texts, booleans and binary: the fifty most frequent values of the sample, and one bin for all others;
- one more bin for missing values, and one for NaN.

With p and q the shares of the bins in the first and the second dataset:

- total variation distance: half the sum of |p - q|, 0 to 1. Levin, Peres & Wilmer, Markov Chains and Mixing Times,
  prop. 4.2;
- Jensen-Shannon distance: the root of the Jensen-Shannon divergence to base 2, 0 to 1. Endres & Schindelin 2003,
  doi:10.1109/TIT.2003.813506;
- population stability index: sum of (q - p) ln(q / p), 0 and more: the divergence J of Kullback & Leibler 1951,
  doi:10.1214/aoms/1177729694. Half a row is added to every bin so that none is empty. Below 0.1 is taken as stable,
  above 0.25 as shifted (Siddiqi, Credit Risk Scorecards, 2006): a convention, no test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DECILES = 10
FREQUENT = 50
SAMPLE_ROWS = 20_000
STABLE, SHIFTED = 0.1, 0.25
SMOOTHING = 0.5  # rows


@dataclass(frozen=True)
class Distances:
    """How far two distributions over the same bins are apart (see the module)."""

    psi: float
    jensen_shannon: float
    total_variation: float
    bins: int
    missing: tuple[float, float]  # shares, 0 to 1

    @property
    def verdict(self) -> str:
        """`stable`, `moved` or `shifted`, by the population stability index."""
        return "stable" if self.psi < STABLE else "moved" if self.psi <= SHIFTED else "shifted"


class Sample:
    """A uniform sample of a stream of values without replacement, the same for the same stream.

    Each value draws a number; the smallest draws stay (reservoir by sorting; Efraimidis & Spirakis 2006,
    doi:10.1016/j.ipl.2005.11.003, with equal weights). Memory: twice the sample.
    """

    def __init__(self, size: int = SAMPLE_ROWS, seed: int = 2017) -> None:
        self._size = size
        self._random = np.random.default_rng(seed)
        self._draws = np.empty(0)
        self._kept: pa.Array | None = None

    def add(self, values: pa.Array) -> None:
        """Take a batch."""
        draws = self._random.random(len(values))
        if len(self._draws) == self._size:
            lower = np.flatnonzero(draws < self._draws.max())
            values, draws = values.take(pa.array(lower)), draws[lower]
        held = values if self._kept is None else pa.concat_arrays([self._kept, values])
        draws = np.concatenate([self._draws, draws])
        if len(draws) > self._size:
            chosen = np.sort(np.argpartition(draws, self._size)[: self._size])
            held, draws = held.take(pa.array(chosen)), draws[chosen]
        self._kept, self._draws = held, draws

    def values(self) -> pa.Array:
        """Return the sample; an array of nulls' type without any batch."""
        return pa.nulls(0) if self._kept is None else self._kept


@dataclass(frozen=True)
class Bins:
    """Where the values of a column are counted. `count` gives the rows of a batch in each bin, missing ones last."""

    names: int
    count: Callable[[pa.Array], np.ndarray]


def is_ordered(kind: pa.DataType) -> bool:
    """Return whether columns of this type are cut at deciles."""
    types = pa.types
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return bool(numeric or types.is_date(kind) or types.is_timestamp(kind))


def bins_of(sample: pa.Array) -> Bins:
    """Return the bins that a sample of the first dataset gives."""
    return _between_deciles(sample) if is_ordered(sample.type) else _by_value(sample)


def distances(first: np.ndarray, second: np.ndarray) -> Distances | None:
    """Return the distances between two vectors of counts over the same bins; None when either has no row."""
    if not first.sum() or not second.sum():
        return None
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    used = (first + second) > 0
    smooth_p, smooth_q = _smoothed(first[used]), _smoothed(second[used])
    return Distances(
        psi=float(np.sum((smooth_q - smooth_p) * np.log(smooth_q / smooth_p))),
        jensen_shannon=float(np.sqrt(min(max(divergence, 0.0), 1.0))),
        total_variation=float(np.abs(p - q).sum() / 2),
        bins=int(used.sum()),
        missing=(float(p[-1]), float(q[-1])),
    )


def _smoothed(counts: np.ndarray) -> np.ndarray:
    return np.asarray((counts + SMOOTHING) / (counts + SMOOTHING).sum())


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    some = p > 0
    return float(np.sum(p[some] * np.log2(p[some] / q[some])))


def _as_floats(values: pa.Array) -> np.ndarray:
    """Return values that aren't missing as float64; days or microseconds of dates and timestamps."""
    kind = values.type
    if pa.types.is_date32(kind):
        values = values.cast(pa.int32())
    elif pa.types.is_temporal(kind):
        values = values.cast(pa.int64())
    return np.asarray(values.drop_null().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def _between_deciles(sample: pa.Array) -> Bins:
    finite = _as_floats(sample)
    finite = finite[~np.isnan(finite)]
    steps = np.arange(1, DECILES) / DECILES
    edges = np.unique(np.quantile(finite, steps, method="inverted_cdf")) if len(finite) else np.empty(0)

    def count(values: pa.Array) -> np.ndarray:
        found = _as_floats(values)
        unknown = np.isnan(found)
        counts = np.bincount(np.searchsorted(edges, found[~unknown], side="left"), minlength=len(edges) + 1)
        return np.concatenate([counts, [unknown.sum(), values.null_count]])

    return Bins(len(edges) + 3, count)


def _by_value(sample: pa.Array) -> Bins:
    counted = sorted(pc.value_counts(sample.drop_null()).to_pylist(), key=lambda item: -item["counts"])
    frequent = pa.array([item["values"] for item in counted[:FREQUENT]], sample.type)

    def count(values: pa.Array) -> np.ndarray:
        present = values.drop_null()
        places = pc.index_in(present, value_set=frequent).fill_null(len(frequent))
        counts = np.bincount(places.to_numpy(zero_copy_only=False), minlength=len(frequent) + 1)
        return np.concatenate([counts, [values.null_count]])

    return Bins(len(frequent) + 2, count)
