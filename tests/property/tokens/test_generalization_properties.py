"""Masks and generalizations against plain Python over drawn columns."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.tokens.generalize import age_band, age_valid, clamp, floor_time, numeric_bins, prefix, recode, recode_by
from cloakhouse.tokens.mask import mask

TEXT = st.lists(st.none() | st.text(max_size=12), max_size=20)
EDGES = st.lists(st.integers(-50, 50), min_size=1, max_size=6, unique=True).map(sorted)
KEPT = st.integers(0, 6)


@given(TEXT, KEPT, KEPT)
@settings(deadline=None)
def test_a_mask_shows_the_kept_ends_or_nothing(values: list[str | None], head: int, tail: int) -> None:
    expected = [
        None
        if value is None
        else "#" * len(value)
        if len(value) <= head + tail
        else value[:head] + "#" * (len(value) - head - tail) + value[len(value) - tail :]
        for value in values
    ]
    assert mask(pa.array(values, pa.string()), head, tail, "#").to_pylist() == expected


@given(TEXT, st.integers(1, 5), st.integers(0, 3))
@settings(deadline=None)
def test_prefix(values: list[str | None], length: int, start: int) -> None:
    column = pa.array(values, pa.large_string()).slice(start)
    assert prefix(column, length).to_pylist() == [None if v is None else v[:length] for v in values[start:]]
    filled = [None if v is None else v[:length] + "#" * (len(v) - length) for v in values[start:]]
    assert prefix(column, length, "#").to_pylist() == filled


@given(st.lists(st.none() | st.integers(-80, 80) | st.floats(-80, 80), max_size=20), EDGES)
@settings(deadline=None)
def test_every_number_is_in_the_bin_that_its_label_says(values: list[float | None], edges: list[int]) -> None:
    labels = numeric_bins(pa.array(values, pa.float64()), edges).to_pylist()
    for value, label in zip(values, labels, strict=True):
        if value is None:
            assert label is None
        elif value < edges[0]:
            assert label == f"under {edges[0]}"
        elif value >= edges[-1]:
            assert label == f"{edges[-1]}+"
        else:
            low = max(edge for edge in edges if edge <= value)
            high = min(edge for edge in edges if edge > value)
            assert label == (str(low) if high == low + 1 else f"{low}-{high - 1}")


@given(
    st.lists(st.none() | st.dates(date(1880, 1, 1), date(2060, 1, 1)), max_size=20),
    st.dates(date(1990, 1, 1), date(2040, 1, 1)),
)
@settings(deadline=None)
def test_ages_are_completed_years(births: list[date | None], on: date) -> None:
    values = pa.array(births, pa.date32())
    accepted = [birth is None or birth <= on for birth in births]
    assert age_valid(values, on).to_pylist() == accepted
    kept = [birth for birth, ok in zip(births, accepted, strict=True) if ok]
    expected = []
    for birth in kept:
        if birth is None:
            expected.append(None)
            continue
        age = on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day))
        expected.append("under 18" if age < 18 else "18-64" if age < 65 else "65+")
    assert age_band(values.filter(pa.array(accepted, pa.bool_())), on, [18, 65]).to_pylist() == expected


@given(
    st.lists(st.none() | st.datetimes(datetime(1901, 1, 1), datetime(2100, 1, 1)), max_size=10),
    st.sampled_from(["hour", "day", "week", "month", "quarter", "year"]),
)
@settings(deadline=None)
def test_floored_times(times: list[datetime | None], unit: str) -> None:
    expected = []
    for time in times:
        if time is not None:
            time = time.replace(minute=0, second=0, microsecond=0)
            time = time if unit == "hour" else time.replace(hour=0)
            if unit == "week":
                time -= timedelta(days=time.weekday())
            elif unit != "hour" and unit != "day":
                month = {"month": time.month, "quarter": (time.month - 1) // 3 * 3 + 1, "year": 1}[unit]
                time = time.replace(month=month, day=1)
        expected.append(time)
    assert floor_time(pa.array(times, pa.timestamp("us")), unit).to_pylist() == expected


@given(
    st.lists(st.none() | st.sampled_from("abcdefg"), max_size=20),
    st.dictionaries(st.sampled_from("abcde"), st.sampled_from(["one", "two", "three"]), min_size=1),
    st.none() | st.just("other"),
)
@settings(deadline=None)
def test_recode(values: list[str | None], label_of: dict[str, str], other: str | None) -> None:
    groups = {label: [m for m in label_of if label_of[m] == label] for label in set(label_of.values())}
    expected = [None if value is None else label_of.get(value, other) for value in values]
    column = pa.array(values, pa.string())
    assert recode(column, groups, other).to_pylist() == expected
    assert recode(column.dictionary_encode(), groups, other).to_pylist() == expected
    assert recode_by(column, label_of, other).to_pylist() == expected


@given(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9), max_size=20),
    st.none() | st.integers(-(2**70), 2**70) | st.integers(-9, 9),
    st.none() | st.integers(-(2**70), 2**70) | st.integers(-9, 9),
)
@settings(deadline=None)
def test_coded_ends(values: list[int | None], bottom: int | None, top: int | None) -> None:
    least, last = -(2**63), 2**63 - 1
    low = least if bottom is None else max(least, min(bottom, last))
    high = last if top is None else max(least, min(top, last))
    if (bottom is None and top is None) or low > high:
        return
    expected = [None if value is None else max(low, min(value, high)) for value in values]
    assert clamp(pa.array(values, pa.int64()), bottom, top).to_pylist() == expected
