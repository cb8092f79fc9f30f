from __future__ import annotations

import datetime as dt
import pickle
from dataclasses import FrozenInstanceError

import pytest
from tests.support.contracts import COLUMNS, SHIPPED, column, feed_contract, feed_text

from cloakhouse.contracts.model import ColumnClass, Kind, Period
from cloakhouse.contracts.parser import load_contract, load_contracts, parse_contract
from cloakhouse.contracts.treatments import ANY_TYPE, REGISTRY, fault_in
from cloakhouse.errors import NotFound


def test_the_shipped_contracts_load_together() -> None:
    contracts = load_contracts(SHIPPED)
    assert list(contracts) == ["baskets_synthetic", "customers", "households_synthetic", "products", "transactions"]
    assert {c.name for c in contracts.values() if c.kind is Kind.SYNTHETIC} == {
        "baskets_synthetic",
        "households_synthetic",
    }
    assert contracts["transactions"].references == ("customers",)
    assert contracts["baskets_synthetic"].sources == ("customers", "products", "transactions")
    for contract in contracts.values():
        assert (contract.feed is None) == (contract.kind is Kind.SYNTHETIC)
        assert (contract.synthesis is None) == (contract.gate is None) == (contract.kind is Kind.FEED)


def test_no_shipped_contract_keeps_a_direct_identifier_or_a_payment() -> None:
    for contract in load_contracts(SHIPPED).values():
        for kept in contract.kept_columns:
            if kept.column_class in (ColumnClass.DIRECT, ColumnClass.PAYMENT):
                assert kept.treatment.name in ("token", "format-preserving token"), kept.name


def test_the_transactions_contract_in_full() -> None:
    contract = load_contract(SHIPPED / "transactions.odcs.yaml")
    assert contract.feed is not None
    assert (contract.feed.period, contract.feed.first_partition) == (Period.WEEK, dt.date(2016, 12, 26))
    assert contract.feed.compressed
    assert contract.retention_days == {"landing": 90, "quarantine": 30, "protected": 730}
    household = contract.column("household_id")
    assert (household.logical_type, household.required, household.minimum) == ("integer", True, 1)
    assert household.treatment.parameters == {"domain": "customer", "purpose": "analytics"}
    assert household.reference is not None
    assert (household.reference.dataset, household.reference.column) == ("customers", "household_id")
    moment = contract.column("transaction_timestamp")
    assert moment.minimum == dt.datetime(2016, 1, 1)  # feeds hold local times
    assert "week" not in {c.name for c in contract.kept_columns}
    with pytest.raises(NotFound) as refusal:
        contract.column("cashier_id")
    assert "household_id" in refusal.value.remedy


def test_the_digest_ignores_comments_and_layout_and_nothing_else() -> None:
    text = feed_text()
    digest = parse_contract(text, "a").digest
    assert parse_contract("# remark\n" + text.replace("\n", "\n\n"), "another name").digest == digest
    assert parse_contract(text.replace("status: active", "'status': \"active\""), "a").digest == digest
    lines = text.splitlines()
    moved = [*lines[1:3], lines[0], *lines[3:]]
    assert parse_contract("\n".join(moved), "a").digest == digest
    for old, new in {
        "owner: tests": "owner: others",
        "protected: 730": "protected: 731",
        "maxLength: 20": "maxLength: 21",
        "2016-12-26": "2016-12-27",
        "made for a test": "made for the test",
        "afterLanding: delete": "afterLanding: keep",
    }.items():
        assert parse_contract(text.replace(old, new), "a").digest != digest, new
    swapped = feed_text(columns=reversed(COLUMNS))
    assert parse_contract(swapped, "a").digest != digest


def test_on_and_no_are_texts_and_only_true_and_false_are_booleans() -> None:
    country = column(
        "country", cls="'indirect identifier'", how="{generalize: {groups: {no: [NO], on: [ON, yes, off]}}}"
    )
    contract = feed_contract(columns=[country, column("b", "boolean", required=True)])
    assert contract.column("country").treatment.parameters == {"groups": {"no": ["NO"], "on": ["ON", "yes", "off"]}}
    assert contract.column("b").required is True
    for spelling in ("true", "True", "TRUE"):
        text = feed_text(columns=[column("b", "boolean").replace("required: false", f"required: {spelling}")])
        assert parse_contract(text, "a").column("b").required is True


def test_anchors_and_merges_stay_possible() -> None:
    text = feed_text(columns=(COLUMNS[0], COLUMNS[1].replace("{property: treatment, value: drop}", "&d {property: treatment, value: drop}"),  # noqa: E501
                              COLUMNS[2].replace("{property: treatment, value: keep}", "*d")))  # fmt: skip
    contract = parse_contract(text, "anchors")
    assert contract.column("amount").treatment.name == "drop"
    merged = feed_text(columns=("&a " + COLUMNS[0], "{<<: *a, name: other}"))
    assert [c.name for c in parse_contract(merged, "merges").columns] == ["id", "other"]


