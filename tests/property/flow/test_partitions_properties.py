"""Any text names partitions or is refused."""

from __future__ import annotations

import datetime as dt

from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.contracts import feed_contract

from cloakhouse.errors import ConfigurationError
from cloakhouse.flow.partitions import parse_partitions

CONTRACTS = {period: feed_contract(period=period) for period in ("day", "week", "snapshot")}
PIECES = st.sampled_from(
    ["2017-01-02", "2017-01-08", "9999-12-31", "0001-01-01", "..", ",", " ", "-", "W01", "20170102"]
)
TEXTS = st.text() | st.lists(PIECES | st.text(max_size=3) | st.dates().map(str), max_size=6).map("".join)


@given(TEXTS, st.sampled_from(sorted(CONTRACTS)))
@example("2017-01-02..", "week")
@example("\ud800", "day")
def test_a_text_gives_dates_or_a_refusal(text: str, period: str) -> None:
    try:
        found = parse_partitions(CONTRACTS[period], text)
    except ConfigurationError:
        return
    assert found
    assert list(found) == sorted(set(found))
    days = [dt.date.fromisoformat(part) for part in found]
    assert [day.isoformat() for day in days] == list(found)
    assert period != "week" or all(day.weekday() == 0 for day in days)


@given(st.dates(min_value=dt.date(1990, 1, 1), max_value=dt.date(2080, 1, 1)), st.integers(0, 2000))
def test_a_range_holds_every_start_between_its_ends(first: dt.date, days: int) -> None:
    last = first + dt.timedelta(days=days)
    expected = [first + dt.timedelta(days=n) for n in range(days + 1)]
    assert parse_partitions(CONTRACTS["day"], f"{first}..{last}") == tuple(map(str, expected))
    mondays = tuple(str(day) for day in expected if day.weekday() == 0)
    if mondays:
        assert parse_partitions(CONTRACTS["week"], f"{first}..{last}") == mondays
