from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.client.where import parse_where
from cloakhouse.errors import ConfigurationError
from cloakhouse.lake.filters import RowFilter

TYPES = {"n": "integer", "x": "number", "t": "string", "b": "boolean", "d": "date", "at": "timestamp"}
SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("x", pa.float64()),
        ("t", pa.string()),
        ("b", pa.bool_()),
        ("d", pa.date32()),
        ("at", pa.timestamp("us")),
    ]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(-(2**62), 2**62),
    "x": st.floats(allow_nan=False, allow_infinity=False).map(lambda x: float(f"{x:.6e}")),
    "t": st.text(max_size=12),
    "b": st.booleans(),
    "d": st.dates(),
    "at": st.datetimes(dt.datetime(1, 1, 2)),
}
ORDER = st.sampled_from(["=", "==", "!=", "<", "<=", ">", ">="])
PIECES = [
    "n",
    "x",
    "t",
    "and",
    "not",
    "in",
    "(",
    ")",
    ",",
    "=",
    "<",
    ">",
    "!",
    "'",
    '"',
    " ",
    "1",
    "-",
    ".",
    "e9",
    "é",
    "\0",
]


def written(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, dt.date):
        return f"'{value.isoformat()}'"
    return str(value).lower()


@st.composite
def conditions(draw: st.DrawFn) -> tuple[str, str, Any]:
    column = draw(st.sampled_from(sorted(TYPES)))
    if draw(st.booleans()):
        return column, draw(ORDER), draw(VALUES[column])
    return column, draw(st.sampled_from(["in", "not in"])), draw(st.lists(VALUES[column], min_size=1, max_size=3))


@settings(max_examples=80)
@given(st.lists(conditions(), min_size=1, max_size=3), st.sampled_from(["and", " AND ", "\tAnd\n"]))
def test_every_condition_comes_back(wanted: list[tuple[str, str, Any]], joint: str) -> None:
    parts = [
        f"{column} {operator} ({', '.join(map(written, value))})"
        if "in" in operator
        else f"{column}{operator}{written(value)}"
        for column, operator, value in wanted
    ]
    assert parse_where(f" {joint} ".join(parts), TYPES) == wanted


@settings(max_examples=200)
@given(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_every_text_is_conditions_on_known_columns_or_refused(text: str) -> None:
    try:
        found = parse_where(text, TYPES)
    except ConfigurationError:
        return
    RowFilter.of(found).check(SCHEMA)
    assert {column for column, _, _ in found} <= TYPES.keys()
