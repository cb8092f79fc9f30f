"""Planted leaks: what a synthesizer that memorises would release, made from an honest release and the training rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.privacy.attacks import Population

JITTER = 0.05  # standard deviation, as a share of the value
Leak = Callable[[pa.Table, Population, np.random.Generator], pa.Table]


def copied(synthetic: pa.Table, training: Population, rng: np.random.Generator, *, part: float) -> pa.Table:
    """Return the release with this part of its rows replaced by training rows."""
    rows = rng.choice(training.table.num_rows, round(part * synthetic.num_rows), replace=False)
    return _replaced(synthetic, training.table.take(pa.array(rows)), rng)


def jittered(synthetic: pa.Table, training: Population, rng: np.random.Generator) -> pa.Table:
    """Return the release with half of its rows replaced by training rows whose numbers have 5 % noise."""
    count = min(synthetic.num_rows // 2, training.table.num_rows)
    rows = training.table.take(pa.array(rng.choice(training.table.num_rows, count, replace=False)))
    for at, field in enumerate(rows.schema):
        if field.name in CATEGORIES or not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
            continue
        values = pc.multiply(rows[field.name].cast(pa.float64()), 1 + JITTER * rng.standard_normal(count))
        digits = 2 if pa.types.is_floating(field.type) else 0
        rows = rows.set_column(at, field, pc.round(values, digits).cast(field.type))
    return _replaced(synthetic, rows, rng)


def customers(synthetic: pa.Table, training: Population, rng: np.random.Generator) -> pa.Table:
    """Return the release with all rows of one training household in ten instead of as many of its own."""
    households = int(training.units.max()) + 1
    chosen = np.isin(training.units, rng.choice(households, households // 10, replace=False))
    rows = np.flatnonzero(chosen)[: synthetic.num_rows]
    return _replaced(synthetic, training.table.take(pa.array(rows)), rng)


def memorised(
    synthetic: pa.Table, training: Population, rng: np.random.Generator, *, part: float, most: int | None = None
) -> pa.Table:
    """Return the release with rows of one household (of the median size or more) that make up `part` of it.

    Its rows are there once if `part` is 0; only the first `most` of them are used if given.
    """
    sizes = np.bincount(training.units)
    chosen = int(rng.choice(np.flatnonzero(sizes >= np.median(sizes))))
    rows = np.flatnonzero(training.units == chosen)[:most]
    return _replaced(
        synthetic, training.table.take(pa.array(np.resize(rows, round(part * synthetic.num_rows) or len(rows)))), rng
    )


def _replaced(synthetic: pa.Table, rows: pa.Table, rng: np.random.Generator) -> pa.Table:
    kept = rng.permutation(synthetic.num_rows)[: max(synthetic.num_rows - rows.num_rows, 0)]
    whole = pa.concat_tables([synthetic.take(pa.array(kept)), rows])
    return whole.take(pa.array(rng.permutation(whole.num_rows)))


CATEGORIES = ("store_id", "month", "weekday", "hour")
LEAKS: dict[str, Leak] = {
    "half of the rows copied": partial(copied, part=0.5),
    "one row in twenty copied": partial(copied, part=0.05),
    "half copied with 5 % jitter": jittered,
    "one household in ten copied": customers,
    "one customer, 0.5 % of the release": partial(memorised, part=0.005),
    "one customer, three rows, 0.5 %": partial(memorised, part=0.005, most=3),
    "one customer, each row once": partial(memorised, part=0.0),
}
