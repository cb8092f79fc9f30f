from __future__ import annotations

from datetime import date

import pytest

from cloakhouse.errors import ConfigurationError
from cloakhouse.sample import parse_weeks, week_start


def test_weeks_start_on_mondays_a_week_apart() -> None:
    assert week_start(1) == date(2016, 12, 26)
    assert week_start(2) == date(2017, 1, 2)
    assert week_start(53) == date(2017, 12, 25)
    assert {week_start(week).weekday() for week in range(1, 54)} == {0}


@pytest.mark.parametrize(
    ("text", "weeks"),
    [("1-4", range(1, 5)), ("7", range(7, 8)), ("1-53", range(1, 54)), (" 2-2 ", range(2, 3))],
)
def test_parse_weeks(text: str, weeks: range) -> None:
    assert parse_weeks(text) == weeks


@pytest.mark.parametrize(
    "text", ["", "-", "0", "0-4", "1-54", "54", "4-1", "1-", "-4", "1-2-3", "1,2", "one", "1.5", "٣", "001"]
)
def test_parse_weeks_refuses(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_weeks(text)


@pytest.mark.parametrize("week", [0, -1, 54])
def test_week_start_refuses(week: int) -> None:
    with pytest.raises(ConfigurationError):
        week_start(week)
