"""Changes to who may open what, carried through to what is wrapped."""

from __future__ import annotations

from collections.abc import Iterable

from cloakhouse.errors import CloakhouseError, KeyServiceError
from cloakhouse.keys.protocol import Grant, KeyName, KeyState, new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.service import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.rotation import settle


def revoke_grants(settings: Settings, grants: Iterable[Grant]) -> None:
    """Withdraw `grants` and wrap anew what a service then holds under a newer version; every process is told.

    All are withdrawn before anything is wrapped, and one that can't be keeps no other in force: what refused the first
    is raised at the end. Raises KeyServiceError (`key.missing` for a grant that isn't there), AccessRefused,
    StorageError.
    """
    ring = open_ring(settings)
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


def shred_class(settings: Settings, name: str) -> list[str]:
    """Destroy master key `name`; return it and the dataset keys that can't be opened any more.

    Raises KeyServiceError: `key.missing`, and `key.not-shredded` when the service still wrapped under it.
    """
    ring, key = open_ring(settings), KeyName(name)
    ring.service.destroy(key)
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
