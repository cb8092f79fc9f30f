"""Checks of the parameters of treatments: each tells what it expects of a value that it refuses."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], str | None]
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a treatment: what it means, a check that returns a fault or None, whether it must be given."""

    meaning: str
    check: Check
    required: bool = False


def name(value: Any) -> str | None:
    """Accept a name that may become part of a key's name."""
    return None if isinstance(value, str) and NAME.fullmatch(value) else "a name of small letters, digits and _"


def choice(*names: str) -> Check:
    """Return a check for one of `names`."""
    return lambda value: None if value in names else "one of " + ", ".join(names)


def choices(*names: str) -> Check:
    """Return a check for a list of some of `names`, each once."""

    def check(value: Any) -> str | None:
        ok = isinstance(value, list) and value and all(v in names for v in value) and len(set(value)) == len(value)
        return None if ok else "a list of some of " + ", ".join(names)

    return check


def whole(low: int, high: int) -> Check:
    """Return a check for a whole number."""

    def check(value: Any) -> str | None:
        return None if type(value) is int and low <= value <= high else f"a whole number from {low} to {high}"

    return check


def positive(value: Any) -> str | None:
    """Accept a number above 0."""
    ok = type(value) in (int, float) and 0 < value <= 2**53
    return None if ok else "a number above 0, at most 2^53"


def edges(value: Any) -> str | None:
    """Accept rising whole numbers."""
    numbers = isinstance(value, list) and value and all(type(v) is int and abs(v) <= 2**53 for v in value)
    rising = numbers and all(a < b for a, b in itertools.pairwise(value))
    return None if rising else "a rising list of whole numbers"


def groups(value: Any) -> str | None:
    """Accept labels with the texts that each stands for."""
    ok = isinstance(value, dict) and value and all(isinstance(v, list) and v for v in value.values())
    members = [member for group in value.values() for member in group] if ok else []
    texts = ok and all(isinstance(member, str) for member in members)
    distinct = texts and len(set(members)) == len(members)
    return None if distinct else "a mapping from each label to the list of texts it stands for, each text once"


def clamp(value: Any) -> str | None:
    """Accept a bottom, a top, or both in order; whole numbers, numbers or dates."""
    fault = "`bottom`, `top` or both, in order, as numbers or as dates (YYYY-MM-DD)"
    if not isinstance(value, dict) or not value or not value.keys() <= {"bottom", "top"}:
        return fault
    ends = list(value.values())
    dates = all(type(end) is dt.date for end in ends)
    if not dates and not all(type(end) in (int, float) and abs(end) <= 2**53 for end in ends):
        return fault
    return fault if len(ends) == 2 and not value["bottom"] < value["top"] else None


def hierarchy(value: Any) -> str | None:
    """Accept a file, a level of it and its digest."""
    ok = (
        isinstance(value, dict)
        and value.keys() == {"file", "level", "sha256"}
        and isinstance(value["file"], str)
        and re.fullmatch(r"[A-Za-z0-9_-]+\.csv", value["file"])
        and type(value["level"]) is int
        and 1 <= value["level"] <= 32
        and isinstance(value["sha256"], str)
        and re.fullmatch(r"[0-9a-f]{64}", value["sha256"])
    )
    return None if ok else '{file: NAME.csv, level: 1 or more, sha256: "its digest in hexadecimal"}'


def char(value: Any) -> str | None:
    """Accept one character."""
    return None if isinstance(value, str) and len(value) == 1 else "one character"


def day(value: Any) -> str | None:
    """Accept a date."""
    return None if type(value) is dt.date else "a date as YYYY-MM-DD"


def phrase(value: Any) -> str | None:
    """Accept a short text."""
    return None if isinstance(value, str) and 0 < len(value) <= 64 else "a text of at most 64 characters"
