"""The `processing` of a contract: read as it is stated, refused at its place, part of the digest."""

from __future__ import annotations

import pytest
from tests.support.contracts import SHIPPED, feed_text

from cloakhouse.contracts.parser import load_contracts, parse_contract
from cloakhouse.contracts.processing import LONGEST, MOST, Processing, Transfer
from cloakhouse.errors import ContractError

WHOLE = """\
dataSubjects: [customers, "members of their households"]
recipients: []
transfers: [{country: US, safeguard: standard clauses}, {country: CH}]
origin: at the till
legitimateInterest: to plan stock
legalBases: {lgpd: consent}
optOut: by e-mail
saleOrSharing: none
automatedDecisions: none
specialCategories: [health]
specialCondition: explicit consent
minors: none
impactAssessment: required
"""


def contract_text(processing: str) -> str:
    indented = "".join(f"      {line}\n" for line in processing.splitlines())
    return feed_text().replace("schema:\n", f"  - property: processing\n    value:\n{indented}schema:\n")


def read(processing: str) -> Processing | None:
    return parse_contract(contract_text(processing), "people.odcs.yaml").processing


def test_everything_that_can_be_stated_is_read() -> None:
    assert read(WHOLE) == Processing(
        data_subjects=("customers", "members of their households"),
        recipients=(),
        transfers=(Transfer("US", "standard clauses"), Transfer("CH")),
        origin="at the till",
        legitimate_interest="to plan stock",
        legal_bases={"lgpd": "consent"},
        opt_out="by e-mail",
        sale_or_sharing="none",
        automated_decisions="none",
        special_categories=("health",),
        special_condition="explicit consent",
        minors="none",
        impact_assessment="required",
    )


def test_what_is_not_stated_is_not_none() -> None:
    stated = read("origin: at the till")
    assert stated == Processing(origin="at the till")
    assert stated.recipients is None
    assert stated.transfers is None
    assert stated.special_categories is None


def test_a_contract_needs_no_processing() -> None:
    assert parse_contract(feed_text(), "people.odcs.yaml").processing is None


def test_the_digest_covers_it() -> None:
    digests = {parse_contract(contract_text(f"origin: {place}"), "p").digest for place in ("shop", "till")}
    assert len(digests | {parse_contract(feed_text(), "p").digest}) == 3


def test_shipped_contracts_on_persons_state_it() -> None:
    silent = {name for name, contract in load_contracts(SHIPPED).items() if contract.processing is None}
    assert silent == {"products"}


FAULTS = {
    "unknown_key": ("optout: by e-mail", "optout", "one of automatedDecisions", "`optout`"),
    "empty_text": ("origin: ''", "origin", "as a text", "str that is not"),
    "text_of_two_lines": ('origin: "a\\nb"', "origin", "printable", "another"),
    "text_too_long": (f"origin: {'x' * (LONGEST + 1)}", "origin", f"at most {LONGEST}", "another"),
    "nothing_for_a_text": ("optOut:", "optOut", "a text", "nothing"),
    "text_for_a_list": ("recipients: everybody", "recipients", "list of distinct names", "str"),
    "nothing_for_a_list": ("recipients:", "recipients", "list of names", "nothing"),
    "same_twice": ("dataSubjects: [a, a]", "dataSubjects", "distinct", "list"),
    "blank_in_a_list": ("dataSubjects: [a, ' ']", "dataSubjects", "printable", "others"),
    "list_too_long": (f"recipients: {[f'r{n}' for n in range(MOST + 1)]}", "recipients", f"at most {MOST}", "others"),
    "transfers_no_list": ("transfers: none", "transfers", "a list of at most", "str"),
    "transfer_no_mapping": ("transfers: [US]", "transfers", "a mapping", "str"),
    "transfer_without_country": ("transfers: [{safeguard: x}]", "transfers", "two letters", "nothing"),
    "country_in_words": ("transfers: [{country: Norway}]", "transfers", "two letters", "str that is not"),
    "country_that_is_a_boolean": ("transfers: [{country: true}]", "transfers", "two letters", "bool that is not"),
    "unknown_key_of_a_transfer": ("transfers: [{country: US, ground: x}]", "transfers", "country", "`ground`"),
    "unknown_category": ("specialCategories: [hobbies]", "specialCategories", "racial or ethnic", "another"),
    "unknown_assessment": ("impactAssessment: perhaps", "impactAssessment", "required, not required", "`perhaps`"),
    "law_that_is_none": ("legalBases: {hipaa: x}", "legalBases", "gdpr", "`hipaa`"),
    "processing_no_mapping": ("- a", "processing", "a mapping", "list"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_at_its_place(fault: str) -> None:
    processing, key, expected, found = FAULTS[fault]
    text = contract_text(processing)
    with pytest.raises(ContractError) as caught:
        parse_contract(text, "people.odcs.yaml")
    line = int(caught.value.where.split(":")[1])
    assert key in text.splitlines()[line - 1] or processing in text.splitlines()[line - 1]
    assert expected in caught.value.expected
    assert found in caught.value.found
    assert caught.value.exit_code == 2
