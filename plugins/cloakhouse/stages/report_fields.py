"""What may be copied out of evidence: numbers, yes or no, digests, days, and texts that are known beforehand.

Each function returns the value if it is of that form and None (or False, or nothing) else, so that a text which was
planted in any field of any manifest has no way into a report.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping, Sequence
from math import isfinite
from typing import Any

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_LIBRARY = re.compile(r"(numpy|opendp|sdv|sdmetrics|torch) (\d{1,4}(?:\.\d{1,4}){0,3})")
_CODE = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}")
_RUN = re.compile(
    r"(manual|scheduled|asset_triggered|backfill)__\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(\+00:00|Z)?(_[A-Za-z0-9]{8})?"
)
_MOST = 2**53
_MOST_ITEMS = 10_000


def number(value: object) -> float | int | None:
    """Return a finite number, else None. True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MOST or not isfinite(value):
        return None
    return value


def whole(value: object) -> int | None:
    """Return a whole number from 0 to 2^53, else None."""
    return value if type(value) is int and 0 <= value <= _MOST else None


def flag(value: object) -> bool:
    """Return whether `value` is True; nothing else counts as yes."""
    return value is True


def one_of(value: object, known: Collection[str]) -> str | None:
    """Return a text that is among the `known` ones, else None."""
    return next((text for text in known if text == value), None) if isinstance(value, str) else None


def names(value: object, known: Collection[str]) -> list[str]:
    """Return those texts of a list that are among the `known` ones."""
    return [text for item in items(value) if (text := one_of(item, known)) is not None]


def digest(value: object) -> str | None:
    """Return a SHA-256 in hexadecimal digits, else None."""
    return value if isinstance(value, str) and _DIGEST.fullmatch(value) else None


def day(value: object) -> str | None:
    """Return a day of the calendar (ISO 8601), else None."""
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return None
    try:
        return dt.date.fromisoformat(value).isoformat()
    except ValueError:
        return None


def libraries(value: object) -> list[str]:
    """Return the names and versions of libraries that engines and checks are made of; none that isn't known."""
    parts = value.split(", ") if isinstance(value, str) else []
    return [f"{match[1]} {match[2]}" for part in parts if (match := _LIBRARY.fullmatch(part))]


def code_version(value: object) -> str | None:
    """Return a version of the platform, else None."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def run_id(value: object) -> str | None:
    """Return the id of a run as Airflow makes them, else None: one that somebody typed stays behind."""
    return value if isinstance(value, str) and _RUN.fullmatch(value) else None


def mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> Sequence[Any]:
    """Return a list, an empty one for anything else, or for one that is too long to be evidence."""
    return value if isinstance(value, list) and len(value) <= _MOST_ITEMS else []
