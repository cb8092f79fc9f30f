"""What a validation leaves behind: names from the suite, numbers from a list of aggregates, nothing else.

Great Expectations' own results hold values of the data (samples, minima, exception texts), so none of its
structures is kept. Names are taken from the suite, not from the result. A number is copied only for types
of expectations that count rows or average over many; minima, maxima, medians and quantiles are the value of
one row and stay behind. Of an exception only the class is copied, and only if such a class exists.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from numbers import Real
from typing import Any

COUNTING = frozenset(
    {
        "expect_copy_excess_to_be_at_most",
        "expect_table_k_anonymity_to_be_at_least",
        "expect_table_to_hold_no_direct_identifier",
        "expect_table_row_count_to_be_between",
        "expect_table_row_count_to_equal",
        "expect_table_column_count_to_be_between",
        "expect_table_column_count_to_equal",
        "expect_column_unique_value_count_to_be_between",
        "expect_column_proportion_of_unique_values_to_be_between",
        "expect_column_proportion_of_non_null_values_to_be_between",
    }
)
AVERAGING = frozenset({"expect_column_mean_to_be_between", "expect_column_stdev_to_be_between"})
MIN_ROWS_TO_AVERAGE = 10  # rows; the mean of fewer is close to a value

_RAISED = re.compile(r"^([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?::|$)", re.MULTILINE)
_UNKNOWN = "Exception"


@dataclass(frozen=True)
class ExpectationResult:
    """The outcome of one expectation over all batches.

    Attributes:
        type: e.g. `expect_column_values_to_be_between`, as the suite names it.
        columns: the columns that the suite names for it; none for a table as a whole.
        success: whether it held on every batch.
        observed_value: a count, share or average, where the type has one that is no single row's value.
        element_count: rows looked at, nulls included.
        unexpected_count: rows that failed.
        unexpected_percent: 100 * unexpected_count / element_count.
        exception_class: class of the exception that kept it from being evaluated (it then counts as failed).
    """

    type: str
    columns: tuple[str, ...]
    success: bool
    observed_value: float | int | None = None
    element_count: int | None = None
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    exception_class: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {**asdict(self), "columns": list(self.columns)}


@dataclass(frozen=True)
class SuiteResult:
    """The outcome of a suite over all batches of a dataset.

    Attributes:
        suite: name of the suite.
        digest: SHA-256 (hex) of the suite that ran.
        success: whether every expectation held on every batch.
        batches / rows: what was looked at.
        expectations: one result per expectation of the suite, in its order.
    """

    suite: str
    digest: str
    success: bool
    batches: int
    rows: int
    expectations: tuple[ExpectationResult, ...]

    @property
    def failed(self) -> tuple[ExpectationResult, ...]:
        """The expectations that did not hold."""
        return tuple(result for result in self.expectations if not result.success)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, without values of the data."""
        return {**asdict(self), "expectations": [result.as_dict() for result in self.expectations]}


def numbers_of(kind: str, result: Mapping[str, Any], rows: int) -> dict[str, float | int | None]:
    """Return the numbers of a Great Expectations `result` that may be kept for an expectation of type
    `kind` over `rows` rows: observed_value, element_count, unexpected_count; None where there is none."""
    averages = kind in AVERAGING and rows >= MIN_ROWS_TO_AVERAGE
    observed = result.get("observed_value") if kind in COUNTING or averages else None
    return {
        "observed_value": _number(observed),
        "element_count": _count(result.get("element_count")),
        "unexpected_count": _count(result.get("unexpected_count")),
    }


def exception_class(info: Mapping[str, Any] | None) -> str | None:
    """Return the name of the exception that Great Expectations recorded in `info`, or None if it recorded
    none. Its record is text only, so names are looked for in the traceback and kept only if they name an
    exception class that is loaded; else the answer is `Exception`."""
    tracebacks = list(_tracebacks(info or {}))
    if not tracebacks:
        return None
    names = (match.group(1) for text in tracebacks for match in _RAISED.finditer(text))
    return next((known for known in map(_exception_name, names) if known), _UNKNOWN)


def _tracebacks(info: Mapping[str, Any]) -> Iterator[str]:
    if "raised_exception" in info:
        if info["raised_exception"]:
            yield str(info.get("exception_traceback"))
        return
    for nested in info.values():  # one record per metric
        if isinstance(nested, Mapping):
            yield from _tracebacks(nested)


def _exception_name(dotted: str) -> str | None:
    module, _, name = dotted.rpartition(".")
    space = sys.modules.get(module) if module else builtins
    found = getattr(space, "__dict__", {}).get(name)
    return name if isinstance(found, type) and issubclass(found, BaseException) else None


def _number(value: object) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value):
        return None
    number = float(value)
    return int(number) if number.is_integer() else number


def _count(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
