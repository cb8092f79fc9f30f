"""What a browser sends, checked: every parameter has a longest form, and what doesn't fit is a page that says so."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from cloakhouse.errors import ConfigurationError, NotFound

LONGEST_QUERY = 4_096  # bytes of a query string
LONGEST_FORM = 8_192  # bytes of a form
LONGEST_TEXT = 200  # characters of a filter
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
DIGEST = re.compile(r"[0-9a-f]{64}")
_WHOLE = re.compile(r"[0-9]{1,18}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|\+00:00)?)?", re.ASCII)

Parameters = Mapping[str, str]


def text(given: Parameters, name: str) -> str:
    """Return a filter as it was typed, trimmed; empty where there is none. Raises ConfigurationError (`.input`)."""
    value = given.get(name, "").strip()
    if len(value) > LONGEST_TEXT or not value.isprintable():
        raise bad(name, f"at most {LONGEST_TEXT} printable characters", f"{len(value)} characters")
    return value


def choice(given: Parameters, name: str, known: frozenset[str] | set[str]) -> str:
    """Return one of `known`, or empty. Raises ConfigurationError (`.input`)."""
    value = text(given, name)
    if value and value not in known:
        raise bad(name, "one of the choices of the form", "another text")
    return value


def whole(given: Parameters, name: str, most: int, default: int | None = None) -> int | None:
    """Return a whole number of 0 to `most`, `default` where there is none. Raises ConfigurationError (`.input`)."""
    value = text(given, name)
    if not value:
        return default
    if not _WHOLE.fullmatch(value) or int(value) > most:
        raise bad(name, f"a whole number, 0 to {most}", "another text")
    return int(value)


def moment(given: Parameters, name: str, *, end: bool = False) -> dt.datetime | None:
    """Return a day or a time in UTC, None where there is none; with `end` a day means its last moment.

    Raises ConfigurationError (`.input`).
    """
    value = text(given, name)
    if not value:
        return None
    try:
        if not _TIME.fullmatch(value):
            raise ValueError
        found = dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC)
        if end and len(value) == len("2026-11-22"):
            found += dt.timedelta(days=1) - dt.timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise bad(name, "a day (2026-11-22) or a time (2026-11-22 15:00), UTC", "another text") from None
    return found


def dataset_name(value: str) -> str:
    """Return the name of a dataset in an address. Raises NotFound for a text that can't be one."""
    if not NAME.fullmatch(value):
        raise missing("dataset", "the name of a dataset")
    return value


def number(value: str) -> int:
    """Return the number of a version, an entry or an alert in an address. Raises NotFound for another text."""
    if not _WHOLE.fullmatch(value) or int(value) >= 2**53:
        raise missing("page", "a whole number in the address")
    return int(value)


def digest(value: str) -> str:
    """Return a SHA-256 in an address (64 lower-case hex). Raises NotFound for another text."""
    if not DIGEST.fullmatch(value):
        raise missing("page", "a SHA-256 in the address")
    return value


def form(body: bytes) -> dict[str, str]:
    """Return the fields of a form (application/x-www-form-urlencoded). Raises ConfigurationError (`.input`)."""
    try:
        if len(body) > LONGEST_FORM:
            raise ValueError
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=8)
    except ValueError:
        raise bad("the form", f"at most {LONGEST_FORM} bytes of a form's fields", f"{len(body)} other bytes") from None
    return dict(pairs)


def bad(where: str, expected: str, found: str) -> ConfigurationError:
    """Return the refusal of an input; it doesn't repeat what was typed."""
    return ConfigurationError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing was looked up",
        remedy="correct the address or the form",
        code="input",
    )


def missing(what: str, expected: str) -> NotFound:
    """Return what is told of a thing that isn't there."""
    return NotFound(
        where=f"this {what}",
        expected=expected,
        found="none",
        not_done="nothing was shown",
        remedy="go back to the list and choose from it",
        code=what.replace(" ", "-"),
    )
