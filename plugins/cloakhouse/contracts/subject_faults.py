"""What can't stand in the `subject` and `consent` of contracts, alone and beside each other."""

from __future__ import annotations

from collections.abc import Mapping

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.source import Path, Source
from cloakhouse.contracts.subject import Subject

TOKEN = "token"  # noqa: S105  # the name of a treatment


def check_data_subjects(contracts: Mapping[str, tuple[Contract, Source]]) -> None:
    """Raise ContractError for a subject that is no column, or not under a token without a period, for two domains of
    persons, for two registers, and for a consent that no register is there to give."""
    domains: dict[str, str] = {}
    registers: list[str] = []
    for contract, source in contracts.values():
        subject = contract.rights.subject
        if subject is not None:
            domain = _domain_of(contract, source, subject)
            domains.setdefault(domain, contract.name)
            if len(domains) > 1:
                first = next(iter(domains))
                raise _fault(source, "subject", "column", f"domain `{first}`, as in `{domains[first]}`", f"`{domain}`")
            _check_register(contract, source, subject)
            registers += [contract.name] * (subject.register is not None)
            if len(registers) > 1:
                found = f"a second one, after `{registers[0]}`"
                raise _fault(source, "subject", "register", "one register of choices", found)
    for contract, source in contracts.values():
        consent = contract.rights.consent
        if consent is not None:
            _check_consent(contract, source, contracts, registers)


def _domain_of(contract: Contract, source: Source, subject: Subject) -> str:
    known = {column.name: column for column in contract.columns}
    for key, name in [("column", subject.column), *(("also", name) for name in subject.also)]:
        if name not in known:
            raise _fault(source, "subject", key, "a declared column", f"`{name}`")
    column = known[subject.column]
    treatment = column.treatment
    if treatment.name != TOKEN or "period" in treatment.parameters or not column.required:
        expected = "a required column under the treatment `token`, without a period"
        raise _fault(source, "subject", "column", expected, f"`{subject.column}`")
    return str(treatment.parameters["domain"])


def _check_register(contract: Contract, source: Source, subject: Subject) -> None:
    known = {column.name: column for column in contract.columns}
    if subject.register is None:
        if subject.also:
            raise _fault(source, "subject", "also", "other names in the customer master alone", "no `register`")
        return
    for name in subject.register.purposes.values():
        if name not in known or known[name].logical_type != "boolean":
            raise _fault(source, "subject", "register", "boolean columns for purposes", f"`{name}`")
    country = subject.register.jurisdiction
    if country not in known or known[country].logical_type != "string":
        raise _fault(source, "subject", "register", "a column of text for the jurisdiction", f"`{country}`")


def _check_consent(
    contract: Contract, source: Source, contracts: Mapping[str, tuple[Contract, Source]], registers: list[str]
) -> None:
    assert contract.rights.consent is not None
    if not registers:
        raise _fault(source, "consent", "purpose", "a feed whose `subject` has a `register`", "none")
    register = contracts[registers[0]][0].rights.subject
    assert register is not None
    assert register.register is not None
    if contract.rights.consent.purpose not in register.register.purposes:
        expected = "a purpose of the register: " + ", ".join(register.register.purposes)
        raise _fault(source, "consent", "purpose", expected, f"`{contract.rights.consent.purpose}`")
    if contract.kind is Kind.FEED and contract.rights.subject is None:
        raise _fault(source, "consent", "purpose", "a `subject` whose consent is asked for", "none")
    if contract.kind is not Kind.FEED and not _of_persons(contract, contracts):
        expected = "a dataset whose unit is the column that the `subject` of its source names"
        raise _fault(source, "consent", "purpose", expected, "another unit")


def _of_persons(contract: Contract, contracts: Mapping[str, tuple[Contract, Source]]) -> bool:
    """Return whether the unit of a derived dataset is the person, as its source names persons."""
    view = contract.query if contract.synthesis is None else contract.synthesis.view
    if view is None or view.source not in contracts:
        return False
    subject = contracts[view.source][0].rights.subject
    return subject is not None and subject.column == view.unit


def _fault(source: Source, name: str, key: str, expected: str, found: str) -> Exception:
    at = next(k for k, item in enumerate(source.data["customProperties"]) if item["property"] == name)
    node: Path = ("customProperties", at, "value", key)
    return source.error(node, expected=expected, found=found, remedy=f"correct `{name}`", code="subject")
