"""Bounded noise on numbers and times: randomization in the sense of ISO/IEC 20889 (noise addition).

Bounded noise is not differential privacy: whoever knows a value to within the bound before still does, and many
noisy copies of one value average out, so a value must get its noise once. The words tell whose noise it is:

- `prf.row_words(key, place, rows)`: independent noise a row;
- `prf.value_words(subjects, key)`: one offset a subject, so that order and distances within a subject remain (of dates,
  this is date shifting). Columns perturbed under one key then move alike, which keeps the distances between them, and
  whoever knows one original of a subject knows its offset, and so all others.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.tokens.arrays import UNNAMED, per_chunk, require, validity
from cloakhouse.tokens.generalize_numbers import End, clamp
from cloakhouse.tokens.prf import Words, below
from cloakhouse.tokens.refusals import unusable
from cloakhouse.tokens.rounding import SLACK, UNEVEN, Number, Step, known_floats, nearest, step_of

DEFAULT_STEP = "0.01"
"""What noise on floats is a multiple of, if nothing else is asked for."""
MAX_STEPS = 2**31 - 1
"""Largest bound, in integers, days, seconds or steps: the draw is a 32-bit one."""

Treat = Callable[[pa.Array, Words], pa.Array]
_Int = NDArray[np.int64]
_LEAST, _LAST = -(2**63), 2**63 - 1
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def perturb(
    values: pa.Array | pa.ChunkedArray,
    bound: Number,
    words: Words,
    *,
    low: End | None = None,
    high: End | None = None,
    step: Number | None = None,
    column: str = UNNAMED,
) -> pa.Array | pa.ChunkedArray:
    """Return every value moved by noise uniform on [-bound, bound], then cut off at `low` and `high`; the type is kept.

    `words` (uint64[rows, 2]) are the draws, one row each. Integers move by integers, date32 by days, timestamps by
    seconds, of which they lose the fraction, and float64 by multiples of `step` (DEFAULT_STEP), to a multiple of it.
    No result is further than `bound` from its value, but where `low` or `high` pull it in; what would leave the type
    stops at its end. Under equal words, order is kept, but for ties that the rounding or the ends make.

    Null stays null; NaN, infinities, floats too large to hold a change of `step` (2^52 steps), and rows whose two words
    are 0, as `value_words` gives for a subject that is null, become null: nothing is passed on unmoved by default.
    Raises ContractError for a bound below one step or above MAX_STEPS of them, one that isn't whole where integers are
    moved, a step for these, or unusable ends; TreatmentError for a column of another type; ValueError for words of
    another shape.
    """
    if words.shape != (len(values), 2):
        raise ValueError(f"two words a row, not {words.shape} for {len(values)} rows")
    types = pa.types
    accepted = (types.is_integer, types.is_float64, types.is_date32, types.is_timestamp)
    require(values, lambda kind: any(is_kind(kind) for is_kind in accepted), column, "numbers, dates or timestamps")
    treat = _treatment(values.type.value_type if types.is_dictionary(values.type) else values.type, bound, step)
    start = 0

    def one(chunk: pa.Array) -> pa.Array:
        nonlocal start
        drawn = words[start : start + len(chunk)]
        start += len(chunk)
        return pc.if_else(pa.array(drawn.any(axis=1)), treat(chunk, drawn), pa.scalar(None, chunk.type))

    moved = per_chunk(values, one, on_dictionary=False)
    return moved if low is None and high is None else clamp(moved, low, high, column=column)


def _treatment(kind: Any, bound: Number, step: Number | None) -> Treat:
    """Return what moves an array of this type under its words."""
    if pa.types.is_float64(kind):
        grid = step_of(DEFAULT_STEP if step is None else step, "step", "perturb")
        reach = step_of(bound, "bound", "perturb").size / grid.size
        _require_reach(reach)
        return lambda chunk, words: _floats(chunk, words, grid, reach)
    if step is not None or type(bound) is not int:
        found = f"a {type(bound).__name__}, and {'no' if step is None else 'a'} step"
        raise unusable("perturb", "bound", f"a whole bound and no step for type {kind}", found)
    _require_reach(Fraction(bound))
    if pa.types.is_timestamp(kind):
        return lambda chunk, words: _times(chunk, words, bound)
    return lambda chunk, words: _integers(chunk, words, bound)


def _require_reach(reach: Fraction) -> None:
    if not 1 <= reach <= MAX_STEPS:
        found = "a smaller one" if reach < 1 else "a larger one"
        raise unusable("perturb", "bound", f"a bound from one step to {MAX_STEPS} steps", found)


def _noise(words: Words, bound: int) -> _Int:
    """Return int64[rows], uniform on [-bound, bound]."""
    return below(words[:, 0], 2 * bound + 1) - bound


def _integers(chunk: pa.Array, words: Words, bound: int) -> pa.Array:
    """Move integers, and dates as their days."""
    raw = chunk.view(pa.int32()) if pa.types.is_date32(chunk.type) else chunk
    numbers: NDArray[Any] = pc.fill_null(raw, 0).to_numpy(zero_copy_only=False)
    noise = _noise(words, bound)
    if numbers.dtype == np.uint64:
        half = np.uint64(1 << 63)  # taken off as a number and put back, so that int64 arithmetic serves
        result: NDArray[Any] = _plus((numbers ^ half).view(np.int64), noise).view(np.uint64) ^ half
    else:
        limits = np.iinfo(numbers.dtype)
        result = np.clip(_plus(numbers.astype(np.int64), noise), limits.min, limits.max).astype(numbers.dtype)
    return pa.array(result, raw.type, mask=_nulls(chunk)).view(chunk.type)


def _times(chunk: pa.Array, words: Words, bound: int) -> pa.Array:
    unit = _PER_SECOND[chunk.type.unit]
    seconds, fraction = np.divmod(pc.fill_null(chunk.view(pa.int64()), 0).to_numpy(zero_copy_only=False), unit)
    noise = _noise(words, bound)
    noise += (noise == -bound) & (fraction > 0)  # with the fraction that is lost, it would go beyond the bound
    result = np.clip(_plus(seconds, noise), -(_LAST // unit), _LAST // unit) * unit
    return pa.array(result, mask=_nulls(chunk)).view(chunk.type)


def _floats(chunk: pa.Array, words: Words, grid: Step, reach: Fraction) -> pa.Array:
    numbers, known = known_floats(chunk)
    position = grid.position(numbers)
    known &= np.abs(position) < UNEVEN
    position = np.where(known, position, 0.0)
    moved = nearest(position) + _noise(words, int(reach))
    slack = SLACK * (np.abs(position) + float(reach))
    lowest, highest = np.ceil(position - float(reach) - slack), np.floor(position + float(reach) + slack)
    return pa.array(grid.value(np.clip(moved, lowest, highest)), mask=~known)


def _plus(numbers: _Int, noise: _Int) -> _Int:
    """Return the sums, or the outermost int64 where one would overflow."""
    up, down = np.maximum(noise, 0), np.minimum(noise, 0)
    raised: _Int = np.minimum(numbers, _LAST - up) + up
    lowered: _Int = np.maximum(raised, _LEAST - down) + down
    return lowered


def _nulls(chunk: pa.Array) -> NDArray[np.bool_] | None:
    valid = validity(chunk)
    return None if valid is None else ~valid
