"""What goes with the copy of one person's data: GDPR Art. 15(1) and (2) point by point, as a page and for programs.

Everything in it is of the contracts and of the organisation; of the person it has counts of rows alone. The same law of
another place asks for the same: CCPA Civ. Code 1798.110 and 1798.130(a)(3), LGPD Art. 18 and 19, PIPL Art. 45.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.processing import LAWS
from cloakhouse.governance import words
from cloakhouse.governance.activity import Activity
from cloakhouse.governance.document import Document, Section, Table, Text, bullets, facts
from cloakhouse.governance.html import html
from cloakhouse.governance.organisation import Organisation
from cloakhouse.governance.predicates import about_persons
from cloakhouse.governance.profiles import law
from cloakhouse.governance.transparency import rights, ways, who

TITLE = "The copy of your data"
CLAUSES = {
    "gdpr": "GDPR Art. 12(3), 15(1)-(3), 20(1)",
    "ccpa": "Cal. Civ. Code 1798.100, 1798.110, 1798.130",
    "lgpd": "LGPD Art. 18, I, II, V and VII, Art. 19",
    "pipl": "PIPL Art. 45",
}
LEAD = "What we hold about you, why, who gets it, how long we keep it, and what you can ask for."
FILES = (
    "landed/...: your lines as they were delivered to us, also in earlier deliveries, under the names of their fields.",
    "protected/...: your lines as we work with them. What names you is a pseudonym there, or left out.",
    "consents: what you allowed or refused, when, and under which notice.",
    "Each comes twice: .json for programs, .csv for a spreadsheet. Texts are in UTF-8, times in UTC.",
)
MADE = (
    "Rows of nobody, and sums with noise, are made from data such as yours. They hold no line of yours, so there is "
    "nothing of them in this copy."
)
Counts = Mapping[str, Mapping[str, int]]  # rows by dataset and by part of the archive (`landed`, `protected`)


def about(
    organisation: Organisation, contracts: Mapping[str, Contract], counts: Counts, day: dt.date
) -> dict[str, bytes]:
    """Return the files `about.html` and `about.json` of a copy in which `counts` rows are, made on `day`.

    Spoken of are all contracts on persons: feeds without a row of this person, too, with 0.
    """
    activities = [Activity(contracts[name]) for name in sorted(contracts) if about_persons(contracts[name])]
    page = html(_document(organisation, activities, counts, day))
    facts_ = _facts(organisation, activities, counts, day)
    return {
        "about.html": page.encode(),
        "about.json": json.dumps(facts_, indent=2, ensure_ascii=False, sort_keys=True).encode() + b"\n",
    }


def _document(organisation: Organisation, activities: Sequence[Activity], counts: Counts, day: dt.date) -> Document:
    feeds = [activity for activity in activities if activity.contract.kind is Kind.FEED]
    made = [activity for activity in activities if activity.contract.kind is not Kind.FEED]
    return Document(
        title=TITLE,
        kicker=organisation.controller.name,
        lead=LEAD,
        sections=(
            who(organisation),
            Section("What is in this copy", (_held(feeds, counts), bullets(FILES)), "GDPR Art. 15(3), Art. 20(1)"),
            *(_use(activity) for activity in feeds),
            *([Section("What is made from data such as yours", (Text(MADE),))] if made else []),
            *(_use(activity) for activity in made),
            *(rights(name) for name in sorted(set(organisation.profiles))),
            ways(organisation, activities),
        ),
        day=day,
        foot="Made from the contracts that our data processing runs by. " + "; ".join(_clauses(organisation)) + ".",
    )


def _held(feeds: Sequence[Activity], counts: Counts) -> Table:
    rows = [
        (a.contract.description, *(f"{_count(counts, a.contract, part):,}" for part in ("landed", "protected")))
        for a in feeds
    ]
    return Table("Lines about you", ("Data", "as delivered", "as we work with them"), tuple(rows), numbers=2)


def _use(activity: Activity) -> Section:
    contract, stated = activity.contract, activity.stated
    kinds = [words.CLASSES[one] for one, _ in words.columns_by_class(contract)]
    said = facts(
        ("(a) Why", f"for {contract.purpose}"),
        ("(a) On which ground", words.joined([contract.legal_basis, *stated.legal_bases.values()], "; ")),
        ("(b) Kinds of data", words.joined(kinds, "; ")),
        ("(c) Who gets them", words.listed(stated.recipients, "nobody")),
        ("(d) How long we keep them", words.retention(contract)),
        ("(g) Where they come from", stated.origin or words.joined(contract.sources)),
        ("(h) Decisions by machines", stated.automated_decisions or words.NOT_STATED),
        ("Art. 15(2) Other countries", words.transfers(activity)),
        ("Sold or shared", stated.sale_or_sharing or words.NOT_STATED),
    )
    title = contract.description[:1].upper() + contract.description[1:]
    return Section(title, (said,), "GDPR Art. 15(1)", level=2)


def _facts(organisation: Organisation, activities: Sequence[Activity], counts: Counts, day: dt.date) -> dict[str, Any]:
    return {
        "apiVersion": "cloakhouse.subject-access/v1",
        "made_on": day.isoformat(),
        "clauses": _clauses(organisation),
        "controller": dict(organisation.controller.facts()),
        "data_protection_officer": dict(organisation.officer.facts()) if organisation.officer else None,
        "complaints_to": dict(organisation.authority.facts()) if organisation.authority else None,
        "ways_to_ask": list(organisation.requests),
        "processing": [_stated(activity, counts) for activity in activities],
        "rights": [
            {"clause": right.clause, "right": right.words}
            for name in sorted(set(organisation.profiles))
            for right in law(name).rights
        ],
        "files": list(FILES),
    }


def _stated(activity: Activity, counts: Counts) -> dict[str, Any]:
    contract, stated = activity.contract, activity.stated
    held = {part: _count(counts, contract, part) for part in ("landed", "protected")}
    return {
        "dataset": contract.name,
        "contract_version": contract.version,
        "kind": contract.kind.value,
        "description": contract.description,
        "rows": held if contract.kind is Kind.FEED else None,
        "purpose": contract.purpose,
        "consent": contract.rights.consent.purpose if contract.rights.consent else None,
        "legal_basis": contract.legal_basis,
        "legal_bases": dict(stated.legal_bases),
        "categories": {words.CLASSES[one]: names for one, names in words.columns_by_class(contract)},
        "recipients": None if stated.recipients is None else list(stated.recipients),
        "transfers": None if stated.transfers is None else [vars(one) for one in stated.transfers],
        "sale_or_sharing": stated.sale_or_sharing or None,
        "retention_days": dict(contract.retention_days),
        "origin": stated.origin or None,
        "made_from": list(contract.sources),
        "automated_decisions": stated.automated_decisions or None,
        "opt_out": stated.opt_out or None,
    }


def _clauses(organisation: Organisation) -> list[str]:
    return [CLAUSES[name] for name in LAWS if name in organisation.profiles]


def _count(counts: Counts, contract: Contract, part: str) -> int:
    return counts.get(contract.name, {}).get(part, 0)
