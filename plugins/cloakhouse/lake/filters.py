"""Row filters over batches: (column, operator, value) triples, all of which must hold.

Evaluated by pyarrow.compute on batches that were read and authorised like any other; row groups that can hold no such
row are left out before (`cloakhouse.lake.pruning`). pyarrow's own dataset filters are never used: they look at the
statistics of columns whose keys the reader may not have, and abort the process.

A missing value fulfils no condition, `!=` and `not in` included, as in SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import ConfigurationError

Condition = tuple[str, str, Any]

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
MEMBERSHIP = ("in", "not in")


@dataclass(frozen=True)
class RowFilter:
    """Conditions that were checked for their form; `bound` checks them against a schema."""

    conditions: tuple[Condition, ...]

    @classmethod
    def of(cls, where: Sequence[Condition] | None) -> RowFilter:
        """Return the filter of `where`. Raises ConfigurationError for another form, operator or a null value."""
        for condition in where or ():
            if not isinstance(condition, tuple) or len(condition) != 3 or not isinstance(condition[0], str):
                raise _unusable("a condition", "(column, operator, value)", "another form")
            column, operator, value = condition
            if operator not in COMPARISONS and operator not in MEMBERSHIP:
                known = ", ".join((*COMPARISONS, *MEMBERSHIP))
                raise _unusable(f"the condition on {column}", f"one of {known}", "another operator")
            if operator in MEMBERSHIP and (isinstance(value, str | bytes) or not isinstance(value, Collection)):
                raise _unusable(f"the condition on {column}", "a collection of values", f"one {type(value).__name__}")
            if value is None or (operator in MEMBERSHIP and None in value):
                raise _unusable(f"the condition on {column}", "values", "none: a missing value fulfils no condition")
        return cls(tuple(where or ()))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the conditions look at, each once."""
        return tuple(dict.fromkeys(column for column, _, _ in self.conditions))

    def check(self, schema: pa.Schema) -> None:
        """Try the conditions on no rows of `schema`. Raises ConfigurationError where the types don't fit."""
        for column, operator, value in self.conditions:
            kind = schema.field(column).type
            try:
                mask(pa.nulls(0, kind), operator, value)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                raise _unusable(f"the condition on {column}", f"values that compare with {kind}", "others") from None

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of `batch` that fulfil every condition."""
        every = None
        for column, operator, value in self.conditions:
            one = mask(batch.column(column), operator, value)
            every = one if every is None else pc.and_kleene(every, one)
        return batch if every is None else batch.filter(every, null_selection_behavior="drop")


def mask(column: pa.Array, operator: str, value: Any) -> pa.Array:
    """Return which values of `column` fulfil one condition; null where a value is missing. Raises ArrowException."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if operator in COMPARISONS:
        return COMPARISONS[operator](column, _typed(value, column.type))
    members = pc.is_in(column, value_set=pa.array(list(value), column.type))
    found = members if operator == "in" else pc.invert(members)
    return pc.and_(found, pc.is_valid(column))


def _typed(value: Any, kind: pa.DataType) -> pa.Scalar:
    """Return `value` in the type of the column, or in its own where that loses something (1.5 against integers)."""
    try:
        return pa.scalar(value, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.scalar(value)


def _unusable(where: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing was read",
        remedy="correct the conditions",
        code="filter",
    )
