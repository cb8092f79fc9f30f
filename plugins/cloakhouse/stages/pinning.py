"""What a run is pinned to: the persons who allowed its purpose as of a time, and those who were erased until then.

    "rights": {"consent": "<SHA-256>", "purpose": "analytics", "as_of": "...", "persons": "<SHA-256>", "erased": "..."}

1. `pin`, when a run is planned: a snapshot of the consent register where the contract asks for a consent, and a digest
   of all tombstones. The request holds both;
2. `persons_of`, when it begins (`sieve_lists`): refused for a snapshot that is older than the contract allows or was
   shed, and when somebody was erased since, or an erasure was called off: the run is planned anew. Who is read is
   compared. A request without rights is one from before runs were pinned, or no plan's: nobody may be erased then;
3. `require_unchanged`, before what came of it is published.

Where no row of a run is of a person, there is nothing to pin.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Contract, content_digest
from cloakhouse.errors import StageError
from cloakhouse.ledger.consent_snapshots import ConsentSnapshots
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.settings import Settings
from cloakhouse.stages.consent import allowed_persons, require_fresh
from cloakhouse.stages.consent import pin as pin_consent
from cloakhouse.stages.restored import require_open_for_runs
from cloakhouse.stages.sieve import Persons
from cloakhouse.tokens.subjects import RIGHTS_TYPE

NOBODY = hashlib.sha256().hexdigest()  # digest of no tombstones


@dataclass(frozen=True)
class Pinned:
    """Consents and erasures that a run goes by; all empty where its rows are of no person.

    Attributes:
        consent: digest of the snapshot, empty where the contract asks for no consent; `purpose` and `as_of` (UTC,
            ISO 8601) are its.
        persons: digest of who is on the snapshot's list: a later snapshot of the same persons has the same.
        erased: digest of all tombstones.
    """

    consent: str = ""
    purpose: str = ""
    as_of: str = ""
    persons: str = ""
    erased: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Pinned:
        """Return what the manifest of a request or a run holds; one without rights is pinned to nothing."""
        return cls(**content.get("rights", {}))

    def as_dict(self) -> dict[str, str]:
        """Return it for a manifest, under `rights`."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """Digest of all of it, as the catalogue keeps it; empty where nothing is pinned."""
        return content_digest(self.as_dict()) if self.erased else ""

    def in_card(self) -> dict[str, dict[str, str]]:
        """Return what the card of a dataset tells of it: which consents it stands on, where any were asked for."""
        if not self.consent:
            return {}
        return {"consents": {"snapshot": self.consent, "purpose": self.purpose, "as_of": self.as_of}}

    @property
    def made_from(self) -> list[str]:
        """What a derived dataset follows from, for its fingerprint: the same persons again make the same."""
        return [self.purpose, self.persons, self.erased]


def pin(settings: Settings, contract: Contract, contracts: Mapping[str, Contract]) -> Pinned:
    """Return what a run of `contract` now goes by: a feed, or what is derived from feeds.

    Raises StorageError, KeyServiceError, IntegrityError, AccessRefused (`access.restored`).
    """
    if not _of_persons(contract, contracts):
        return Pinned()
    require_open_for_runs(settings)
    erased = Tombstones(settings.database).digest()
    consent = contract.rights.consent
    if consent is None:
        return Pinned(erased=erased)
    snapshot = pin_consent(settings, consent.purpose)
    persons = _digest(allowed_persons(settings, snapshot.sha256))
    return Pinned(snapshot.sha256, consent.purpose, snapshot.as_of.isoformat(), persons, erased)


def persons_of(settings: Settings, contract: Contract, contracts: Mapping[str, Contract], pinned: Pinned) -> Persons:
    """Return who may pass, once it is sure that this is still what was pinned: for a feed, or what is derived from
    feeds, which are among `contracts`.

    Raises StageError: `stage.consent-stale` and `stage.consent-purpose` as `require_fresh`, `stage.overtaken` for a
    snapshot that isn't there any more, and when tombstones came or went; then the run is to be planned anew.
    """
    if not pinned.erased and not _of_persons(contract, contracts):
        return Persons.passing(None, pa.array([], RIGHTS_TYPE))
    erased = Tombstones(settings.database).persons()
    if _digest(erased) != (pinned.erased or NOBODY):
        raise _overtaken(contract, "the erasures that it was planned with", "others: a request came, or was called off")
    consent = contract.rights.consent
    if (consent is None) != (pinned.consent == ""):
        raise _overtaken(contract, "the consents that the contract asks for", "others")
    if consent is None:
        return Persons.passing(None, erased)
    snapshot = ConsentSnapshots(settings.database).get(pinned.consent)
    if snapshot is None:
        raise _overtaken(contract, "the snapshot of consents that it was planned with", "none: it was shed")
    require_fresh(snapshot, consent, dt.datetime.now(dt.UTC))
    allowed = allowed_persons(settings, pinned.consent)
    if _digest(allowed) != pinned.persons:
        raise _overtaken(contract, "the persons who were pinned", "others: somebody was erased since")
    return Persons.passing(allowed, erased)


def require_unchanged(
    settings: Settings, contract: Contract, contracts: Mapping[str, Contract], pinned: Pinned
) -> None:
    """Return if nobody was erased since what is going to be published was pinned. Raises StageError (`overtaken`).

    Where rows are of persons and nothing is pinned, as in manifests from before runs were, it counts as pinned when
    nobody was erased: the first tombstone stops it.
    """
    if not pinned.erased and not _of_persons(contract, contracts):
        return
    if Tombstones(settings.database).digest() != (pinned.erased or NOBODY):
        raise _overtaken(contract, "the erasures that it was made with", "others: a request came, or was called off")


def _of_persons(contract: Contract, contracts: Mapping[str, Contract]) -> bool:
    names = contract.sources or [contract.name]
    return any(contracts[name].rights.subject is not None for name in names if name in contracts)


def _digest(persons: pa.Array) -> str:
    """Return the SHA-256 of rights tokens in their order, as `Tombstones.digest` takes it."""
    data = persons.buffers()[1]
    width = persons.type.byte_width
    whole = memoryview(data)[width * persons.offset :][: width * len(persons)] if data is not None else b""
    return hashlib.sha256(whole).hexdigest()


def _overtaken(contract: Contract, expected: str, found: str) -> StageError:
    return StageError(
        where=f"a run of {contract.name}",
        expected=expected,
        found=found,
        not_done="no row was read or written",
        remedy="run the DAG again: it plans with what holds now",
        code="overtaken",
    )
