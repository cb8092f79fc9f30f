"""Which rows of a delivery are withheld before their values are looked at, and which can't be told from others."""

from __future__ import annotations

import io
import json

import pytest
from tests.unit.stages.test_sieve import Keys, persons

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.settings import Settings
from cloakhouse.stages.parsing import BadRows, parse
from cloakhouse.stages.sieve import Persons, Sieve
from cloakhouse.stages.sifting import Sifting

LINE = {
    "household_id": 1,
    "name": "Anna Beispiel",
    "email": "a@example.org",
    "country": "DE",
    "birth_date": "1980-01-01",
    "card_number": "4" * 16,
    "loyalty_card": "1" * 12,
    **{f"consent_{purpose}": True for purpose in ("analytics", "personalisation", "synthetic", "sharing")},
}


@pytest.fixture(scope="module")
def contracts() -> dict[str, Contract]:
    return load_contracts(Settings.from_environment({}).contracts)


def sifted(contract: Contract, text: str, *allowed: int) -> tuple[list[int], BadRows, int]:
    """Return the persons of sound rows, the bad rows, and how many were withheld."""
    sieve = Sieve(Persons.passing(persons(*allowed), persons()), contract.column("household_id"), Keys())
    sifting, found, bad = Sifting(sieve, contract), [], BadRows()
    assert contract.feed is not None
    for parsed in parse(io.BytesIO(text.encode()), contract, contract.feed, sifting.rows):
        sifting.lines(parsed.bad)
        found += parsed.table.column("household_id").to_pylist()
        for one in zip(parsed.bad.reasons, parsed.bad.columns, parsed.bad.records, strict=True):
            bad.add(*one)
    return found, bad, sifting.withheld


def lines(*changes: dict[str, object]) -> str:
    return "".join(json.dumps({**LINE, **change}) + "\n" for change in changes)


def test_rows_of_others_are_gone_and_counted(contracts: dict[str, Contract]) -> None:
    text = lines(*({"household_id": n} for n in (1, 2, 3, 2)))
    found, bad, withheld = sifted(contracts["customers"], text, 1, 3)
    assert (found, bad.records, withheld) == ([1, 3], [], 2)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"birth_date": "1780-01-01"}, "out_of_range"),
        ({"card_number": "12"}, "wrong_form"),
        ({"email": None}, "missing_value"),
        ({"consent_sharing": "yes"}, "wrong_type"),
    ],
)
def test_a_bad_row_is_set_aside_only_for_who_may_be_used(
    contracts: dict[str, Contract], fault: dict[str, object], reason: str
) -> None:
    text = lines({"household_id": 1, **fault}, {"household_id": 2, **fault}, {"household_id": 3})
    found, bad, withheld = sifted(contracts["customers"], text, 1, 3)
    assert (found, bad.reasons, withheld) == ([3], [reason], 1)


def test_the_number_of_a_person_as_text_is_still_that_person(contracts: dict[str, Contract]) -> None:
    found, bad, withheld = sifted(contracts["customers"], lines({"household_id": "2"}, {"household_id": "1"}), 1)
    assert (found, bad.reasons, withheld) == ([], ["wrong_type"], 1)


def test_lines_that_name_nobody_are_set_aside_as_ever(contracts: dict[str, Contract]) -> None:
    text = lines({"household_id": None}, {"household_id": "nobody"}) + '{"household_id": 2, "na\n[2]\n'
    found, bad, withheld = sifted(contracts["customers"], text, 1)
    assert (found, sorted(bad.reasons), withheld) == ([], ["missing_value", "not_json", "not_json", "wrong_type"], 0)


def test_a_line_of_csv_with_other_fields_is_set_aside(contracts: dict[str, Contract]) -> None:
    names = [column.name for column in contracts["transactions"].columns]
    given = {"household_id": "2", "transaction_timestamp": "2017-01-02 10:00:00", "card_number": "4" * 16}
    row = ",".join(given.get(name, "1") for name in names)
    text = ",".join(names) + f"\n{row}\n{row},9\n" + row.replace("2,", "x,", 1) + "\n"
    found, bad, withheld = sifted(contracts["transactions"], text, 1)
    assert (found, sorted(bad.reasons), withheld) == ([], ["wrong_field_count", "wrong_type"], 1)
