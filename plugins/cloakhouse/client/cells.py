"""One value of a row, as JSON has it and as a table shows it."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

JsonValue = str | int | float | bool | None


def json_value(value: object) -> JsonValue:
    """Return a value of an Arrow column as JSON has it.

    Dates, times and timestamps are ISO 8601; durations are seconds; binary is hex; decimals are numbers (doubles,
    unless whole); null, NaN and the infinities, which JSON can't write (RFC 8259, section 6), are null.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        whole = value.is_finite() and value == value.to_integral_value()
        return int(value) if whole else json_value(float(value))
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON form for {type(value).__name__}")


def cell_text(value: JsonValue) -> str:
    """Return `value` for a table: on one line, `null` for None, floats with at most ten digits.

    Characters that a terminal would obey or not show are escaped, so that no value can change the screen.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in str(value))


def utc_text(moment: dt.datetime) -> str:
    """Return `moment` in UTC as ISO 8601 with seconds, e.g. `2026-01-31T09:30:00Z`."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
