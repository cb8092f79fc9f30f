"""Whom the rows of a feed are about, what those persons must allow, where consents are registered, and where data stay.

    - property: subject
      value:
        column: household_id          # names the person; under the treatment `token`, of one domain in all feeds
        also: [loyalty_card, email]   # other columns that name the same person, of the customer master
        register:                     # the customer master alone: columns that hold choices
          purposes: {analytics: consent_analytics, sharing: consent_sharing}
          jurisdiction: country
          policy: "2016-01"
    - property: consent               # of feeds, synthetic datasets and aggregates
      value: {purpose: analytics, maxAgeDays: 2, withdrawWithinDays: 30}
    - property: residency
      value: {landing: [eu-central-1], protected: [eu-central-1]}

Source: GDPR Art. 4(11), 6(1)(a), 7(3) (consent, withdrawal), 21 (objection), 44 (transfers).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloakhouse.contracts.fields import Fields  # which takes YAML; clients import this module without it
    from cloakhouse.contracts.source import Path, Source

PURPOSES = ("analytics", "personalisation", "synthetic", "sharing")
RESIDENT_ZONES = ("landing", "quarantine", "protected", "views", "synthetic", "aggregates")
MOST_DAYS = 3650
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,62}")
_POLICY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Register:
    """Where the customer master holds choices.

    Attributes:
        purposes: boolean column by purpose (PURPOSES).
        jurisdiction: column of the country (ISO 3166-1, two letters) whose law applies to the person.
        policy: version of the notice under which the choices of this feed were made.
    """

    purposes: Mapping[str, str]
    jurisdiction: str
    policy: str


@dataclass(frozen=True)
class Subject:
    """Whom the rows of a feed are about.

    Attributes:
        column: names the person; the same domain of tokens in every feed.
        also: other columns that name the same person; the customer master alone has them.
        register: None but for the customer master.
    """

    column: str
    also: tuple[str, ...] = ()
    register: Register | None = None


@dataclass(frozen=True)
class Consent:
    """What persons must allow before their rows are used.

    Attributes:
        purpose: of the register, one of PURPOSES.
        max_age_days: oldest snapshot of the register that a run may use (days).
        withdraw_within_days: days after a withdrawal within which no version may hold the person any more.
    """

    purpose: str
    max_age_days: int
    withdraw_within_days: int


@dataclass(frozen=True)
class Rights:
    """What a contract declares for the persons behind its rows; each part is None or empty where it doesn't."""

    subject: Subject | None = None
    consent: Consent | None = None
    residency: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_rights(source: Source, properties: Mapping[str, Path]) -> Rights:
    """Return the checked `subject`, `consent` and `residency` of a contract. Raises ContractError."""
    from cloakhouse.contracts.fields import Fields

    given = {name: Fields(source, node) for name, node in properties.items() if name in ("subject", "consent")}
    subject = _subject(given["subject"]) if "subject" in given else None
    consent = _consent(given["consent"]) if "consent" in given else None
    residency = _residency(Fields(source, properties["residency"])) if "residency" in properties else {}
    return Rights(subject, consent, residency)


def _subject(fields: Fields) -> Subject:
    column = fields.text("column", _COLUMN, "the name of a column")
    also = fields.names("also") if "also" in fields.data else ()
    register = None
    if "register" in fields.data:
        inner = fields.child("register")
        named = inner.child("purposes")
        purposes = {
            purpose: named.text(purpose, _COLUMN, "the name of a column")
            for purpose in named.data
            if purpose in PURPOSES
        }
        named.nothing_else(*PURPOSES)
        register = Register(
            purposes,
            inner.text("jurisdiction", _COLUMN, "the name of a column"),
            inner.text("policy", _POLICY, "a version of letters, digits, `.`, `_` and `-`"),
        )
        inner.nothing_else()
    fields.nothing_else()
    return Subject(column, also, register)


def _consent(fields: Fields) -> Consent:
    consent = Consent(
        fields.choice("purpose", PURPOSES),
        fields.whole("maxAgeDays", 0, MOST_DAYS),
        fields.whole("withdrawWithinDays", 1, MOST_DAYS),
    )
    fields.nothing_else()
    return consent


def _residency(fields: Fields) -> dict[str, tuple[str, ...]]:
    found = {}
    for zone in [zone for zone in RESIDENT_ZONES if zone in fields.data]:
        found[zone] = fields.names(zone)
        if not all(_REGION.fullmatch(region) for region in found[zone]):
            raise fields.fault(zone, "names of regions such as eu-central-1", "another text", "correct the region")
    fields.nothing_else(*RESIDENT_ZONES)
    return found
