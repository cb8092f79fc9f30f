"""Contracts against laws: what is missing, what is incomplete, and what is worth knowing, each with its clause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from cloakhouse.contracts.model import Contract
from cloakhouse.governance.organisation import Organisation
from cloakhouse.governance.predicates import PREDICATES, Case, about_persons
from cloakhouse.governance.profiles import Rule, Severity, law

OF_IMPERSONAL = "says not personal"


@dataclass(frozen=True)
class Finding:
    """One finding: the dataset, the law, the clause that asks, how much it weighs, what was found, what to write."""

    dataset: str
    profile: str
    severity: Severity
    clause: str
    rule: str
    finding: str
    write: str

    def as_dict(self) -> dict[str, str]:
        """Return the fields, JSON-ready."""
        return {**asdict(self), "severity": self.severity.value}


def check(contracts: Mapping[str, Contract], organisation: Organisation, profiles: Sequence[str]) -> list[Finding]:
    """Return the findings on `contracts` under the laws `profiles`, by dataset, profile, weight and order of rules."""
    found: list[Finding] = []
    for name in sorted(contracts):
        for profile in sorted(set(profiles)):
            case = Case(contracts[name], organisation, law(profile))
            found += _by_weight(_finding(case, rule) for rule in case.law.rules if _unmet(case, rule))
    return found


def _unmet(case: Case, rule: Rule) -> bool:
    if about_persons(case.contract) == (rule.when == OF_IMPERSONAL):
        return False
    if rule.when and not PREDICATES[rule.when](case):
        return False
    return not (rule.needs and PREDICATES[rule.needs](case))


def _finding(case: Case, rule: Rule) -> Finding:
    return Finding(case.contract.name, case.law.name, rule.severity, rule.clause, rule.name, rule.finding, rule.write)


def _by_weight(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: list(Severity).index(finding.severity))
