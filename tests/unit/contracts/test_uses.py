"""Every kept column has a declared use, or says what it is kept for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.contracts import SHIPPED, column, feed_text

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts, parse_contract
from cloakhouse.contracts.uses import kept_columns, unused
from cloakhouse.errors import ContractError

KEPT = "{property: keptFor, value: %s}, {property: treatment"


def feed(*columns: str) -> Mapping[str, Contract]:
    return {"people": parse_contract(feed_text(columns=columns), "people.odcs.yaml")}


def names(contracts: Mapping[str, Contract]) -> set[str]:
    return {kept.column for kept in unused(contracts)}


def test_shipped_contracts_keep_nothing_for_nothing() -> None:
    contracts = load_contracts(SHIPPED)
    assert unused(contracts) == []
    found = {(kept.dataset, kept.column): kept.uses for kept in kept_columns(contracts)}
    assert "detokenization for customer_service" in found["customers", "email"]
    assert "query of weekly_sales" in found["products", "department"]
    assert "rights of persons" in found["customers", "loyalty_card"]
    assert "reference of transactions" in found["customers", "household_id"]
    assert ("customers", "name") not in found  # dropped


@pytest.mark.parametrize(
    ("contract", "line", "dataset", "name"),
    [
        ("weekly_sales", "measure: {sum: sales_value}", "transactions", "coupon_match_disc"),
        ("baskets_synthetic", "store_id: {first: store_id}", "transactions", "store_id"),
    ],
)
def test_what_stops_being_used_is_found(tmp_path: Path, contract: str, line: str, dataset: str, name: str) -> None:
    for path in SHIPPED.iterdir():
        text = path.read_text()
        if path.name == f"{contract}.odcs.yaml":
            assert line in text
            text = text.replace(line, line.replace("store_id: {first: store_id}", "store_id: {count: product_id}"))
        if path.name == "transactions.odcs.yaml":
            text = text.replace("          - {property: keptFor, value: accounts of coupons with their makers}\n", "")
        (tmp_path / path.name).write_text(text)
    assert (dataset, name) in {(kept.dataset, kept.column) for kept in unused(load_contracts(tmp_path))}


def test_a_column_that_only_a_gate_measures_is_kept_for_nothing(tmp_path: Path) -> None:
    for path in SHIPPED.iterdir():
        text = path.read_text().replace("          - {property: keptFor, value: sales by band of age}\n", "")
        (tmp_path / path.name).write_text(text)
    assert [kept.column for kept in unused(load_contracts(tmp_path))] == ["birth_date"]


def test_a_stated_purpose_is_a_use() -> None:
    plain = column("shoe_size")
    assert names(feed(plain)) == {"shoe_size"}
    stated = plain.replace("{property: treatment", KEPT % "advice on shoes")
    assert kept_columns(feed(stated))[0].uses == ("advice on shoes",)


@pytest.mark.parametrize("value", ["''", "' '", "7", "[a]", "x" * 201, '"a\\nb"'])
def test_a_purpose_is_one_line_of_text(value: str) -> None:
    with pytest.raises(ContractError):
        feed(column("shoe_size").replace("{property: treatment", KEPT % value))


def test_a_dropped_column_is_kept_for_nothing() -> None:
    with pytest.raises(ContractError, match="keptFor"):
        feed(column("id"), column("shoe_size", how="drop").replace("{property: treatment", KEPT % "advice"))
