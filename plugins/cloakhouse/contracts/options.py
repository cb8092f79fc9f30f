"""The `logicalTypeOptions` of a column: bounds, pattern and length, each checked against the column's type."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Any

from cloakhouse.contracts.fields import Fields

NOT_IN_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|\\[1-9]|[*+?}]\+")
INT64 = 2**63
OPTIONS = {
    "string": ("pattern", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "boolean": (),
    "date": ("minimum", "maximum"),
    "timestamp": ("minimum", "maximum"),
}
BOUNDS = {
    "integer": "a whole number of 64 bits",
    "number": "a finite number",
    "date": "a date as YYYY-MM-DD",
    "timestamp": "a date, or a time without zone as YYYY-MM-DDTHH:MM:SS",
}


@dataclass(frozen=True)
class Options:
    """What a column's values must meet; see the attributes of Column."""

    minimum: Any = None
    maximum: Any = None
    pattern: str | None = None
    max_length: int | None = None


def read_options(column: Fields, logical_type: str) -> Options:
    """Return the checked options of `column`. Raises ContractError for an unknown one or one of another type."""
    if column.data.get("logicalTypeOptions") is None:
        return Options()
    fields = column.child("logicalTypeOptions")
    for key in fields.data:
        if key not in OPTIONS[logical_type]:
            known = ", ".join(OPTIONS[logical_type]) or "none"
            raise fields.fault(key, f"options of type {logical_type}: {known}", f"`{key}`", "correct or remove it")
    low, high = _bound(fields, "minimum", logical_type), _bound(fields, "maximum", logical_type)
    if low is not None and high is not None and _moment(low) > _moment(high):
        raise fields.fault("maximum", "a maximum not below the minimum", "a smaller one", "swap the two")
    return Options(
        minimum=low,
        maximum=high,
        pattern=_pattern(fields) if "pattern" in fields.data else None,
        max_length=fields.whole("maxLength", 1, 1 << 20) if "maxLength" in fields.data else None,
    )


def _bound(fields: Fields, key: str, logical_type: str) -> Any:
    if key not in fields.data:
        return None
    value = fields.data[key]
    sound = {
        "integer": type(value) is int and -INT64 <= value < INT64,
        "number": type(value) in (int, float) and abs(value) < INT64 and math.isfinite(value),
        "date": type(value) is dt.date,
        "timestamp": type(value) is dt.date or (isinstance(value, dt.datetime) and value.tzinfo is None),
    }
    if not sound[logical_type]:
        raise fields.fault(key, BOUNDS[logical_type], f"a {type(value).__name__} that is not", f"correct `{key}`")
    return value


def _moment(value: Any) -> Any:
    return dt.datetime.combine(value, dt.time()) if type(value) is dt.date else value


def _pattern(fields: Fields) -> str:
    """Return the pattern, which must be of RE2, the engine that runs it over the feed in linear time.

    Checked by Python's compiler and a list of what RE2 lacks: asking RE2 itself would load pyarrow and pandas
    whenever a DAG file is parsed.
    """
    pattern = fields.text("pattern")
    try:
        re.compile(pattern)
        sound = NOT_IN_RE2.search(pattern) is None
    except re.error:
        sound = False
    if not sound:
        raise fields.fault(
            "pattern",
            "a regular expression of RE2",
            "another text",
            "see https://github.com/google/re2/wiki/Syntax; it has no look-around and no back references",
        )
    return pattern
