"""Contracts of aggregates: what a query may ask, and every refusal. `§` stands before the node pointed at."""

# ruff: noqa: E501  # one case a line, so that the table can be read across

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.contracts import SHIPPED, keeping

from cloakhouse.contracts.model import Breakdown, Kind, Lookup, Privacy, Query
from cloakhouse.contracts.parser import load_contracts, parse_contract
from cloakhouse.contracts.query import answer_columns
from cloakhouse.contracts.query_faults import derives_values, is_public, query_fault
from cloakhouse.errors import ContractError

CONTRACTS = keeping(load_contracts(SHIPPED), "customers", "consent_sharing")  # a truth value
SALES = (SHIPPED / "weekly_sales.odcs.yaml").read_text()
BY = SALES[SALES.index("        week: {week") : SALES.index("      privacy: {")]
SCHEMA = SALES[SALES.index("      - name: week\n") :]
FIGURES = SCHEMA[SCHEMA.index("      - name: value\n") :]
[MEAN] = [line for line in SALES.splitlines(keepends=True) if "expectedMean" in line]
PLAIN = "\n        customProperties:\n          - {property: class, value: plain}\n"


def sales(*, by: str, more: str, schema: str, **replaced: str) -> str:
    """Return the shipped contract with other breakdowns and their columns, and single keys replaced."""
    text = (
        SALES.replace(BY, by).replace("      clip: 500\n", f"      clip: 500\n{more}").replace(SCHEMA, schema + FIGURES)
    )
    for key, value in replaced.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"      {key}: ")]
        text = text.replace(line, f"      {key}: {value}")
    return text


def column(name: str, kind: str) -> str:
    return f"      - name: {name}\n        logicalType: {kind}{PLAIN}"


def test_the_shipped_aggregate_is_read() -> None:
    contract = CONTRACTS["weekly_sales"]
    query = contract.query
    assert contract.kind is Kind.AGGREGATE
    assert query is not None
    assert contract.sources == ("products", "transactions")
    assert (query.measure, query.column, query.clip, query.max_relative_error) == ("sum", "sales_value", 500.0, 0.5)
    assert (query.since, query.until, query.expected) == (dt.date(2017, 1, 2), None, None)
    assert query.lookups == (Lookup("products", "product_id", ("department",)),)
    assert query.privacy == Privacy(1.0, 1e-6, "analytics")
    assert [c.name for c in contract.columns] == answer_columns(query.by)
    assert contract.feed is contract.synthesis is contract.gate is contract.privacy_budget is None


def test_optional_parts_are_read() -> None:
    text = (
        sales(
            by="        day: {day: transaction_timestamp}\n        lines: {size: basket_id, bins: [1, 5]}\n",
            schema=column("day", "date") + column("lines", "string"),
            measure="{count distinct: basket_id}",
            calendar="{from: 2017-01-02, to: 2017-02-01}",
            more="      maxRelativeError: 2\n      expected: 1000\n",
        )
        .replace("      clip: 500\n", "")
        .replace(MEAN, "")
        .replace("      lookups:\n        products: {on: product_id, columns: [department]}\n", "")
    )
    query = parse_contract(text, "sales.yaml").query
    assert query is not None
    assert query.by == (
        Breakdown("day", "day", "transaction_timestamp"),
        Breakdown("lines", "size", "basket_id", None, (1, 5)),
    )
    assert (query.clip, query.max_relative_error, query.expected, query.lookups) == (None, 2.0, 1000.0, ())
    assert query.until == dt.date(2017, 2, 1)


def test_the_mean_cell_is_declared_instead_of_the_total() -> None:
    query = parse_contract(SALES, "sales.yaml").query
    assert query is not None
    assert (query.expected, query.expected_mean) == (None, 8500.0)


def test_a_query_without_breakdown_is_one_cell() -> None:
    text = SALES.replace("      by:\n" + BY, "").replace(SCHEMA, FIGURES)
    query = parse_contract(text, "sales.yaml").query
    assert query is not None
    assert query.by == ()


