"""The suites in expectations/: each passes on a good table of the contract's columns and fails on a planted fault."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from cloakhouse.quality.results import SuiteResult
from cloakhouse.quality.runner import run_suite
from cloakhouse.quality.suites import load_suite
from cloakhouse.sample import luhn_check_digit

FOLDER = Path(__file__).parents[3] / "expectations"
ROWS = 300


def repeat(*values: object) -> list[object]:
    return [values[at % len(values)] for at in range(ROWS)]


def tokens() -> pa.Array:
    return pa.array([at.to_bytes(16, "big") for at in range(ROWS)], pa.binary(16))


def cards() -> list[str]:
    """Return card tokens: of the form of cards, and their check digit never fits."""
    numbers = [f"411111{at:09d}" for at in range(ROWS)]
    return [number + str((int(luhn_check_digit(number)) + 5) % 10) for number in numbers]


def matches() -> dict[str, list[bool]]:
    return {"matches_training": [False] * ROWS, "matches_holdout": [False] * ROWS}


def transactions() -> pa.Table:
    moment = datetime.datetime(2017, 1, 2, 13)
    return pa.table(
        {
            "household_id": tokens(),
            "basket_id": tokens(),
            "store_id": repeat(330, 372),
            "product_id": repeat(919534, 1029967),
            "quantity": repeat(1, 2, 89638),
            "sales_value": repeat(1.29, 840.0, 0.0, 2.0, 1.0, 3.5, 2.2, 1.1, 4.0, 0.5, *[1.0] * 190),
            "retail_disc": repeat(0.0, 130.02),
            "coupon_disc": repeat(0.0, 55.93),
            "coupon_match_disc": repeat(0.0, 7.7),
            "transaction_timestamp": pa.array([moment] * ROWS, pa.timestamp("us")),
            "card_number": cards(),
        }
    )


def products() -> pa.Table:
    return pa.table(
        {
            "product_id": range(ROWS),
            "manufacturer_id": repeat(2, 69),
            "department": repeat("GROCERY", "CNTRL/STORE SUP"),
            "brand": repeat("National", "Private"),
            "product_category": [None, *repeat("FROZEN PIZZA")[1:]],
            "product_type": [None, *repeat("PIZZA/TRADITIONAL")[1:]],
            "package_size": repeat("12 OZ", None, "2 LT 2.11 QT"),
        }
    )


def customers() -> pa.Table:
    return pa.table(
        {
            "household_id": tokens(),
            "email": [f"{'A' * 60}{at:032b}".replace("0", "B").replace("1", "C") for at in range(ROWS)],
            "loyalty_card": [f"{at:012d}" for at in range(ROWS)],
            "card_number": cards(),
            "birth_date": repeat("under 35", "35-54", "55+"),
            "age": repeat("under 45", "45+"),
            "income": repeat("under 50K", None),
            "home_ownership": repeat("owner", None),
            "marital_status": repeat("Married", "Unmarried"),
            "household_size": repeat("1", "2", "3+"),
            "kids_count": repeat("none", "some"),
        }
    )


def baskets_synthetic() -> pa.Table:
    return pa.table(
        {
            "store_id": repeat(330, 372),
            "month": repeat(1, 12),
            "weekday": repeat(0, 6),
            "hour": repeat(0, 23),
            "lines": repeat(1, 100),
            "units": repeat(0, 200),
            "value": repeat(0.0, 500.0),
            "discount": repeat(0.0, 148.66),
            "coupon": repeat(0.0, 50.0),
            "has_produce": repeat(True, False),
            "has_meat": repeat(False, True),
            **matches(),
        }
    )


def households_synthetic() -> pa.Table:
    return pa.table(
        {
            "age": repeat("under 45", "45+", None),
            "income": repeat("under 50K", None),
            "home_ownership": repeat("owner", None),
            "marital_status": repeat("Married", None),
            "household_size": repeat("1", "2"),
            "kids_count": repeat("none", "some"),
            "baskets": repeat(1, 500),
            "value": repeat(2.0, 20000.0),
            **matches(),
        }
    )


GOOD: dict[str, Callable[[], pa.Table]] = {
    make.__name__: make for make in (transactions, products, customers, baskets_synthetic, households_synthetic)
}


def check(dataset: str, table: pa.Table) -> SuiteResult:
    return run_suite(load_suite(FOLDER, dataset, "1.0.0").body, [table])


def replaced(table: pa.Table, column: str, first: object) -> pa.Table:
    at = table.schema.get_field_index(column)
    faulty = table.num_rows // 20 if column == "matches_training" else 1  # one copy is chance, one in twenty isn't
    values = pa.array([first] * faulty + table[column].to_pylist()[faulty:], table.schema.field(at).type)
    return table.set_column(at, column, values)


@pytest.mark.parametrize("dataset", GOOD)
def test_a_good_table_passes_every_expectation(dataset: str) -> None:
    assert check(dataset, GOOD[dataset]()).failed == ()


@pytest.mark.parametrize("dataset", GOOD)
def test_empty_or_undeclared_columns_fail(dataset: str) -> None:
    table = GOOD[dataset]()
    assert "expect_table_row_count_to_be_between" in {r.type for r in check(dataset, table.slice(0, 0)).failed}
    noted = table.append_column("marketing_note", pa.array(repeat("called +49 151 23456789")))
    failed = {r.type for r in check(dataset, noted).failed}
    assert failed == {"expect_table_columns_to_match_set", "expect_table_to_hold_no_direct_identifier"}


@pytest.mark.parametrize(
    ("dataset", "column", "planted", "kind"),
    [
        ("transactions", "household_id", None, "expect_column_values_to_not_be_null"),
        ("transactions", "quantity", -1, "expect_column_values_to_be_between"),
        ("transactions", "card_number", "4111-1111", "expect_column_values_to_match_regex"),
        ("products", "product_id", 7, "expect_column_values_to_be_unique"),
        ("products", "package_size", "a@b.co", "expect_table_to_hold_no_direct_identifier"),
        ("customers", "loyalty_card", "10115", "expect_column_values_to_match_regex"),
        ("customers", "card_number", "4111111111111111", "expect_table_to_hold_no_direct_identifier"),
        ("transactions", "card_number", "4111111111111111", "expect_table_to_hold_no_direct_identifier"),
        ("customers", "email", "ann@example.org", "expect_table_to_hold_no_direct_identifier"),
        ("customers", "birth_date", "1971-03-04", "expect_column_values_to_be_in_set"),
        ("customers", "household_size", "alone", "expect_table_k_anonymity_to_be_at_least"),
        ("customers", "household_id", None, "expect_column_values_to_not_be_null"),
        ("baskets_synthetic", "hour", 24, "expect_column_values_to_be_between"),
        ("baskets_synthetic", "matches_training", True, "expect_copy_excess_to_be_at_most"),
        ("households_synthetic", "value", -0.01, "expect_column_values_to_be_between"),
        ("households_synthetic", "matches_training", True, "expect_copy_excess_to_be_at_most"),
    ],
)
def test_a_planted_fault_fails_its_expectation(dataset: str, column: str, planted: object, kind: str) -> None:
    failed = check(dataset, replaced(GOOD[dataset](), column, planted)).failed
    assert kind in {result.type for result in failed}


def test_each_suite_has_a_name_and_a_table_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} >= {f"{name}-1.0.0" for name in GOOD}
