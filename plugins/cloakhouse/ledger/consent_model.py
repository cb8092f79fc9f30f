"""What the consent register holds: choices of persons, who are named by rights token alone, and snapshots of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa

from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.tokens.subjects import RIGHTS_TYPE

GRANTED, REFUSED, TOLD = "granted", "refused", "told"
CHOICES = (REFUSED, TOLD, GRANTED)  # of choices at one instant the first counts
API, FILE, GPC = "api", "file", "gpc"
DIRECT = (API, FILE, GPC)  # sources in which the person speaks; any other is the customer master, by its name
UTC_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("subject", RIGHTS_TYPE),
        ("purpose", pa.string()),  # see cloakhouse.contracts.subject.PURPOSES
        ("choice", pa.string()),  # `told`: was told of the purpose, and made no choice
        ("jurisdiction", pa.string()),  # a profile of cloakhouse.contracts.jurisdictions
        ("policy", pa.string()),  # version of the notice
        ("source", pa.string()),
        ("chosen_at", UTC_TIME),
    ]
)


@dataclass(frozen=True)
class ConsentRecord:
    """One choice of one person.

    Attributes:
        subject: rights token (16 bytes).
        purpose, choice, jurisdiction, policy, source: see SCHEMA.
        chosen_at: when the person chose, UTC; of the customer master, the day that the snapshot shows.
        recorded_at: when the register took it in, UTC.
    """

    subject: bytes
    purpose: str
    choice: str
    jurisdiction: str
    policy: str
    source: str
    chosen_at: dt.datetime
    recorded_at: dt.datetime


@dataclass(frozen=True)
class Snapshot:
    """The persons who allow a purpose as of a time, pinned for runs.

    Attributes:
        sha256: of purpose, time and the persons (hex); runs name the snapshot by it.
        purpose: what they allow.
        as_of: choices up to then count, UTC.
        subjects: persons with a record for the purpose, then.
        allowed: those of them who allowed it, then; an erasure since may have taken some from the list.
        manifest: of the list of these persons, encrypted, below `rights/consents` in the lake.
    """

    sha256: str
    purpose: str
    as_of: dt.datetime
    subjects: int
    allowed: int
    manifest: ManifestRef

    def as_dict(self) -> dict[str, str | int]:
        """Return what may be shown of it."""
        return {
            "sha256": self.sha256,
            "purpose": self.purpose,
            "as_of": self.as_of.isoformat(),
            "subjects": self.subjects,
            "allowed": self.allowed,
        }
