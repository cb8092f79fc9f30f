"""Changes to who may open what, carried through to what is wrapped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cloakhouse.errors import CloakhouseError, ConfigurationError, KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.identity import check_principal, check_recipient
from cloakhouse.keys.protocol import Grant, KeyName, KeyState, new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.service import service_of as plain_service_of
from cloakhouse.keys.shares import Shares
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import changing, event
from cloakhouse.stages.rotation import settle


def enrol(
    settings: Settings, principal: str, *, identity: Path | None = None, recipient: str | None = None, reason: str = ""
) -> str:
    """Make `principal` known to the age keystore and return its recipient; see `AgeKeyService.enrol`.

    Raises ConfigurationError for a key service with principals of its own, KeyServiceError, AccessRefused,
    StorageError.
    """
    service = plain_service_of(settings)  # the protocol of key services knows no enrolment
    if not isinstance(service, AgeKeyService):
        raise ConfigurationError(
            where="CLOAKHOUSE_KEYS",
            expected="the age keystore",
            found="a key service with principals of its own",
            not_done="nobody was enrolled",
            remedy="make the principal there (an IAM role, a Vault policy), then grant keys to it",
        )
    check_principal(principal)
    facts = {} if recipient is None else {"recipient": check_recipient(recipient)}
    with changing(settings, event(settings, Action.ENROL, principal, count=1, reason=reason, facts=facts)):
        return service.enrol(principal, identity=identity, recipient=recipient)


def revoke_grants(settings: Settings, grants: Iterable[Grant], reason: str = "") -> None:
    """Withdraw `grants` and wrap anew what a service then holds under a newer version; every process is told.

    All are withdrawn before anything is wrapped, and one that can't be keeps no other in force: what refused the first
    is raised at the end. Raises KeyServiceError (`key.missing` for a grant that isn't there), AccessRefused,
    StorageError.
    """
    ring = open_ring(settings, reason)
    refused: list[CloakhouseError] = []
    revoked: dict[KeyName, None] = {}
    for grant in grants:
        try:
            ring.service.revoke(grant)
            revoked[grant.name] = None
        except CloakhouseError as problem:
            refused.append(problem)
    if revoked:
        ring.announce()
    for name in revoked:
        if ring.service.describe(name).state is KeyState.ENABLED:
            _renew(settings, ring, name)
    if refused:
        raise refused[0]


def _renew(settings: Settings, ring: KeyRing, name: KeyName) -> None:
    """Give each dataset key under `name` a version that whoever lost a grant never opened."""
    before = {file.key: file.newest for file in ring.all() if file.key.master == name}
    settle(settings, ring, name)  # which does it, where the service added a version to the master key
    for file in ring.all():
        if file.state is KeyState.ENABLED and before.get(file.key) == file.newest:
            ring.rotate(file.key)


def shred_class(settings: Settings, name: str, reason: str = "") -> list[str]:
    """Destroy master key `name`; return it and the dataset keys that can't be opened any more.

    Raises KeyServiceError: `key.missing`, and `key.not-shredded` when the service still wrapped under it.
    """
    ring, key = open_ring(settings, reason), KeyName(name)
    ring.service.destroy(key)
    Shares(settings.key_shares).remove_class(key)  # copies of dataset keys, which the class takes with it
    ring.announce()
    beneath = [file.key for file in ring.all() if file.key.master == key]
    fresh = open_ring(settings)
    for dataset_key in (None, *beneath):
        try:
            if dataset_key is None:
                fresh.service.wrap(key, new_data_key(), {})
            else:
                fresh.require([dataset_key])
        except KeyServiceError as refused:
            if refused.code == "key.destroyed":
                continue
        raise KeyServiceError(
            where=f"master key {name}",
            expected="a refusal: the key is destroyed",
            found="another answer of the key service",
            not_done="the class is not proved to be shredded",
            remedy="look at the key at the service itself, then run the command again",
            code="not-shredded",
        )
    return [name, *(k.name for k in beneath)]
