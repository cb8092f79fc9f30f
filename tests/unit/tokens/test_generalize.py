"""Labels, borders, types and refusals of the generalizations."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.tokens.generalize import age_band, age_valid, clamp, floor_time, numeric_bins, prefix, recode

ON = date(2017, 12, 31)


def test_bins_and_their_borders() -> None:
    values = pa.array([-1, 9, 10, 19, 20, 21, None, 2**62])
    labels = ["under 10", "under 10", "10-19", "10-19", "20", "21+", None, "21+"]
    assert numeric_bins(values, [10, 20, 21]).to_pylist() == labels
    assert numeric_bins(values, [10, 20, 21]).type == pa.string()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([9.99, 19.99, 20.0, float("nan"), float("inf"), float("-inf"), None]), "a b c - c a -"),
        (pa.array([float("nan"), 10.0]), "- b"),
        (pa.array([Decimal("9.99"), Decimal("19.99"), Decimal("20.00"), None]), "a b c -"),
        (pa.array([0, 2**64 - 1, 10], pa.uint64()), "a c b"),
        (pa.array([127, -128, 10], pa.int8()), "c a b"),
        (pa.array([5, 15, None, 5]).dictionary_encode(), "a b - a"),
        (pa.array([], pa.float32()), ""),
        (pa.nulls(2, pa.int64()), "- -"),
        (pa.chunked_array([[5], [], [25, None]], pa.int64()), "a c -"),
    ],
)
def test_bins_of_every_number_type(values: Any, expected: str) -> None:
    names = {"a": "under 10", "b": "10-19", "c": "20+", "-": None}
    assert numeric_bins(values, [10, 20]).to_pylist() == [names[letter] for letter in expected.split()]


@pytest.mark.parametrize("edges", [[], [1, 1], [2, 1], [1.5, 2], [2**53 + 1], [True, 2]])
def test_edges_that_make_no_bins(edges: list[int]) -> None:
    with pytest.raises(ContractError):
        numeric_bins(pa.array([1]), edges)
    with pytest.raises(ContractError):
        age_band(pa.array([ON]), ON, edges)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("hour", datetime(2017, 3, 1, 13)),
        ("day", datetime(2017, 3, 1)),
        ("week", datetime(2017, 2, 27)),
        ("month", datetime(2017, 3, 1)),
        ("quarter", datetime(2017, 1, 1)),
        ("year", datetime(2017, 1, 1)),
    ],
)
def test_times_move_back_to_the_start_of_their_unit(unit: str, expected: datetime) -> None:
    for kind in ("s", "ms", "us", "ns"):
        values = pa.array([None, datetime(2017, 3, 1, 13, 59, 59), expected], pa.timestamp(kind))
        floored = floor_time(values, unit)
        assert floored.type == values.type
        assert floored.cast(pa.timestamp("us")).to_pylist() == [None, expected, expected]
    before_1970 = floor_time(pa.array([datetime(1969, 12, 31, 23, 59)]), unit)[0].as_py()
    assert before_1970 <= datetime(1969, 12, 31, 23)


def test_dates_and_weeks_that_begin_on_monday() -> None:
    sunday = pa.array([date(2017, 1, 1), None])
    assert floor_time(sunday, "week").to_pylist() == [date(2016, 12, 26), None]
    assert floor_time(sunday, "month").to_pylist() == [date(2017, 1, 1), None]
    assert floor_time(sunday, "hour").equals(sunday)
    ends = pa.array([date(2016, 6, 30), date(2016, 7, 1), date(1969, 12, 31), date(1901, 11, 30)])
    starts = [date(2016, 4, 1), date(2016, 7, 1), date(1969, 10, 1), date(1901, 10, 1)]
    assert floor_time(ends, "quarter").to_pylist() == starts
    assert floor_time(ends, "year").to_pylist() == [date(year, 1, 1) for year in (2016, 2016, 1969, 1901)]


def test_local_clocks_keep_both_hours_of_the_night_that_has_one_twice() -> None:
    zone = ZoneInfo("Europe/Berlin")
    times = [datetime(2016, 10, 30, hour, 30, tzinfo=UTC).astimezone(zone) for hour in (0, 1)]
    values = pa.array(times, pa.timestamp("us", "Europe/Berlin"))
    hours = floor_time(values, "hour").to_pylist()
    assert [time.astimezone(UTC).hour for time in hours] == [0, 1]
    midnight = datetime(2016, 10, 29, 22, tzinfo=UTC)
    assert [time.astimezone(UTC) for time in floor_time(values, "day").to_pylist()] == [midnight] * 2
    kolkata = pa.array([datetime(2017, 1, 1, 0, 10, tzinfo=UTC)], pa.timestamp("us", "Asia/Kolkata"))
    assert floor_time(kolkata, "hour")[0].as_py().strftime("%H:%M") == "05:00"


def test_a_local_midnight_that_does_not_exist_is_refused_without_the_time() -> None:
    noon = datetime(2017, 10, 15, 15, 17, tzinfo=UTC)  # clocks went from 0:00 to 1:00 that night
    with pytest.raises(TreatmentError) as caught:
        floor_time(pa.array([noon], pa.timestamp("us", "America/Sao_Paulo")), "day")
    assert "2017" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_time_that_only_an_unused_dictionary_entry_holds_is_no_fault() -> None:
    zone = pa.timestamp("us", "America/Sao_Paulo")
    times = pa.array([datetime(2017, 10, 15, 15, tzinfo=UTC), datetime(2017, 10, 14, 15, tzinfo=UTC)], zone)
    unused = pa.DictionaryArray.from_arrays(pa.array([1, 1, None]), times)
    assert floor_time(unused, "day").equals(floor_time(unused.dictionary_decode(), "day"))


def test_units_and_types_of_time() -> None:
    with pytest.raises(ContractError):
        floor_time(pa.array([ON]), "minute")
    with pytest.raises(TreatmentError):
        floor_time(pa.array(["2017-01-01"]), "day")


@pytest.mark.parametrize(
    ("born", "on", "band"),
    [
        (date(1983, 1, 1), date(2017, 12, 31), "under 35"),
        (date(1982, 12, 31), date(2017, 12, 31), "35-54"),
        (date(1983, 1, 1), date(2018, 1, 1), "35-54"),
        (date(1962, 12, 31), date(2017, 12, 31), "55+"),
        (date(1963, 1, 1), date(2017, 12, 31), "35-54"),
        (date(1900, 1, 1), date(2017, 12, 31), "55+"),
        (date(1980, 2, 29), date(2015, 2, 28), "under 35"),
        (date(1980, 2, 29), date(2015, 3, 1), "35-54"),
        (date(2017, 12, 31), date(2017, 12, 31), "under 35"),
    ],
)
def test_age_bands_turn_on_the_birthday(born: date, on: date, band: str) -> None:
    assert age_band(pa.array([born, None]), on, [35, 55]).to_pylist() == [band, None]


def test_birth_dates_after_the_day_are_refused_or_masked() -> None:
    values = pa.array([date(2018, 1, 1), None, date(1980, 1, 1)])
    assert age_valid(values, ON).to_pylist() == [False, True, True]
    with pytest.raises(TreatmentError) as caught:
        age_band(values, ON, [35, 55], column="birth_date")
    assert "1 of 3 later" in caught.value.found
    assert "2018" not in str(caught.value)
    assert age_band(values.filter(age_valid(values, ON)), ON, [35]).to_pylist() == [None, "35+"]


def test_age_bands_of_other_types_and_edges() -> None:
    assert age_band(pa.array([], pa.date32()), ON, [35]).to_pylist() == []
    assert age_band(pa.chunked_array([[date(1980, 1, 1)]]), ON, [35]).to_pylist() == ["35+"]
    with pytest.raises(ContractError):
        age_band(pa.array([ON]), ON, [0, 5])
    for call in (lambda v: age_band(v, ON, [35]), lambda v: age_valid(v, ON)):
        with pytest.raises(TreatmentError):
            call(pa.array(["1980-01-01"]))


def test_prefix_counts_characters() -> None:
    values = pa.array(["80331", "ÄB", "", None, "9"])
    assert prefix(values, 1).to_pylist() == ["8", "Ä", "", None, "9"]
    assert prefix(values.dictionary_encode(), 2).to_pylist() == ["80", "ÄB", "", None, "9"]
    assert prefix(values.cast(pa.string_view()), 3).to_pylist() == ["803", "ÄB", "", None, "9"]
    with pytest.raises(ContractError):
        prefix(values, 0)
    with pytest.raises(TreatmentError):
        prefix(pa.array([80331]), 1)


def test_the_rest_of_a_prefix_can_be_filled() -> None:
    values = pa.array(["80331", "ÄBÖ", "", None, "9"])
    for column in (values, values.cast(pa.large_string()), values.cast(pa.string_view()), values.dictionary_encode()):
        assert prefix(column, 2, "*").to_pylist() == ["80***", "ÄB*", "", None, "9"]
    assert prefix(values, 1, "•").to_pylist() == ["8••••", "Ä••", "", None, "9"]
    assert prefix(values.slice(1), 2, "*").type == pa.string()
    for fill in ("", "**"):
        with pytest.raises(ContractError):
            prefix(values, 2, fill)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64(), pa.float64()])
def test_top_and_bottom_coding_of_numbers(kind: pa.DataType) -> None:
    values = pa.array([0, 10, 11, 20, 21, 127, None], kind)
    assert clamp(values, 10, 20).to_pylist() == [10, 10, 11, 20, 20, 20, None]
    assert clamp(values, bottom=11).to_pylist() == [11, 11, 11, 20, 21, 127, None]
    assert clamp(values, top=11).to_pylist() == [0, 10, 11, 11, 11, 11, None]
    assert clamp(values, 15, 15).type == kind
    assert clamp(values, -(2**53), 2**53).equals(values)


def test_coding_of_numbers_at_the_ends_of_their_type() -> None:
    assert clamp(pa.array([2**64 - 1, 0], pa.uint64()), -5, 2**63).to_pylist() == [2**63, 0]
    assert clamp(pa.array([-128, 127], pa.int8()), 300).to_pylist() == [127, 127]
    floats = pa.array([float("nan"), float("inf"), float("-inf"), -0.5, None])
    assert clamp(floats, -1, 99.5).to_pylist() == [None, 99.5, -1.0, -0.5, None]


def test_top_and_bottom_coding_of_dates_and_times() -> None:
    days = pa.array([date(1899, 5, 1), date(1980, 1, 1), None, date(2030, 1, 1)])
    assert clamp(days, date(1930, 1, 1), ON).to_pylist() == [date(1930, 1, 1), date(1980, 1, 1), None, ON]
    for unit in ("s", "ms", "us", "ns"):
        times = pa.array([datetime(2016, 1, 1), datetime(2018, 1, 1, 1), None], pa.timestamp(unit))
        coded = clamp(times, top=datetime(2017, 1, 1, 12))
        assert coded.type == times.type
        assert coded.cast(pa.timestamp("us")).to_pylist() == [datetime(2016, 1, 1), datetime(2017, 1, 1, 12), None]
        assert clamp(times, top=date(2017, 1, 1)).cast(pa.timestamp("us"))[1].as_py() == datetime(2017, 1, 1)
    local = pa.array([datetime(2016, 1, 1, tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin"))
    assert clamp(local, datetime(2017, 1, 1))[0].as_py().astimezone(UTC) == datetime(2017, 1, 1, tzinfo=UTC)


def test_layouts_of_coded_columns() -> None:
    values = pa.array([1, 5, None, 9])
    assert clamp(values.slice(1), 2, 6).to_pylist() == [5, None, 6]
    assert clamp(values.dictionary_encode(), 2, 6).to_pylist() == [2, 5, None, 6]
    chunked = clamp(pa.chunked_array([values[:1], values[:0], values[1:]]), 2, 6)
    assert chunked.num_chunks == 3
    assert chunked.to_pylist() == [2, 5, None, 6]
    for kind in (pa.int64(), pa.float64()):
        assert clamp(pa.array([], kind), 2).type == kind
        assert clamp(pa.nulls(2, kind), 2).to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("values", "bottom", "top"),
    [
        (pa.array([1]), None, None),
        (pa.array([1]), 2, 1),
        (pa.array([1]), 1.5, None),
        (pa.array([1]), True, None),
        (pa.array([1]), "1", None),
        (pa.array([1.0]), float("nan"), None),
        (pa.array([1.0]), ON, None),
        (pa.array([ON]), 1, None),
        (pa.array([ON]), datetime(2017, 1, 1), None),
        (pa.array([datetime(2017, 1, 1)]), 5, None),
        (pa.array([1], pa.timestamp("ns")), None, date(9999, 1, 1)),
    ],
)
def test_ends_that_code_nothing(values: pa.Array, bottom: Any, top: Any) -> None:
    with pytest.raises(ContractError):
        clamp(values, bottom, top)


@pytest.mark.parametrize("kind", [pa.string(), pa.bool_(), pa.float32(), pa.time32("s")])
def test_types_that_are_not_coded(kind: pa.DataType) -> None:
    with pytest.raises(TreatmentError, match="column price"):
        clamp(pa.nulls(1, kind), 1, column="price")


def test_recode_into_groups() -> None:
    groups = {"low": ["Under 15K", "15-24K"], "high": ["250K+"]}
    values = pa.array(["15-24K", "250K+", None, "unheard of", "Under 15K"])
    assert recode(values, groups, "other").to_pylist() == ["low", "high", None, "other", "low"]
    assert recode(values, groups, None).to_pylist() == ["low", "high", None, None, "low"]
    assert recode(values.dictionary_encode(), groups, "other").to_pylist() == ["low", "high", None, "other", "low"]
    assert recode(values.slice(2, 2), groups, "other").to_pylist() == [None, "other"]
    assert recode(values.cast(pa.large_string())[:0], groups, None).type == pa.string()
    assert recode(pa.array([1, 5, None], pa.int8()), {"1-2": ["1", "2"]}, "3+").to_pylist() == ["1-2", "3+", None]


@pytest.mark.parametrize("groups", [{}, {"a": []}, {"a": ["x"], "b": ["x"]}, {"a": ["x", "x"]}])
def test_groups_that_make_no_hierarchy(groups: dict[str, list[str]]) -> None:
    with pytest.raises(ContractError):
        recode(pa.array(["x"]), groups, None)


def test_recode_refuses_other_types() -> None:
    with pytest.raises(TreatmentError):
        recode(pa.array([1.5]), {"a": ["1.5"]}, None)
