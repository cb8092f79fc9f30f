"""The `processing` of a contract: whom the data are about, who gets them, and what else the law has a controller write.

Optional, and so is each key: what is not stated is unknown, which is not the same as `none` or an empty list. What a
law asks for is for `cloakhouse.governance` to say.

    - property: processing
      value:
        dataSubjects: [holders of a loyalty card]
        recipients: [model teams, analysts]
        transfers: [{country: US, safeguard: "standard contractual clauses, GDPR Art. 46(2)(c)"}]
        optOut: at the till, or by e-mail to privacy@example.org
        automatedDecisions: none
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloakhouse.contracts.fields import Fields  # which takes YAML; clients import this module without it
    from cloakhouse.contracts.source import Path, Source

NONE = "none"
LAWS = ("gdpr", "ccpa", "lgpd", "pipl")
SPECIAL = (  # GDPR Art. 9(1)
    "racial or ethnic origin",
    "political opinions",
    "religious or philosophical beliefs",
    "trade union membership",
    "genetic data",
    "biometric data",
    "health",
    "sex life or sexual orientation",
)
ASSESSMENTS = ("required", "not required")
LONGEST = 1_000  # characters of a text
MOST = 100  # items of a list
_COUNTRY = re.compile(r"[A-Z]{2}")


@dataclass(frozen=True)
class Transfer:
    """A transfer to another country.

    Attributes:
        country: ISO 3166-1, two letters.
        safeguard: on what ground it is allowed there; empty where none is stated.
    """

    country: str
    safeguard: str = ""


@dataclass(frozen=True)
class Processing:
    """What a contract states of the processing. None and the empty text: it doesn't state it.

    Attributes:
        data_subjects: categories of the persons that the data are about.
        recipients: categories of recipients; empty for none.
        transfers: to other countries; empty for none.
        origin: where the data come from, if not from the persons themselves.
        legitimate_interest: which one, where that is the legal basis.
        legal_bases: legal basis by law (LAWS), where it isn't that of `legalBasis`.
        opt_out: how a person objects, opts out or takes a consent back.
        sale_or_sharing: to whom the data are sold, or given for advertising across contexts; `none`.
        automated_decisions: what is decided on persons by machines alone, by what logic, with what effect; `none`.
        special_categories: of SPECIAL; empty for none.
        special_condition: on what ground they are processed.
        minors: whose data of children are in it, and how they are treated; `none`.
        impact_assessment: `required` or `not required`.
    """

    data_subjects: tuple[str, ...] = ()
    recipients: tuple[str, ...] | None = None
    transfers: tuple[Transfer, ...] | None = None
    origin: str = ""
    legitimate_interest: str = ""
    legal_bases: Mapping[str, str] = field(default_factory=dict)
    opt_out: str = ""
    sale_or_sharing: str = ""
    automated_decisions: str = ""
    special_categories: tuple[str, ...] | None = None
    special_condition: str = ""
    minors: str = ""
    impact_assessment: str = ""


def read_processing(source: Source, properties: Mapping[str, Path]) -> Processing | None:
    """Return the checked `processing` of a contract, None without one. Raises ContractError."""
    if "processing" not in properties:
        return None
    from cloakhouse.contracts.fields import Fields

    fields = Fields(source, properties["processing"])
    special = _texts(fields, "specialCategories")
    if not set(special or ()) <= set(SPECIAL):
        raise fields.fault("specialCategories", "of: " + ", ".join(SPECIAL), "another", "correct `specialCategories`")
    stated = Processing(
        data_subjects=_texts(fields, "dataSubjects") or (),
        recipients=_texts(fields, "recipients"),
        transfers=_transfers(source, fields, properties["processing"]),
        origin=_text(fields, "origin"),
        legitimate_interest=_text(fields, "legitimateInterest"),
        legal_bases=_legal_bases(fields),
        opt_out=_text(fields, "optOut"),
        sale_or_sharing=_text(fields, "saleOrSharing"),
        automated_decisions=_text(fields, "automatedDecisions"),
        special_categories=special,
        special_condition=_text(fields, "specialCondition"),
        minors=_text(fields, "minors"),
        impact_assessment=fields.choice("impactAssessment", ASSESSMENTS) if "impactAssessment" in fields.data else "",
    )
    fields.nothing_else(*_KEYS)
    return stated


_KEYS = (
    *("dataSubjects", "recipients", "transfers", "origin", "legitimateInterest", "legalBases", "optOut"),
    *("saleOrSharing", "automatedDecisions", "specialCategories", "specialCondition", "minors", "impactAssessment"),
)


def _text(fields: Fields, key: str) -> str:
    if key not in fields.data:
        return ""
    value = fields.text(key)
    if not value.isprintable() or len(value) > LONGEST:
        raise fields.fault(key, f"one line of at most {LONGEST} printable characters", "another", f"correct `{key}`")
    return value


def _texts(fields: Fields, key: str) -> tuple[str, ...] | None:
    """Return the list of distinct texts at `key`, which may be empty; None where it is not stated."""
    if key not in fields.data:
        return None
    if fields.data[key] == []:
        return ()
    values = fields.names(key)
    if len(values) > MOST or not all(v.strip() and v.isprintable() and len(v) <= LONGEST for v in values):
        expected = f"at most {MOST} lines of at most {LONGEST} printable characters"
        raise fields.fault(key, expected, "others", f"correct `{key}`")
    return values


def _transfers(source: Source, fields: Fields, path: Path) -> tuple[Transfer, ...] | None:
    items = fields.data.get("transfers")
    if "transfers" not in fields.data:
        return None
    if not isinstance(items, list) or len(items) > MOST:
        expected = f"a list of at most {MOST} transfers; [] for none"
        raise fields.fault("transfers", expected, type(items).__name__, "e.g. [{country: US, safeguard: ...}]")
    found = []
    for index in range(len(items)):
        item = type(fields)(source, (*path, "transfers", index))
        country = item.text("country", _COUNTRY, "a country by its two letters of ISO 3166-1")
        found.append(Transfer(country, _text(item, "safeguard")))
        item.nothing_else("safeguard")
    return tuple(found)


def _legal_bases(fields: Fields) -> dict[str, str]:
    if "legalBases" not in fields.data:
        return {}
    table = fields.child("legalBases")
    bases = {law: _text(table, law) for law in LAWS if law in table.data}
    table.nothing_else(*LAWS)
    return bases
