"""Which log it is: the origin under which entries are exported and forwarded."""

from __future__ import annotations

from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.signing import master, public_key
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.checkpoints import origin_of as origin_of_key
from cloakhouse.settings import Settings
from cloakhouse.stages.signing import AUDIT, signing_key

UNSIGNED = "cloakhouse/unsigned"


def origin_of(settings: Settings) -> str:
    """Return the origin of the installation's log as its checkpoints name it; `cloakhouse/unsigned` before the signing
    key was made, or when the public key can't be read. The key service is not asked."""
    try:
        return origin_of_key(public_key(settings.signing_keys, AUDIT))
    except CloakhouseError:
        return UNSIGNED


def settle(settings: Settings) -> None:
    """Make the key that checkpoints are signed with, if there never was one: what is sent before the first checkpoint
    has then the origin of all that follows.

    Raises KeyServiceError, AccessRefused, StorageError.
    """
    if any(settings.signing_keys.glob(f"{AUDIT}.*")) or Catalogue(settings.database).key_fingerprint(master(AUDIT)):
        return  # one that was lost is for `audit verify` to tell, not to make anew
    signing_key(settings, AUDIT)
