"""Rounding to multiples of a step: generalization in the sense of ISO/IEC 20889 (rounding).

A step is kept as the fraction of two integers that its decimal text says, so that multiples of 0.05 come out as the
floats that print as 1.15 and 1.2. A float is read the same way: one that is 2^-50 of its size or less away from the
middle of two multiples counts as in the middle, as the double of 1.015 lies below 1.015.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.tokens.arrays import UNNAMED, per_chunk, require, validity
from cloakhouse.tokens.refusals import unusable

Number = int | float | str | Decimal
Floats = NDArray[np.float64]

SLACK = 2.0**-50  # of a number: what its decimal text and two operations may be off by
UNEVEN = 2.0**52  # steps from zero; from here on floats lie a step apart, or more
_LARGEST = 2**53
_PLACES = 15  # decimal places


@dataclass(frozen=True)
class Step:
    """A positive number, numerator / denominator, and its multiples as floats."""

    numerator: int
    denominator: int

    @property
    def size(self) -> Fraction:
        """The number itself, exactly."""
        return Fraction(self.numerator, self.denominator)

    def position(self, numbers: Floats) -> Floats:
        """Return how many steps each number is from zero, with its fraction; infinite where that overflows."""
        with np.errstate(over="ignore"):
            return numbers * self.denominator / self.numerator

    def value(self, multiples: Floats) -> Floats:
        """Return whole multiples of the step: the nearest floats, as long as the product is below 2^53."""
        return multiples * self.numerator / self.denominator + 0.0  # never -0.0


def step_of(number: Number, what: str, code: str) -> Step:
    """Return `number` (an int, a float by its shortest text, a decimal or its text) as a Step.

    Raises ContractError, which calls it `what`, unless it is above 0, at most 2^53 and has at most 15 decimal places.
    """
    expected = f"a number above 0, at most 2^53, of at most {_PLACES} decimal places"
    try:
        size = Decimal(str(number))
    except InvalidOperation:
        raise unusable(code, what, expected, "no number") from None
    if isinstance(number, bool) or not size.is_finite():
        raise unusable(code, what, expected, "no number")
    within = 0 < size <= _LARGEST and size.adjusted() >= -_PLACES  # before a denominator of any length is computed
    if not within or 10**_PLACES % size.as_integer_ratio()[1]:
        raise unusable(code, what, expected, "a number outside, or finer")
    return Step(*size.as_integer_ratio())


def nearest(position: Floats) -> Floats:
    """Return the whole number next to each position, the even one from the middle (to within SLACK)."""
    middle = np.floor(position) + 0.5
    tied = np.abs(position - middle) <= SLACK * np.abs(position)
    return np.rint(np.where(tied, middle, position))


def round_to(values: pa.Array | pa.ChunkedArray, to: Number, *, column: str = UNNAMED) -> pa.Array | pa.ChunkedArray:
    """Return the multiple of `to` nearest to every number, the even multiple from the middle; the type is kept.

    Takes integers and float64. Integers are rounded exactly, and to the outermost multiple inside their type if the
    nearest is outside. NaN and infinities become null; floats that lie further apart than `to` stay as they are.
    Raises ContractError unless `to` is a number above 0, at most 2^53, with at most 15 decimal places, and whole for a
    column of integers; TreatmentError for a column of another type.
    """
    types = pa.types
    require(values, lambda k: types.is_integer(k) or types.is_float64(k), column, "a column of integers or float64")
    step = step_of(to, "rounding", "round")
    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    if types.is_float64(kind):
        return per_chunk(values, lambda chunk: _floats(chunk, step), on_dictionary=True)
    if step.denominator != 1:
        raise unusable("round", "rounding", "a whole number for a column of integers", "a fraction")
    return per_chunk(values, lambda chunk: _integers(chunk, step.numerator), on_dictionary=True)


def known_floats(chunk: pa.Array) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the numbers of a float64 array, 0 where there is none, and False there: null, NaN or infinite."""
    numbers = pc.fill_null(chunk, 0).to_numpy(zero_copy_only=False)
    valid, finite = validity(chunk), np.isfinite(numbers)
    known = finite if valid is None else finite & valid
    return np.where(known, numbers, 0.0), known


def _floats(chunk: pa.Array, step: Step) -> pa.Array:
    numbers, known = known_floats(chunk)
    position = step.position(numbers)
    fine = np.abs(position) < UNEVEN
    rounded = step.value(nearest(np.where(fine, position, 0.0)))
    return pa.array(np.where(fine, rounded, numbers), mask=~known)


def _integers(chunk: pa.Array, to: int) -> pa.Array:
    valid = validity(chunk)
    numbers: NDArray[Any] = pc.fill_null(chunk, 0).to_numpy(zero_copy_only=False)
    limits = np.iinfo(numbers.dtype)
    wide = np.uint64 if numbers.dtype == np.uint64 else np.int64
    size = wide(to)
    below, rest = np.divmod(numbers.astype(wide), size)
    up = (2 * rest > size) | ((2 * rest == size) & (below % wide(2) == 1))
    multiples = np.clip(below + up.astype(wide), wide(-(-int(limits.min) // to)), wide(int(limits.max) // to))
    result = (multiples * size).astype(numbers.dtype)
    return pa.array(result, chunk.type, mask=None if valid is None else ~valid)
