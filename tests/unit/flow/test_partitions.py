"""Which partitions a run is about."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.contracts import feed_contract

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import ConfigurationError
from cloakhouse.flow.partitions import Choice, choose, parse_partitions

MONDAYS = ("2017-01-02", "2017-01-09", "2017-01-16", "2017-01-23", "2017-01-30")


@pytest.fixture(scope="module")
def weekly() -> Contract:
    return feed_contract(period="week")


@pytest.fixture(scope="module")
def daily() -> Contract:
    return feed_contract(period="day")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-01-02", MONDAYS[:1]),
        (" 2017-01-02 ", MONDAYS[:1]),
        ("2017-01-02..2017-01-30", MONDAYS),
        ("2017-01-01..2017-01-31", MONDAYS),
        ("2017-01-09,2017-01-02", MONDAYS[:2]),
        ("2017-01-02, 2017-01-02..2017-01-09", MONDAYS[:2]),
    ],
)
def test_dates_ranges_and_lists(weekly: Contract, text: str, expected: tuple[str, ...]) -> None:
    assert parse_partitions(weekly, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2017-01-03",  # a Tuesday
        "2017-13-01",
        "2017-02-30",
        "20170102",
        "2017-W01-1",
        "2017-01-30..2017-01-02",
        "2017-01-03..2017-01-08",  # no Monday in it
        "..2017-01-30",
        "2017-01-02..x",
        "2017-01-02,",
        ",",
        "0001-01-01..9999-12-31",
        "2017-01-02;2017-01-09",
        "ann@example.org",
    ],
)
def test_other_texts_are_refused_without_quoting_them(weekly: Contract, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_partitions(weekly, text)
    assert caught.value.code == "configuration.partitions"
    assert "ann@example.org" not in str(caught.value)
    assert "week" in caught.value.expected


def test_days_are_all_days(daily: Contract) -> None:
    assert parse_partitions(daily, "2017-01-03..2017-01-05") == ("2017-01-03", "2017-01-04", "2017-01-05")
    assert parse_partitions(daily, "9999-12-31") == ("9999-12-31",)
    assert len(parse_partitions(daily, "2000-01-01..2016-12-31")) == 6210


def run(kind: str, first: dt.date = dt.date(2017, 1, 2), end: dt.date = dt.date(2017, 1, 9)) -> Any:
    moment = lambda day: dt.datetime.combine(day, dt.time(), dt.UTC)  # noqa: E731
    return SimpleNamespace(run_type=kind, data_interval_start=moment(first), data_interval_end=moment(end))


def test_a_run_takes_all_that_wait(weekly: Contract) -> None:
    assert choose(weekly, {}, run("scheduled")) == Choice(None, False, False)
    assert choose(weekly, {"partitions": "  "}, run("manual")) == Choice(None, False, False)
    assert choose(weekly, {"supersede": True, "reprocess": True}, run("manual")) == Choice(None, True, True)


def test_a_person_names_partitions_in_any_kind_of_run(weekly: Contract) -> None:
    for kind in ("manual", "backfill"):
        chosen = choose(weekly, {"partitions": "2017-01-09"}, run(kind))
        assert chosen == Choice(("2017-01-09",), False, False)
    with pytest.raises(ConfigurationError):
        choose(weekly, {"partitions": "all"}, run("manual"))


@pytest.mark.parametrize("kind", ["backfill", "DagRunType.BACKFILL"])
def test_a_backfill_takes_its_interval_again(weekly: Contract, daily: Contract, kind: str) -> None:
    assert choose(weekly, {}, run(kind)) == Choice(("2017-01-02",), False, True)
    days = choose(daily, {}, run(kind, dt.date(2017, 1, 2), dt.date(2017, 1, 4)))
    assert days.partitions == ("2017-01-02", "2017-01-03")


def test_the_run_type_of_airflow_is_recognised(weekly: Contract) -> None:
    from airflow.utils.types import DagRunType

    assert choose(weekly, {}, run(DagRunType.BACKFILL_JOB)).partitions == ("2017-01-02",)
    assert choose(weekly, {}, run(DagRunType.SCHEDULED)).partitions is None
