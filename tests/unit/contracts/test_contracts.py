from __future__ import annotations

import datetime as dt
import pickle
from dataclasses import FrozenInstanceError

import pytest
from tests.support.contracts import COLUMNS, SHIPPED, column, feed_contract, feed_text

from cloakhouse.contracts.model import ColumnClass, Kind, Period
from cloakhouse.contracts.parser import load_contract, load_contracts, parse_contract
from cloakhouse.contracts.treatment_faults import fault_in
from cloakhouse.contracts.treatments import ANY_TYPE, REGISTRY
from cloakhouse.errors import NotFound


def test_the_shipped_contracts_load_together() -> None:
    contracts = load_contracts(SHIPPED)
    assert {"customers", "products", "transactions"} == {c.name for c in contracts.values() if c.kind is Kind.FEED}
    assert {c.name for c in contracts.values() if c.kind is Kind.SYNTHETIC} == {
        "baskets_private",
        "baskets_synthetic",
        "households_synthetic",
    }
    assert contracts["transactions"].references == ("customers",)
    assert contracts["baskets_synthetic"].sources == ("customers", "products", "transactions")
    for contract in contracts.values():
        assert (contract.feed is None) == (contract.kind is not Kind.FEED)
        assert (contract.synthesis is None) == (contract.gate is None) == (contract.kind is not Kind.SYNTHETIC)


def test_no_shipped_contract_keeps_a_direct_identifier_or_a_payment() -> None:
    for contract in load_contracts(SHIPPED).values():
        for kept in contract.kept_columns:
            if kept.column_class in (ColumnClass.DIRECT, ColumnClass.PAYMENT):
                assert kept.treatment.name in ("token", "reversible token", "format-preserving token"), kept.name


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


KEYED = {"domain": True, "purpose": True, "period": False}
GOLDEN = {
    "drop": {},
    "keep": {},
    "token": {**KEYED, "form": False, "normalise": False},
    "reversible token": {**KEYED, "form": False, "normalise": False},
    "format-preserving token": {
        **KEYED,
        "alphabet": False,
        "length": True,
        "keepPrefix": False,
        "keepSuffix": False,
        "luhn": False,
        "normalise": False,
    },
    "mask": {"keepPrefix": False, "keepSuffix": False, "sign": False, "with": False},
    "substitute": {"as": True, "locale": False, **KEYED, "normalise": False},
    "shuffle": {},
    "generalize": {
        "to": False,
        "ageBands": False,
        "on": False,
        "bins": False,
        "prefix": False,
        "fill": False,
        "groups": False,
        "hierarchy": False,
        "other": False,
        "clamp": False,
    },
    "perturb": {"bound": True, "step": False, "perSubject": False},
    "round": {"to": True},
    "bucket": {"buckets": True, **KEYED, "normalise": False},
    "suppress rare": {"atLeast": True, "perSubject": False, "other": False},
    "scrub": {"kinds": False},
}
CANONICAL = {"string", "integer", "date"}
GOLDEN_TYPES = {
    "drop": ANY_TYPE,
    "keep": ANY_TYPE,
    "token": CANONICAL,
    "reversible token": CANONICAL,
    "format-preserving token": {"string"},
    "mask": {"string"},
    "substitute": {"string", "integer"},
    "shuffle": ANY_TYPE,
    "generalize": {"string", "integer", "number", "date", "timestamp"},
    "perturb": {"integer", "number", "date", "timestamp"},
    "round": {"integer", "number"},
    "bucket": CANONICAL,
    "suppress rare": {"string", "integer"},
    "scrub": {"string"},
}


def test_the_registry_of_treatments_is_the_one_that_contracts_were_written_for() -> None:
    assert {name: {k: p.required for k, p in spec.parameters.items()} for name, spec in REGISTRY.items()} == GOLDEN
    assert {name: set(spec.types) for name, spec in REGISTRY.items()} == {k: set(v) for k, v in GOLDEN_TYPES.items()}
    assert {name: set(spec.one_of) for name, spec in REGISTRY.items() if spec.one_of} == {
        "generalize": {"to", "ageBands", "bins", "prefix", "groups", "hierarchy", "clamp"}
    }
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
        ("generalize", {"prefix": 2, "fill": "*"}, "string"),
        ("generalize", {"hierarchy": {"file": "a.csv", "level": 1, "sha256": "0" * 64}, "other": "rest"}, "integer"),
        ("generalize", {"clamp": {"top": 90}}, "integer"),
        ("generalize", {"clamp": {"bottom": 0, "top": 0.5}}, "number"),
        ("generalize", {"clamp": {"bottom": dt.date(1930, 1, 1), "top": dt.date(2010, 1, 1)}}, "date"),
        ("mask", {}, "string"),
        ("mask", {"with": "[NAME]"}, "string"),
        ("token", {"domain": "a", "purpose": "b", "period": "month", "form": "base32", "normalise": "email"}, "string"),
        ("token", {"domain": "a", "purpose": "b", "normalise": "exact"}, "date"),
        ("reversible token", {"domain": "a", "purpose": "b", "form": "hex"}, "date"),
        ("format-preserving token", {"domain": "a", "purpose": "b", "length": 7, "luhn": "valid", "normalise": "digits"}, "string"),  # noqa: E501
        ("format-preserving token", {"domain": "a", "purpose": "b", "length": 6, "alphabet": "letters"}, "string"),
        ("substitute", {"as": "given name", "locale": "pt_BR", "domain": "a", "purpose": "b"}, "integer"),
        ("shuffle", {}, "boolean"),
        ("perturb", {"bound": 0.5, "step": 0.05}, "number"),
        ("perturb", {"bound": 0.01}, "number"),
        ("perturb", {"bound": 2**31 - 1, "perSubject": "household_id"}, "timestamp"),
        ("round", {"to": 5}, "integer"),
        ("round", {"to": 0.05}, "number"),
        ("bucket", {"buckets": 65_536, "domain": "a", "purpose": "b", "period": "year"}, "date"),
        ("suppress rare", {"atLeast": 5, "perSubject": "household_id"}, "integer"),
        ("suppress rare", {"atLeast": 2, "other": "rest"}, "string"),
        ("scrub", {}, "string"),
        ("scrub", {"kinds": ["national id", "iban"]}, "string"),
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


def test_the_check_digit_is_no_part_of_an_ff1_domain() -> None:
    base = {"domain": "a", "purpose": "b", "length": 16, "keepPrefix": 6, "keepSuffix": 3, "luhn": "valid"}
    assert fault_in("format-preserving token", base, "string") is None
    assert fault_in("format-preserving token", {**base, "keepSuffix": 4}, "string") == (
        "length",
        "a domain of at least 1,000,000 values (SP 800-38G Rev. 1)",
        "5 free places, the check digit not counted",
    )
