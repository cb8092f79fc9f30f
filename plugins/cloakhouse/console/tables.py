"""CSV that a spreadsheet shows and doesn't run.

Rows end in CR LF, every text is quoted (RFC 4180), and one that begins as a formula does (= + - @, tab, CR) has an
apostrophe before it. Numbers stay numbers. Source: OWASP, "CSV Injection".
"""

from __future__ import annotations

from collections.abc import Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe(text: str) -> str:
    """Return `text` with an apostrophe before it where a spreadsheet would take it as a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def csv_line(values: Sequence[str | int | float | None]) -> str:
    """Return one row of CSV with its line end; None is empty."""
    return ",".join(_cell(value) for value in values) + "\r\n"


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + safe(value).replace('"', '""') + '"'
    return repr(value)
