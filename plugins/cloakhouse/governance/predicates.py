"""What rules ask of a contract, by name. Each is a question with yes or no; what is not stated is not met."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cloakhouse.contracts.model import ColumnClass, Contract, Kind
from cloakhouse.contracts.processing import NONE, Processing, Transfer
from cloakhouse.governance.organisation import Organisation
from cloakhouse.governance.profiles import Law

ZONES_OF = {
    Kind.FEED: ("landing", "quarantine", "protected"),
    Kind.SYNTHETIC: ("synthetic",),
    Kind.AGGREGATE: ("aggregates",),
}
NOT_PERSONAL = re.compile(r"\bnot personal\b|\bno personal\b", re.IGNORECASE)
_INTEREST = re.compile(r"legitimate interest|public (task|interest)", re.IGNORECASE)
_LEGITIMATE = re.compile(r"legitimate interest", re.IGNORECASE)
_CONSENT = re.compile(r"\bconsent", re.IGNORECASE)
EMPTY = Processing()


@dataclass(frozen=True)
class Case:
    """One contract under one law."""

    contract: Contract
    organisation: Organisation
    law: Law

    @property
    def stated(self) -> Processing:
        """What the contract states of its processing; nothing where it has no `processing`."""
        return stated(self.contract)

    @property
    def basis(self) -> str:
        """The legal basis under this law."""
        return self.stated.legal_bases.get(self.law.name, self.contract.legal_basis)

    @property
    def abroad(self) -> list[Transfer]:
        """The transfers out of the countries of this law."""
        return [transfer for transfer in self.stated.transfers or () if transfer.country not in self.law.home]


def stated(contract: Contract) -> Processing:
    """Return what `contract` states of its processing."""
    return contract.processing or EMPTY


def about_persons(contract: Contract) -> bool:
    """Return whether the contract is about persons: unless it says that it isn't. A synthetic dataset is: that nobody
    can be identified in it is for its evidence to show, and for a person to conclude."""
    return contract.unit_of_privacy != NONE and not NOT_PERSONAL.search(contract.legal_basis)


def _basis_known(case: Case) -> bool:
    return case.law.bases is None or bool(case.law.bases.search(case.basis))


def _basis_article(case: Case) -> bool:
    return case.law.article is None or bool(case.law.article.search(case.basis))


def _retention(case: Case) -> bool:
    return set(ZONES_OF[case.contract.kind]) <= set(case.contract.retention_days)


def _sensitive(case: Case) -> bool:
    automated = case.stated.automated_decisions not in ("", NONE)
    return bool(case.stated.special_categories or automated or case.abroad or _payment(case))


def _payment(case: Case) -> bool:
    return any(column.column_class is ColumnClass.PAYMENT for column in case.contract.columns)


def _contradicts(case: Case) -> bool:
    return all(column.column_class is ColumnClass.PLAIN for column in case.contract.columns)


def _unguaranteed(case: Case) -> bool:
    return case.contract.synthesis is not None and case.contract.synthesis.privacy is None


def _foreign(case: Case) -> bool:
    return case.organisation.controller.country not in case.law.home


PREDICATES: Mapping[str, Callable[[Case], bool]] = MappingProxyType(
    {
        # what is stated
        "basis known": _basis_known,
        "basis with article": _basis_article,
        "retention": _retention,
        "data subjects": lambda case: bool(case.stated.data_subjects),
        "recipients": lambda case: case.stated.recipients is not None,
        "transfers": lambda case: case.stated.transfers is not None,
        "safeguards": lambda case: all(transfer.safeguard for transfer in case.abroad),
        "opt-out": lambda case: bool(case.stated.opt_out),
        "sale or sharing": lambda case: bool(case.stated.sale_or_sharing),
        "automated decisions": lambda case: bool(case.stated.automated_decisions),
        "special categories": lambda case: case.stated.special_categories is not None,
        "special condition": lambda case: bool(case.stated.special_condition),
        "minors": lambda case: bool(case.stated.minors),
        "legitimate interest": lambda case: bool(case.stated.legitimate_interest),
        "origin": lambda case: bool(case.stated.origin),
        "impact assessment": lambda case: bool(case.stated.impact_assessment),
        "impact assessment required": lambda case: case.stated.impact_assessment == "required",
        "officer": lambda case: case.organisation.officer is not None,
        "representative": lambda case: case.law.name in case.organisation.representatives,
        "authority": lambda case: case.organisation.authority is not None,
        "two ways": lambda case: len(case.organisation.requests) >= 2,
        "only plain columns": _contradicts,
        # where a rule applies
        "says not personal": lambda case: not about_persons(case.contract),
        "on legitimate interest": lambda case: bool(_LEGITIMATE.search(case.basis)),
        "on an interest": lambda case: bool(_INTEREST.search(case.basis)),
        "on consent": lambda case: bool(_CONSENT.search(case.basis)),
        "controller abroad": _foreign,
        "transferred": lambda case: bool(case.abroad),
        "sold or shared": lambda case: case.stated.sale_or_sharing not in ("", NONE),
        "decides automatically": lambda case: case.stated.automated_decisions not in ("", NONE),
        "special": lambda case: bool(case.stated.special_categories),
        "payment": _payment,
        "delivered": lambda case: case.contract.kind is Kind.FEED,
        "made": lambda case: case.contract.kind is not Kind.FEED,
        "made without guarantee": _unguaranteed,
        "risky": _sensitive,
    }
)
