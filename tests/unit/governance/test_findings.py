"""What laws ask of contracts: every rule fires where it is unmet, and only there."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from tests.support.governing import contract, organisation, shipped, small_organisation

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.processing import LAWS
from cloakhouse.governance.findings import check
from cloakhouse.governance.organisation import Organisation
from cloakhouse.governance.predicates import PREDICATES, about_persons
from cloakhouse.governance.profiles import Severity, law

FULL = (
    "{dataSubjects: [customers], recipients: [], transfers: [], origin: at the till, optOut: by e-mail, "
    "saleOrSharing: none, automatedDecisions: none, specialCategories: [], minors: none, impactAssessment: required, "
    "legitimateInterest: to plan stock}"
)
ALL_DAYS = "retentionDays: {landing: 30, quarantine: 30, protected: 730}"
GDPR_BASIS = 'legalBasis: "consent, GDPR Art. 6(1)(a)"'


def unmet(found: Contract, profile: str, by: Organisation | None = None) -> set[str]:
    """Return the names of the rules of `profile` that `found` doesn't meet."""
    return {finding.rule for finding in check({found.name: found}, by or organisation(), [profile])}


def test_shipped_contracts_miss_nothing_under_the_law_in_force() -> None:
    found = check(shipped(), organisation(), ["gdpr"])
    assert {finding.severity for finding in found} == {Severity.NOTE}
    assert Counter(finding.rule for finding in found) == {
        "retention that nothing enforces yet": 2,
        "synthetic and still personal": 2,
    }


def test_a_legitimate_interest_is_no_basis_in_china() -> None:
    found = check(shipped(), organisation(), ["pipl"])
    missing = {finding.rule for finding in found if finding.severity is Severity.MISSING}
    assert missing == {"legal basis", "representative"}


def test_a_contract_that_states_nothing() -> None:
    bare = contract(basis="legalBasis: because")
    assert unmet(bare, "gdpr", small_organisation()) == {
        *("legal basis", "article of the legal basis", "retention", "data subjects", "recipients", "transfers"),
        *("automated decisions", "special categories", "minors", "origin", "impact assessment"),
        *("data protection officer", "supervisory authority", "retention that nothing enforces yet"),
    }
    assert unmet(bare, "ccpa", small_organisation()) == {
        *("sale or sharing", "retention", "sensitive personal information", "recipients", "sources"),
        *("ways to ask", "automated decisionmaking"),
    }
    assert unmet(bare, "lgpd", small_organisation()) == {
        *("legal basis", "article of the legal basis", "opposition", "duration", "shared use", "transfers"),
        *("automated decisions", "sensitive data", "children and adolescents", "encarregado", "record"),
        "impact report",
    }
    assert unmet(bare, "pipl", small_organisation()) == {
        *("legal basis", "article of the legal basis", "withdrawal of consent", "retention", "provision to others"),
        *("provision abroad", "automated decisions", "sensitive information", "minors under 14"),
        *("person in charge", "representative"),
    }


def test_a_contract_that_states_all() -> None:
    full = contract(FULL, basis=GDPR_BASIS, retention=ALL_DAYS)
    assert unmet(full, "gdpr") == {"retention that nothing enforces yet"}
    assert unmet(full, "ccpa") == set()
    assert unmet(full, "lgpd") == {"article of the legal basis"}  # Art. 6(1)(a) is none of Brazil's
    assert unmet(full, "pipl") == {"article of the legal basis", "representative"}