def test_the_defaults() -> None:
    text = "\n".join(
        line for line in feed_text().splitlines() if "maxLineBytes" not in line and "delimiter" not in line
    )
    feed = parse_contract(text, "a").feed
    assert feed is not None
    assert (feed.delimiter, feed.max_line_bytes) == (",", 1 << 20)


def test_contracts_are_frozen_and_travel_to_workers() -> None:
    contract = feed_contract()
    with pytest.raises(FrozenInstanceError):
        contract.name = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(contract)) == contract


@pytest.mark.parametrize(
    ("period", "name", "partition"),
    [
        ("day", "people-2017-01-03.csv", "2017-01-03"),
        ("week", "people-2017-01-02.csv", "2017-01-02"),
        ("week", "people-2017-01-03.csv", None),  # a Tuesday
        ("day", "people-2017-02-30.csv", None),
        ("day", "people-2017-01-03.csv.gz", None),
        ("day", "people-2017-01-03.csv\n", None),
        ("day", "xpeople-2017-01-03.csv", None),
        ("day", "people-2017-01-03Xcsv", None),
        ("day", "people-٢٠١٧-01-03.csv", None),
        ("day", ".people-2017-01-03.csv.abc.tmp", None),
    ],
)
def test_the_partition_of_a_file_name(period: str, name: str, partition: str | None) -> None:
    feed = feed_contract(period=period).feed
    assert feed is not None
    assert feed.partition_of(name) == partition
    if partition:
        assert feed.file_name(partition) == name


GOLDEN = {
    "drop": {},
    "keep": {},
    "token": {"domain": True, "purpose": True},
    "format-preserving token": {
        "domain": True,
        "purpose": True,
        "alphabet": False,
        "length": True,
        "keepPrefix": False,
        "keepSuffix": False,
    },
    "generalize": {
        "to": False,
        "ageBands": False,
        "bins": False,
        "prefix": False,
        "groups": False,
        "on": False,
        "other": False,
    },
    "mask": {"keepPrefix": False, "keepSuffix": False, "sign": False},
}
GOLDEN_TYPES = {
    "drop": ANY_TYPE,
    "keep": ANY_TYPE,
    "token": {"string", "integer", "date"},
    "format-preserving token": {"string"},
    "generalize": {"string", "integer", "number", "date", "timestamp"},
    "mask": {"string"},
}


def test_the_registry_of_treatments_is_the_one_that_contracts_were_written_for() -> None:
    assert {name: {k: p.required for k, p in spec.parameters.items()} for name, spec in REGISTRY.items()} == GOLDEN
    assert {name: set(spec.types) for name, spec in REGISTRY.items()} == {k: set(v) for k, v in GOLDEN_TYPES.items()}
    assert REGISTRY["generalize"].one_of == {"to", "ageBands", "bins", "prefix", "groups"}
    for spec in REGISTRY.values():
        assert spec.summary
        assert spec.protects
        assert spec.keeps


@pytest.mark.parametrize(
    ("name", "parameters", "logical_type"),
    [
        ("token", {"domain": "customer", "purpose": "analytics"}, "integer"),
        ("format-preserving token", {"domain": "a", "purpose": "b", "length": 6}, "string"),
        ("format-preserving token", {"domain": "a", "purpose": "b", "length": 6, "alphabet": "base36", "keepPrefix": 2}, "string"),  # noqa: E501
        ("generalize", {"to": "month"}, "date"),
        ("generalize", {"ageBands": [35, 55], "on": dt.date(2017, 1, 1)}, "date"),
        ("generalize", {"bins": [0, 10]}, "number"),
        ("generalize", {"prefix": 1}, "string"),
        ("generalize", {"groups": {"a": ["x"]}, "other": "rest"}, "string"),
        ("mask", {}, "string"),
    ],
)  # fmt: skip
def test_sound_treatments(name: str, parameters: dict[str, object], logical_type: str) -> None:
    assert fault_in(name, parameters, logical_type) is None


def test_the_smallest_ff1_domain_is_a_million() -> None:
    base = {"domain": "a", "purpose": "b", "length": 8}
    assert fault_in("format-preserving token", {**base, "keepSuffix": 2}, "string") is None
    fault = fault_in("format-preserving token", {**base, "keepSuffix": 3}, "string")
    assert fault is not None
    assert fault[0] == "length"
    assert fault_in("format-preserving token", {**base, "keepSuffix": 3, "alphabet": "base36"}, "string") is None
    assert fault_in("format-preserving token", {**base, "keepSuffix": 8, "keepPrefix": 8}, "string") is not None
