"""Training rows and hold-out, by whole units of privacy; rare categories left out of training.

A unit's token is a keyed pseudorandom function of its identity, so its first 8 bytes, read as a fraction of 2^64,
split the units at random yet the same way in every run. The next 8 bytes order them for the cap on rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import ContractError
from cloakhouse.synthesis.derive import ORDER
from cloakhouse.synthesis.protocol import GROUP, UNIT


@dataclass(frozen=True)
class Split:
    """Training and hold-out rows with their units, and how many rows were left out for a rare category."""

    training: pa.Table
    holdout: pa.Table
    suppressed_rows: int


def split_units(
    view: pa.Table,
    holdout_share: float,
    max_training_rows: int | None = None,
    categorical: Iterable[str] = (),
    min_units: int = 0,
) -> Split:
    """Return `view` split by unit. Whole units go to one side, and whole units are left out over the row cap.

    A row is left out when a value of a `categorical` column in it is held by fewer than `min_units` units of the view.
    Without cap and `categorical` which side a unit is on depends on its token alone, and so on no other unit: a
    guarantee of differential privacy needs that. Raises ContractError when the unit of privacy isn't a token, or is
    missing in a row.
    """
    units = view.column(UNIT).combine_chunks()
    words = token_words(units)
    held_out = words[:, 0] < np.uint64(min(holdout_share, 1.0) * 2.0**64)
    common = _common(view, units, categorical, min_units)
    training = view.filter(pa.array(~held_out & common))
    if max_training_rows is not None:
        training = _capped(training, words[~held_out & common], max_training_rows)
    return Split(training, view.filter(pa.array(held_out & common)), int((~common).sum()))


def shard_of(units: pa.Array, shards: int) -> np.ndarray:
    """Return the shard (int64, 0 to shards-1) of each row by its unit's token: whole units, about equal shares."""
    return (token_words(units)[:, 1] % np.uint64(shards)).astype(np.int64)


def in_order(table: pa.Table) -> pa.Table:
    """Return the rows with those of a unit together, within them those of a group, and these in the view's order."""
    keys = [token_words(table.column(name).combine_chunks()) for name in (GROUP, UNIT) if name in table.column_names]
    order = [table.column(ORDER).cast(pa.int64()).to_numpy()] if ORDER in table.column_names else []
    return table.take(pa.array(np.lexsort([*order, *(word for key in keys for word in (key[:, 1], key[:, 0]))])))


def token_words(units: pa.Array) -> np.ndarray:
    """Return each token as two big-endian words of 8 bytes, shape (rows, 2)."""
    if units.type != pa.binary(16) or units.null_count:
        raise ContractError(
            where="the view of a synthetic dataset",
            expected="a token of 16 bytes as the unit of privacy of every row",
            found=f"{units.null_count} rows without one" if units.null_count else f"a column of type {units.type}",
            not_done="nothing was fitted, sampled or published",
            remedy="name a required column with the treatment `token` as `unit`",
            code="unit",
        )
    if not len(units):
        return np.zeros((0, 2), ">u8")
    return np.frombuffer(units.buffers()[1], ">u8", count=2 * len(units), offset=16 * units.offset).reshape(-1, 2)


def _common(view: pa.Table, units: pa.Array, categorical: Iterable[str], min_units: int) -> np.ndarray:
    keep = np.ones(view.num_rows, np.bool_)
    codes = pc.dictionary_encode(units).indices
    for name in categorical:
        column = view.column(name).combine_chunks()
        counts = pa.table({"value": column, "unit": codes}).group_by("value", use_threads=False)
        table = counts.aggregate([("unit", "count_distinct")])
        frequent = table.filter(pc.greater_equal(table.column("unit_count_distinct"), min_units)).column("value")
        known = pc.is_in(column, value_set=frequent.combine_chunks())
        keep &= np.array(known.to_numpy(zero_copy_only=False), np.bool_)
    return keep


def _capped(training: pa.Table, words: np.ndarray, max_rows: int) -> pa.Table:
    """Return whole units in the order of their token until the next one would exceed `max_rows`."""
    if training.num_rows <= max_rows:
        return training
    order = np.lexsort((words[:, 0], words[:, 1]))
    ranked = words[order]
    starts = np.flatnonzero(np.r_[True, (ranked[1:] != ranked[:-1]).any(axis=1)])
    ends = np.r_[starts[1:], len(ranked)]
    last = ends[ends <= max_rows]
    keep = np.zeros(len(order), np.bool_)
    keep[order[: last[-1] if len(last) else 0]] = True
    return training.filter(pa.array(keep))