@pytest.mark.parametrize(
    ("profile", "old", "new", "rules"),
    [
        ("gdpr", "transfers: []", "transfers: [{country: US}]", {"safeguards of transfers"}),
        ("gdpr", "transfers: []", "transfers: [{country: US, safeguard: adequacy}]", set()),
        ("gdpr", "transfers: []", "transfers: [{country: NO}]", set()),
        ("gdpr", "optOut: by e-mail, ", "", {"withdrawal of consent"}),
        ("gdpr", "automatedDecisions: none", "automatedDecisions: credit", {"safeguards of automated decisions"}),
        ("gdpr", "specialCategories: []", "specialCategories: [health]", {"condition for special categories"}),
        ("ccpa", "saleOrSharing: none", "saleOrSharing: to a network", set()),
        ("ccpa", "optOut: by e-mail, saleOrSharing: none", "saleOrSharing: yes", {"opt-out of sale and sharing"}),
        ("ccpa", "automatedDecisions: none", "automatedDecisions: credit", {"notice before automated decisions"}),
        ("lgpd", "transfers: []", "transfers: [{country: DE}]", {"safeguards of transfers"}),
        ("lgpd", "specialCategories: []", "specialCategories: [health]", {"basis for sensitive data"}),
        ("pipl", "transfers: []", "transfers: [{country: DE}]", {"grounds of provision abroad"}),
        ("pipl", "impactAssessment: required", "impactAssessment: not required", set()),
    ],
)
def test_one_statement_decides(profile: str, old: str, new: str, rules: set[str]) -> None:
    assert FULL.count(old) == 1
    before = unmet(contract(FULL, basis=GDPR_BASIS, retention=ALL_DAYS), profile)
    after = unmet(contract(FULL.replace(old, new), basis=GDPR_BASIS, retention=ALL_DAYS), profile)
    assert after - before == rules
    assert before <= after


def test_an_assessment_is_needed_in_china_where_it_is_risky() -> None:
    text = FULL.replace("impactAssessment: required", "impactAssessment: not required")
    risky = contract(text.replace("automatedDecisions: none", "automatedDecisions: credit"))
    assert "impact assessment" in unmet(risky, "pipl")


def test_consumers_under_16_opt_in() -> None:
    text = FULL.replace("saleOrSharing: none", "saleOrSharing: to a network").replace("minors: none, ", "")
    assert "consumers under 16" in unmet(contract(text), "ccpa")


def test_a_legitimate_interest_is_named_and_can_be_objected_to() -> None:
    text = FULL.replace(", legitimateInterest: to plan stock", "").replace("optOut: by e-mail, ", "")
    found = contract(text, basis="legalBasis: legitimate interest, GDPR Art. 6(1)(f)", retention=ALL_DAYS)
    assert unmet(found, "gdpr") >= {"legitimate interest", "objection"}


def test_a_basis_of_its_own_for_each_law() -> None:
    text = FULL[:-1] + ', legalBases: {pipl: "consent, PIPL Art. 13(1)", lgpd: "consent, LGPD Art. 7, I"}}'
    found = contract(text, basis="legalBasis: legitimate interest, GDPR Art. 6(1)(f)", retention=ALL_DAYS)
    assert unmet(found, "pipl") == {"representative"}
    assert unmet(found, "lgpd") == set()


def test_what_says_that_it_is_about_nobody_has_plain_columns_only() -> None:
    products = shipped()["products"]
    assert not about_persons(products)
    assert all(unmet(products, profile) == set() for profile in LAWS)
    liar = contract(basis="legalBasis: not personal data", unit="unitOfPrivacy: none")
    for profile in LAWS:
        assert unmet(liar, profile) == {"contradiction"}
    assert about_persons(contract(basis="legalBasis: consent"))


def test_a_controller_abroad_names_a_representative() -> None:
    abroad = replace(organisation().controller, country="US")
    by = replace(organisation(), controller=abroad)
    assert "representative" in unmet(shipped()["customers"], "gdpr", by)
    named = replace(by, representatives={"gdpr": organisation().controller})
    assert "representative" not in unmet(shipped()["customers"], "gdpr", named)


def test_findings_are_in_order_and_each_profile_is_asked_once() -> None:
    found = check(shipped(), organisation(), ["pipl", "ccpa", "pipl"])
    keys = [(f.dataset, f.profile, list(Severity).index(f.severity)) for f in found]
    assert keys == sorted(keys)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_well_formed(name: str) -> None:
    found = law(name)
    used = {one for rule in found.rules for one in (rule.when, rule.needs) if one}
    assert used <= PREDICATES.keys()
    assert len({rule.name for rule in found.rules}) == len(found.rules)
    for rule in found.rules:
        assert rule.needs or rule.severity is Severity.NOTE, rule.name
        assert re.search(r"\d", rule.clause), rule.name
        assert rule.finding
        assert rule.write
    assert found.rights


def test_every_predicate_is_asked_by_some_law() -> None:
    rules = [rule for name in LAWS for rule in law(name).rules]
    asked = {one for rule in rules for one in (rule.when, rule.needs)}
    assert PREDICATES.keys() <= asked
