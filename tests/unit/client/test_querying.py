"""What the options of `cloakhouse query` ask for. The answers are tested with the stage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.contracts import SHIPPED, keeping

from cloakhouse.client import asking
from cloakhouse.client.cli import cli
from cloakhouse.contracts.model import Breakdown, Contract, Lookup, Privacy, Query
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.settings import Settings

CONTRACTS = keeping(load_contracts(SHIPPED), "customers", "consent_sharing")  # a truth value
SALES = ("--from", "transactions", "--sum", "sales_value")
BASKETS = ("--from", "transactions", "--count-distinct", "basket_id")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Query]:
    """Return where the queries arrive; nothing is installed."""
    found: list[Query] = []

    def estimate(query: Query) -> dict[str, Any]:
        found.append(query)
        return {"cells": 4, "expected_relative_error": None, "refused": None, "accounts": []}

    def contracts(_: Path) -> dict[str, Contract]:
        return CONTRACTS

    monkeypatch.setattr(asking, "estimate", estimate)
    monkeypatch.setattr(asking, "load_contracts", contracts)
    monkeypatch.setattr(asking, "installed", Settings.from_environment)
    return found


def query(*options: str) -> Result:
    return CliRunner().invoke(cli, ["query", "--dry-run", "--epsilon", "1", *options])


def test_a_plain_sum(asked: list[Query]) -> None:
    result = query(*SALES)
    assert result.exit_code == 0, result.output
    assert "not known without data" in result.output
    privacy = Privacy(1.0, 1e-6, "default")
    assert asked == [Query("transactions", "household_id", "sum", "sales_value", (), privacy)]


def test_every_option_has_its_place(asked: list[Query]) -> None:
    options = "--by week --by department --delta 1e-7 --consumer analytics --clip 5 --expected 9 --max-relative-error 2"
    span = ("--since", "2017-01-02", "--until", "2017-02-01", "--unit", "household_id")
    result = query(*SALES, *options.split(), *span)
    assert result.exit_code == 0, result.output
    [found] = asked
    assert found.by == (Breakdown("week", "week", "partition"), Breakdown("department", "value", "department"))
    assert found.lookups == (Lookup("products", "product_id", ("department",)),)
    assert found.privacy == Privacy(1.0, 1e-7, "analytics")
    assert (found.clip, found.expected, found.max_relative_error) == (5.0, 9.0, 2.0)
    assert (found.since, found.until) == (dt.date(2017, 1, 2), dt.date(2017, 2, 1))


@pytest.mark.parametrize(
    ("options", "by", "since"),
    [
        (("--by", "week"), Breakdown("week", "week", "partition"), dt.date(2016, 12, 26)),
        (
            ("--by", "month:transaction_timestamp"),
            Breakdown("month", "month", "transaction_timestamp"),
            dt.date(2016, 12, 26),
        ),
        (("--by", "store_id", "--values", "store_id=3,1"), Breakdown("store_id", "value", "store_id", (3, 1)), None),
        (("--by", "value:store_id", "--values", "store_id=3"), Breakdown("store_id", "value", "store_id", (3,)), None),
        (("--by", "size:basket_id", "--bins", "1, 5"), Breakdown("size", "size", "basket_id", None, (1, 5)), None),
        (
            ("--by", "pairs:brand", "--values", 'brand="A,B",C'),
            Breakdown("brand", "pairs", "brand", ("A,B", "C")),
            None,
        ),
        (("--by", "age"), Breakdown("age", "value", "age"), None),
    ],
)
def test_breakdowns(asked: list[Query], options: Sequence[str], by: Breakdown, since: dt.date | None) -> None:
    result = query(*BASKETS, *options)
    assert result.exit_code == 0, result.output
    assert asked[0].by == (by,)
    assert asked[0].since == since


def test_rows_of_customers_are_looked_up_by_the_unit(asked: list[Query]) -> None:
    assert query(*SALES, "--by", "consent_sharing", "--values", "consent_sharing=true,false").exit_code == 0
    assert asked[0].lookups == (Lookup("customers", "household_id", ("consent_sharing",)),)
    assert asked[0].by[0].values == (True, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from", "transactions"), "give one of --sum, --count and --count-distinct"),
        ((*SALES, "--count"), "give one of --sum, --count and --count-distinct"),
        ((*SALES, "--values", "store_id"), "--values is COLUMN=A,B"),
        ((*SALES, "--values", "store_id=1", "--values", "store_id=2"), "once for a column"),
        ((*SALES, "--by", "store_id", "--values", "store_id="), "0 values"),
        ((*SALES, "--by", "store_id", "--values", "store_id=1,x"), "distinct values of type integer"),
        ((*SALES, "--by", "store_id", "--values", "store_id=1,1"), "one of them twice"),
        ((*SALES, "--by", "consent_sharing", "--values", "consent_sharing=perhaps"), "distinct values of type boolean"),
        ((*SALES, "--by", "week", "--values", "store_id=1"), "what some --by needs"),
        ((*SALES, "--by", "week", "--bins", "1,2"), "what some --by needs"),
        ((*BASKETS, "--by", "size:basket_id", "--bins", "1,-2"), "a list of whole numbers"),
        ((*SALES, "--by", "hour:transaction_timestamp"), "KIND:COLUMN"),
        ((*SALES, "--by", "colour"), "0 such datasets"),
        ((*SALES, "--since", "soon"), "YYYY-MM-DD"),
        ((*SALES, "--clip", "nan"), "a finite number above 0"),
        ((*SALES, "--expected", "0"), "a finite number above 0"),
        ((*SALES, "--max-relative-error", "inf"), "a finite number above 0"),
        (("--from", "products", "--count"), "no such column"),
        (("--from", "weekly_sales", "--count"), "no feed of that name"),
        ((*SALES, "--output", "csv"), "as a table or as json"),
    ],
)
def test_options_that_say_nothing_sound_are_refused(asked: list[Query], options: Sequence[str], said: str) -> None:
    result = query(*options)
    assert result.exit_code == 2, result.output
    assert said in result.output