# fault: (text, replaced, by, expected, found)
CASES: dict[str, tuple[str, str, str, str, str]] = {
    "total_and_mean": (
        SALES,
        "      clip: 500\n",
        "      clip: 500\n      §expected: 85000\n",
        "the total or the mean cell",
        "both",
    ),
    "no_query": (
        SALES,
        SALES[SALES.index("  - property: query") : SALES.index("schema:")],
        "",
        "a property `query`",
        "none",
    ),
    "gate_in_an_aggregate": (
        SALES,
        "schema:\n",
        "  - §property: gate\n    value: {}\nschema:\n",
        "of a aggregate contract",
        "`gate`",
    ),
    "treatment_of_a_column": (
        SALES,
        "description: US dollars, with noise\n        customProperties:\n",
        "description: US dollars, with noise\n        customProperties:\n          - {property: treatment, value: keep}\n",
        "without treatment",
        "a treatment",
    ),
    "no_measure": (SALES, "measure: {sum: sales_value}", "measure: {§}", "one of sum, count, count distinct", "0 keys"),
    "two_measures": (SALES, "{sum: sales_value}", "{§sum: sales_value, count: rows}", "one of sum", "2 keys"),
    "count_of_a_column": (SALES, "{sum: sales_value}", "{count: §quantity}", "one of rows", "`quantity`"),
    "no_unit": (SALES, "      unit: household_id\n", "", "`unit`", "nothing"),
    "no_privacy": (
        SALES,
        "      privacy: {epsilon: 1, delta: 1.0e-6, consumer: analytics}\n",
        "",
        "`privacy`",
        "nothing",
    ),
    "epsilon_zero": (SALES, "epsilon: 1", "epsilon: §0", "above 0", "another value"),
    "epsilon_negative": (SALES, "epsilon: 1", "epsilon: §-1", "above 0", "another value"),
    "epsilon_no_number": (SALES, "epsilon: 1", "epsilon: §.nan", "above 0", "another value"),
    "epsilon_infinite": (SALES, "epsilon: 1", "epsilon: §.inf", "above 0", "another value"),
    "bound_of_rows": (
        SALES,
        "delta: 1.0e-6",
        "delta: 1.0e-6, maxRows: 5",
        "epsilon, delta and consumer",
        "a bound of rows",
    ),
    "clip_zero": (SALES, "clip: 500", "clip: §0", "above 0", "another value"),
    "misspelt_key": (SALES, "      clip: 500\n", "      clipp: §500\n", "one of", "`clipp`"),
    "calendar_without_start": (SALES, "{from: 2017-01-02}", "{to: 2017-01-02}", "YYYY-MM-DD", "NoneType"),
    "calendar_of_texts": (SALES, "{from: 2017-01-02}", "{from: §soon}", "YYYY-MM-DD", "str"),
    "calendar_backwards": (
        SALES,
        "{from: 2017-01-02}",
        "{from: 2017-01-02, to: §2017-01-01}",
        "not before `from`",
        "an earlier one",
    ),
    "calendar_with_another_key": (
        SALES,
        "{from: 2017-01-02}",
        "{from: 2017-01-02, until: §2017-02-01}",
        "one of",
        "`until`",
    ),
    "lookup_without_columns": (SALES, ", columns: [department]}", "}", "`columns`", "nothing"),
    "lookup_with_another_key": (
        SALES,
        ", columns: [department]}",
        ", columns: [department], left: §1}",
        "one of",
        "`left`",
    ),
    "unknown_breakdown": (SALES, "{week: partition}", "{§hour: partition}", "one of value, day, week, month", "0"),
    "breakdown_of_two_kinds": (SALES, "{week: partition}", "{week: partition, day: partition}", "one of", "2"),
    "breakdown_with_another_key": (SALES, "{week: partition}", "{week: partition, start: §1}", "one of", "`start`"),
    "values_of_a_week": (
        SALES,
        "{week: partition}",
        "{week: partition, values: §[1]}",
        "of a value or of pairs",
        "of a week",
    ),
    "values_twice": (SALES, "[GROCERY, DRUG GM,", "§[GROCERY, GROCERY,", "distinct values", "one of them twice"),
    "values_of_two_types": (SALES, "[GROCERY,", "§[7,", "of one type", "int, str"),
    "values_of_numbers": (
        SALES,
        SALES[SALES.index("[GROCERY") : SALES.index("      privacy")],
        "§[1.5]\n",
        "of one type",
        "float",
    ),
    "no_values": (
        SALES,
        SALES[SALES.index("[GROCERY") : SALES.index("      privacy")],
        "§[]\n",
        "1 to 100,000",
        "0 values",
    ),
    "values_no_list": (
        SALES,
        SALES[SALES.index("[GROCERY") : SALES.index("      privacy")],
        "§GROCERY\n",
        "1 to 100,000",
        "str",
    ),
    "bins_from_two": (SALES, "{week: partition}", "{size: basket_id, bins: §[2, 5]}", "bins begin: 1", "others"),
    "no_bins": (SALES, "{week: partition}", "{size: basket_id}", "bins begin: 1", "others"),
    "bins_falling": (SALES, "{week: partition}", "{size: basket_id, bins: §[1, 5, 5]}", "bins begin: 1", "others"),
    "name_twice": (SALES, "        week: {week", "        low: {week", "names that differ", "one twice"),
    "too_many": (
        SALES,
        "        week: {",
        "".join(f"        w{n}: {{week: partition}}\n" for n in range(8)) + "        week: {",
        "at most 8 breakdowns",
        "10",
    ),
    "columns_that_differ": (
        SALES,
        "- name: low\n",
        "- name: lowest\n",
        "week, department, value, low, high, standard_error",
        "6 others",
    ),
    "columns_of_another_class": (
        SALES,
        "with 95 %\n        customProperties:\n          - {property: class, value: plain}",
        "with 95 %\n        customProperties:\n          - {property: class, value: sensitive}",
        "each of class plain",
        "6 others",
    ),
    "name_of_the_platform": (SALES, "\nname: weekly_sales\n", "\nname: §queries\n", "another name", "`queries`"),
    **{
        f"name_of_the_platforms_{name}": (
            *(SALES, "\nname: weekly_sales\n", f"\nname: §{name}\n"),
            *("another name", f"`{name}`"),
        )
        for name in ("audit", "collections", "keys")
    },
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_refused_with_its_place(case: str) -> None:
    text, old, new, expected, found = CASES[case]
    assert text.count(old) == 1, text.count(old)
    faulty = text.replace(old, new)
    with pytest.raises(ContractError) as refused:
        parse_contract(faulty.replace("§", ""), "sales.yaml")
    assert expected in refused.value.expected
    assert found in refused.value.found
    if "§" in faulty:
        before = faulty[: faulty.index("§")]
        assert refused.value.where.startswith(f"sales.yaml:{before.count(chr(10)) + 1}:")


QUERY = Query("transactions", "household_id", "sum", "sales_value", (), Privacy(1.0, 1e-6, "x"))
BASKETS = replace(QUERY, measure="count distinct", column="basket_id")
PRODUCTS = (Lookup("products", "product_id", ("department",)),)
WEEK = Breakdown("week", "week", "partition")


def by(*breakdowns: Breakdown, of: Query = QUERY, **more: object) -> Query:
    return replace(of, by=breakdowns, **more)


SOUND: dict[str, Query] = {
    "total": QUERY,
    "rows": replace(QUERY, measure="count", column=None),
    "stores": by(Breakdown("store_id", "value", "store_id", (1, 2))),
    "weeks_of_deliveries": by(WEEK, since=dt.date(2017, 1, 2)),
    "months_of_a_column": by(Breakdown("m", "month", "transaction_timestamp"), since=dt.date(2017, 1, 2)),
    "departments_of_products": by(Breakdown("department", "value", "department"), lookups=PRODUCTS),
    "pairs": by(Breakdown("department", "pairs", "department"), of=BASKETS, lookups=PRODUCTS),
    "sizes": by(Breakdown("size", "size", "basket_id", None, (1, 2)), of=BASKETS),
    "segments": Query(
        "customers",
        "household_id",
        "count",
        None,
        (Breakdown("age", "value", "age"), Breakdown("c", "value", "consent_sharing")),
        QUERY.privacy,
    ),
    "band": Query("customers", "household_id", "count", None, (Breakdown("b", "value", "birth_date"),), QUERY.privacy),
    "sales_by_age": by(Breakdown("age", "value", "age"), lookups=(Lookup("customers", "household_id", ("age",)),)),
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_query_has_no_fault(case: str) -> None:
    assert query_fault(SOUND[case], CONTRACTS, "household") is None


UNSOUND: dict[str, tuple[Query, str, str]] = {
    "unknown_source": (replace(QUERY, source="nowhere"), "from", "no feed of that name"),
    "a_source_that_is_no_feed": (replace(QUERY, source="weekly_sales"), "from", "no feed of that name"),
    "a_source_without_persons": (replace(QUERY, source="products"), "from", "none"),
    "a_unit_that_is_no_identifier": (replace(QUERY, unit="store_id"), "unit", "another column"),
    "a_unit_whose_tokens_change": (replace(QUERY, unit="basket_id"), "unit", "another column"),
    "a_unit_that_is_not_there": (replace(QUERY, unit="nobody"), "unit", "another column"),
    "sum_of_a_text": (replace(QUERY, column="card_number"), "measure.sum", "protected as string"),
    "sum_of_tokens": (replace(QUERY, column="basket_id"), "measure.sum", "protected as token"),
    "sum_of_no_column": (replace(QUERY, column="nothing"), "measure.sum", "no `nothing`"),
    "sum_of_a_dropped_column": (replace(QUERY, column="week"), "measure.sum", "no `week`"),
    "no_such_breakdown": (by(Breakdown("x", "value", "x")), "by.x.value", "no `x`"),
    "values_from_the_data": (
        by(Breakdown("store_id", "value", "store_id")),
        "by.store_id.value",
        "known from the data alone",
    ),
    "values_of_another_type": (by(Breakdown("store_id", "value", "store_id", ("1",))), "by.store_id.values", "string"),
    "only_missing_values": (by(Breakdown("store_id", "value", "store_id", (None,))), "by.store_id.values", "none"),
    "by_tokens": (by(Breakdown("b", "value", "basket_id", ("x",))), "by.b.value", "protected as token"),
    "by_amounts": (by(Breakdown("v", "value", "sales_value", (1,))), "by.v.value", "protected as number"),
    "week_of_a_number": (
        by(Breakdown("w", "week", "store_id"), since=dt.date(2017, 1, 2)),
        "by.w.week",
        "protected as integer",
    ),
    "days_of_weekly_deliveries": (
        by(Breakdown("d", "day", "partition"), since=dt.date(2017, 1, 2)),
        "by.d.day",
        "another",
    ),
    "no_calendar": (by(WEEK), "calendar", "none"),
    "calendar_backwards": (
        by(WEEK, since=dt.date(2017, 1, 2), until=dt.date(2016, 1, 2)),
        "calendar",
        "an earlier one",
    ),
    "calendar_of_a_snapshot": (replace(SOUND["segments"], since=dt.date(2017, 1, 2)), "calendar", "snapshots"),
    "sizes_in_a_sum": (by(Breakdown("s", "size", "basket_id", None, (1,))), "measure", "sum"),
    "sizes_of_another_group": (
        by(Breakdown("s", "size", "store_id", None, (1,)), of=BASKETS),
        "by.s.size",
        "`store_id`",
    ),
    "sizes_without_bins": (by(Breakdown("s", "size", "basket_id"), of=BASKETS), "by.s.bins", "others"),
    "sizes_and_pairs": (
        by(
            Breakdown("s", "size", "basket_id", None, (1,)),
            Breakdown("d", "pairs", "department"),
            of=BASKETS,
            lookups=PRODUCTS,
        ),
        "by",
        "2 of them",
    ),
    "one_name_twice": (by(Breakdown("value", "value", "store_id", (1,))), "by", "one name twice"),
    "lookup_of_nothing": (
        replace(QUERY, lookups=(Lookup("nowhere", "product_id", ("a",)),)),
        "lookups.nowhere",
        "no feed",
    ),
    "lookup_by_nothing": (
        replace(QUERY, lookups=(Lookup("products", "store_id", ("department",)),)),
        "lookups.products.on",
        "none",
    ),
    "lookup_of_no_column": (
        replace(QUERY, lookups=(Lookup("products", "product_id", ("colour",)),)),
        "lookups.products.columns",
        "no such column",
    ),
    "lookup_of_a_column_twice": (
        replace(QUERY, lookups=(Lookup("products", "product_id", ("store_id",)),)),
        "lookups.products.columns",
        "a name that is taken",
    ),
    "lookup_of_others_rows": (
        replace(QUERY, lookups=(Lookup("customers", "card_number", ("age",)),)),
        "lookups.customers.on",
        "one unit would be joined to another's",
    ),
    "a_value_that_others_decide": (
        Query(
            "customers",
            "household_id",
            "count",
            None,
            (Breakdown("m", "value", "marital_status", ("A",)),),
            QUERY.privacy,
        ),
        "by",
        "suppress rare",
    ),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_an_unsound_query_is_told_what_is_wrong(case: str) -> None:
    query, key, found = UNSOUND[case]
    fault = query_fault(query, CONTRACTS, "household")
    assert fault is not None
    assert ".".join(fault.key) == key
    assert found in fault.found


def test_a_source_of_another_unit_is_refused() -> None:
    fault = query_fault(QUERY, CONTRACTS, "store")
    assert fault is not None
    assert fault.found == "household"


def test_a_dataset_is_public_only_without_unit_and_with_plain_columns() -> None:
    products, customers = CONTRACTS["products"], CONTRACTS["customers"]
    assert is_public(products)
    assert not is_public(customers)
    assert not is_public(replace(products, unit_of_privacy="household"))
    assert not is_public(replace(products, columns=customers.columns))
    assert not is_public(replace(CONTRACTS["weekly_sales"], unit_of_privacy="none"))
    assert not derives_values(products.column("department"))


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("from: transactions", "from: receipts", "no contract of `receipts`"),
        ("columns: [department]", "columns: [aisle]", "no such column"),
        ("sum: sales_value", "sum: card_number", "protected as string"),
        ("name: department\n        logicalType: string", "name: department\n        logicalType: integer", "integer"),
        ("name: value\n        logicalType: number", "name: value\n        logicalType: integer", "1 others"),
    ],
)
def test_contracts_are_checked_against_each_other(tmp_path: Path, old: str, new: str, found: str) -> None:
    folder = tmp_path / "contracts"
    shutil.copytree(SHIPPED, folder)
    assert SALES.count(old) == 1
    (folder / "weekly_sales.odcs.yaml").write_text(SALES.replace(old, new))
    with pytest.raises(ContractError) as refused:
        load_contracts(folder)
    assert found in refused.value.found
    assert refused.value.where.startswith("weekly_sales.odcs.yaml:")
