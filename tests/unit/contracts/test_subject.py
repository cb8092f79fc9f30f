"""`subject`, `consent` and `residency` of contracts: what is read, and what can't stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.contracts import COLUMNS, column, feed_text

from cloakhouse.contracts.parser import load_contracts, parse_contract
from cloakhouse.contracts.subject import Consent, Register, Rights, Subject
from cloakhouse.errors import ContractError

FLAG = column("flag", "boolean", required=True)
COUNTRY = column("country")
OTHER = column(
    "id", "integer", required=True, cls="direct identifier", how="{token: {domain: visitor, purpose: analytics}}"
)
MASTER = "{column: id, also: [name], register: {purposes: {analytics: flag}, jurisdiction: country, policy: '1'}}"
CONSENT = "{purpose: analytics, maxAgeDays: 2, withdrawWithinDays: 30}"


def text(name: str = "people", columns: tuple[str, ...] = (*COLUMNS, FLAG, COUNTRY), **properties: str) -> str:
    lines = "".join(f"  - {{property: {key}, value: {value}}}\n" for key, value in properties.items())
    return feed_text(name, columns=columns).replace("schema:\n", f"{lines}schema:\n", 1)


def loaded(folder: Path, *texts: str) -> dict[str, Rights]:
    for number, content in enumerate(texts):
        (folder / f"{['people', 'visits', 'more'][number]}.odcs.yaml").write_text(content)
    return {name: contract.rights for name, contract in load_contracts(folder).items()}


def test_what_a_contract_declares_is_read() -> None:
    residency = "{landing: [eu-central-1, eu-west-1], protected: [eu-central-1]}"
    found = parse_contract(text(subject=MASTER, consent=CONSENT, residency=residency), "people.odcs.yaml").rights
    assert found.subject == Subject("id", ("name",), Register({"analytics": "flag"}, "country", "1"))
    assert found.consent == Consent("analytics", 2, 30)
    assert found.residency == {"landing": ("eu-central-1", "eu-west-1"), "protected": ("eu-central-1",)}


def test_a_contract_that_declares_nothing_has_no_rights() -> None:
    assert parse_contract(text(), "people.odcs.yaml").rights == Rights()


@pytest.mark.parametrize(
    "properties",
    [
        {"subject": "{also: [name]}"},
        {"subject": "{column: id, surprise: 1}"},
        {"subject": "{column: id, register: {purposes: {analytics: flag}, policy: '1'}}"},
        {"subject": "{column: id, register: {purposes: {ads: flag}, jurisdiction: country, policy: '1'}}"},
        {"subject": "{column: id, register: {purposes: {analytics: flag}, jurisdiction: country, policy: 'a b'}}"},
        {"consent": "{purpose: ads, maxAgeDays: 2, withdrawWithinDays: 30}"},
        {"consent": "{purpose: analytics, maxAgeDays: -1, withdrawWithinDays: 30}"},
        {"consent": "{purpose: analytics, maxAgeDays: 2, withdrawWithinDays: 0}"},
        {"consent": "{purpose: analytics, maxAgeDays: 2}"},
        {"residency": "{attic: [eu-central-1]}"},
        {"residency": "{landing: ['EU!']}"},
    ],
)
def test_what_can_not_be_read_is_refused(properties: dict[str, str]) -> None:
    with pytest.raises(ContractError):
        parse_contract(text(**properties), "people.odcs.yaml")


def test_contracts_with_one_register_and_one_domain_of_persons_stand(tmp_path: Path) -> None:
    found = loaded(tmp_path, text(subject=MASTER), text("visits", subject="{column: id}", consent=CONSENT))
    assert found["visits"].consent == Consent("analytics", 2, 30)


PERIOD = OTHER.replace("visitor, purpose: analytics", "customer, purpose: analytics, period: month")
FAULTS: dict[str, tuple[str, ...]] = {
    "no such column": (text(subject="{column: nobody}"),),
    "another column that isn't there": (text(subject=MASTER.replace("[name]", "[nobody]")),),
    "no token": (text(subject="{column: name}"),),
    "a token with a period": (text(subject="{column: id}", columns=(PERIOD,)),),
    "other names outside the master": (text(subject="{column: id, also: [name]}"),),
    "a flag that is no boolean": (text(subject=MASTER.replace("analytics: flag", "analytics: name")),),
    "a jurisdiction that is no text": (text(subject=MASTER.replace("n: country", "n: amount")),),
    "two domains of persons": (text(subject=MASTER), text("visits", columns=(OTHER,), subject="{column: id}")),
    "two registers": (text(subject=MASTER), text("visits", subject=MASTER)),
    "a consent without a register": (text(subject="{column: id}", consent=CONSENT),),
    "a purpose that the register lacks": (text(subject=MASTER, consent=CONSENT.replace("analytics", "sharing")),),
    "a consent of nobody": (text(subject=MASTER), text("visits", consent=CONSENT)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_can_not_stand_is_refused_at_its_place(fault: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError) as refusal:
        loaded(tmp_path, *FAULTS[fault])
    assert refusal.value.code == "contract.subject"
    assert ".odcs.yaml:" in refusal.value.where
