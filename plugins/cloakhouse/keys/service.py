"""From a configuration URI to a key service, and from an installation's settings to its key ring."""

from __future__ import annotations

from pathlib import Path

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.age import OPERATIONS, AgeKeyService
from cloakhouse.keys.protocol import KeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.settings import Settings

FORMS = (
    "age:FOLDER",
    "aws-kms:alias/PREFIX?region=REGION",
    "bao:https://HOST:8200/transit?ca=FILE&token-file=FILE",
    "pkcs11:token=LABEL?module-path=FILE&pin-source=file:FILE",
)


def open_key_service(uri: str, identity: Path | None = None, purpose: str = OPERATIONS) -> KeyService:
    """Return the key service that `uri` names; see FORMS. Nothing is connected yet.

    `identity` and `purpose` say who asks and what for; services with accounts of their own know who asks by
    those. Raises ConfigurationError for another scheme or form.
    """
    scheme, _, rest = uri.partition(":")
    if scheme == "age" and rest:
        return AgeKeyService(Path(rest), identity, purpose)
    if scheme == "aws-kms":
        from cloakhouse.keys.aws_kms import AwsKmsService

        return AwsKmsService.from_uri(uri)
    if scheme in ("bao", "vault"):
        from cloakhouse.keys.openbao import OpenBaoService

        return OpenBaoService.from_uri(uri)
    if scheme == "pkcs11":
        from cloakhouse.keys.pkcs11 import Pkcs11Service

        return Pkcs11Service.from_uri(uri)
    raise ConfigurationError(
        where="CLOAKHOUSE_KEYS",
        expected="a key service URI: " + ", ".join(FORMS),
        found=f"the scheme `{scheme}`" if scheme else "none",
        not_done="no key was opened",
        remedy="correct CLOAKHOUSE_KEYS",
    )


def service_of(settings: Settings) -> KeyService:
    """Return the key service of an installation, as its principal and purpose see it."""
    return open_key_service(settings.keys, settings.identity, settings.purpose)


def open_ring(settings: Settings) -> KeyRing:
    """Return the dataset keys of an installation. Raises ConfigurationError."""
    return KeyRing(service_of(settings), settings.dataset_keys)
