"""The signing keys at work, of fitted synthesizers, of releases and of the audit log's checkpoints: each made once,
recognised ever after by its fingerprint in the control database, so that a public key which somebody replaced beside
the lake is found out."""

from __future__ import annotations

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.signing import PublicKey, SigningKey, SigningKeys, master, public_key
from cloakhouse.lake.releases import SIGNER as RELEASES
from cloakhouse.lake.sealed import SIGNER as ARTIFACTS
from cloakhouse.ledger.audited_keys import service_of
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings

AUDIT = "audit"  # of checkpoints of the audit log
BACKUPS = "backups"  # of the manifests of backups
SIGNERS = (ARTIFACTS, RELEASES, AUDIT)


def signing_key(settings: Settings, name: str = ARTIFACTS) -> SigningKey:
    """Return the private key `name`, made at its first use. Raises IntegrityError for another one than the control
    database knows, KeyServiceError, AccessRefused, StorageError."""
    keys = SigningKeys(service_of(settings), settings.signing_keys)
    recorded = Catalogue(settings.database).record_key_fingerprint(master(name), keys.ensure(name).sha256)
    _compare(name, recorded, keys.public(name))
    return keys.private(name)


def trusted_key(settings: Settings, name: str = ARTIFACTS) -> PublicKey:
    """Return the public key that the signatures of `name` are verified with; the key service is not asked.

    Raises IntegrityError as `signing_key`.
    """
    found = public_key(settings.signing_keys, name)
    _compare(name, Catalogue(settings.database).key_fingerprint(master(name)), found)
    return found


def _compare(name: str, recorded: str | None, public: PublicKey) -> None:
    if recorded != public.sha256:
        known = f"the key with fingerprint {recorded[:16]}" if recorded else "a key that the control database knows"
        raise IntegrityError(
            where=f"signing key {name}",
            expected=known,
            found=f"another one ({public.fingerprint})",
            not_done="nothing was signed, and nothing that was signed was opened",
            remedy="restore `signing-keys`, the key service and the control database from backups of one moment",
            code="signing-key",
        )
