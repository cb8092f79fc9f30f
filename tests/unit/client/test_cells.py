from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal

import pytest

from cloakhouse.client.cells import cell_text, json_value

MOMENT = dt.datetime(2017, 1, 2, 3, 4, 5, 600)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**60 + 1, 2**60 + 1),
        (0.1, 0.1),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (Decimal("1.10"), 1.1),
        (Decimal("12345678901234567890"), 12345678901234567890),
        (Decimal("2.00"), 2),
        (Decimal("NaN"), None),
        (Decimal("Infinity"), None),
        (dt.date(2017, 1, 2), "2017-01-02"),
        (MOMENT, "2017-01-02T03:04:05.000600"),
        (MOMENT.replace(tzinfo=dt.UTC), "2017-01-02T03:04:05.000600+00:00"),
        (dt.time(9, 30), "09:30:00"),
        (dt.timedelta(minutes=1, milliseconds=500), 60.5),
        (b"\x00\xff", "00ff"),
        ("größer", "größer"),
    ],
)
def test_json_value(value: object, expected: object) -> None:
    found = json_value(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


def test_a_nested_value_has_no_form() -> None:
    with pytest.raises(TypeError, match="list"):
        json_value([1])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (0.1 + 0.2, "0.3"),
        (1234567.89, "1234567.89"),
        ("a b", "a b"),
        ("größer", "größer"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202e55", "\\u202e55"),
    ],
)
def test_cell_text(value: str | int | float | bool | None, text: str) -> None:
    assert cell_text(value) == text
