from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cloakhouse.client.where import MAX_LENGTH, parse_where
from cloakhouse.errors import ConfigurationError

TYPES = {
    "value": "number",
    "store_id": "integer",
    "age": "string",
    "has_meat": "boolean",
    "day": "date",
    "hour": "timestamp",
    "two words": "string",
    "größe": "number",
}


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("value > 20", [("value", ">", 20.0)]),
        ("value>20", [("value", ">", 20.0)]),
        ("value<>.5", [("value", "!=", 0.5)]),
        ("value >= -1.5e-3", [("value", ">=", -0.0015)]),
        ("store_id == 9007199254740993", [("store_id", "==", 2**53 + 1)]),
        ("store_id < 1.5", [("store_id", "<", 1.5)]),
        ("age = 'under 35'", [("age", "=", "under 35")]),
        ("age = 'it''s'", [("age", "=", "it's")]),
        ("age = 55+", [("age", "=", "55+")]),
        ("age != ''", [("age", "!=", "")]),
        ("age = 'a = 1 and b'", [("age", "=", "a = 1 and b")]),
        ("has_meat = TRUE", [("has_meat", "=", True)]),
        ("day <= 2026-11-01", [("day", "<=", dt.date(2026, 11, 1))]),
        ("hour > 2026-11-01T09:30:00", [("hour", ">", dt.datetime(2026, 11, 1, 9, 30))]),
        ("hour > '2026-11-01T09:30:00+02:00'", [("hour", ">", dt.datetime(2026, 11, 1, 7, 30))]),
        ("age in ('a', b)", [("age", "in", ["a", "b"])]),
        ("age NOT IN (a,b)", [("age", "not in", ["a", "b"])]),
        ("store_id in (1)", [("store_id", "in", [1])]),
        ('"two words" = x', [("two words", "=", "x")]),
        ("größe = 1", [("größe", "=", 1.0)]),
        ("value > 1 and value < 2 AND age = b", [("value", ">", 1.0), ("value", "<", 2.0), ("age", "=", "b")]),
    ],
)
def test_conditions(text: str, conditions: list[Any]) -> None:
    found = parse_where(text, TYPES)
    assert found == conditions
    assert [type(value) for _, _, value in found] == [type(value) for _, _, value in conditions]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "value",
        "value >",
        "> 20",
        "20 < value",
        "value > 20 and",
        "value > 20 or value < 1",
        "value > 20; drop table dataset_version",
        "value > 20 and 1",
        "value > __import__('os').system('id')",
        "value > (20)",
        "value => 20",
        "value > twenty",
        "value > nan",
        "value > inf",
        "value > 1_000",
        "value between 1 and 2",
        "value is null",
        "value not > 1",
        "store_id = 0x10",
        "store_id = \u0663",
        "age = 'unfinished",
        "age = unfinished'",
        "age in ()",
        "age in a",
        "age in ('a'",
        "age in ('a',)",
        "age in ('a' 'b')",
        "has_meat = yes",
        "has_meat = 1",
        "day = 2026-02-30",
        "hour = tomorrow",
        "email = 1",
        "Value > 1",
        '"value > 1',
        "two words = x",
        "value\x00 > 1",
        "value > 1" + " " * MAX_LENGTH + "and value > 2",
    ],
)
def test_anything_else_is_refused_without_its_literal(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_where(text, TYPES)
    assert caught.value.code == "configuration.where"
    for secret in ("drop table", "system", "twenty", "tomorrow", "unfinished"):
        assert secret not in caught.value.explain()
