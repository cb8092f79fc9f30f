"""Roots of token keys at work: made once, recognised ever after.

A root that is lost or another one in its place would silently give every customer another token, so the control
database keeps a fingerprint of each from its first use on.
"""

from __future__ import annotations

from collections.abc import Iterable

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import IntegrityError, NotFound
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.protocol import KeyName
from cloakhouse.ledger.audited_keys import service_of
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.tokens.apply import uses


def token_keys(settings: Settings) -> TokenKeys:
    """Return the token keys of an installation, as its principal and purpose see them."""
    return TokenKeys(service_of(settings), settings.token_roots)


def roots_of(contract: Contract) -> list[KeyName]:
    """Return the roots that the treatments of `contract` need, in order."""
    return sorted({use.root for column in contract.kept_columns for use in uses(column, "")})


def ensure_roots(settings: Settings, names: Iterable[KeyName]) -> None:
    """Make the roots that were never used, and compare the others with their record.

    Killed anywhere, the next call goes on. Raises IntegrityError (`integrity.token-root`) for a root that is lost,
    damaged or another one; KeyServiceError, AccessRefused, StorageError.
    """
    catalogue, keys = Catalogue(settings.database), token_keys(settings)
    for name in names:
        if catalogue.key_fingerprint(name) is None:
            keys.create(name)
        found = keys.fingerprint(name)
        _compare(name, found, catalogue.record_key_fingerprint(name, found))


def recognised_keys(settings: Settings, names: Iterable[KeyName]) -> TokenKeys:
    """Return the token keys for principals, who make no root, once each of `names` was compared with its record.

    Raises NotFound for a root that no token was ever made with, else as `ensure_roots`.
    """
    catalogue, keys = Catalogue(settings.database), token_keys(settings)
    for name in names:
        recorded = catalogue.key_fingerprint(name)
        if recorded is None:
            raise NotFound(
                where=f"token root {name}",
                expected="a root that tokens were made with",
                found="none in the control database",
                not_done="no token was opened",
                remedy="check CLOAKHOUSE_DATABASE; a root is made when the first dataset that needs it is protected",
            )
        _compare(name, keys.fingerprint(name), recorded)
    return keys


def _compare(name: KeyName, found: str, recorded: str) -> None:
    if recorded != found:
        raise IntegrityError(
            where=f"token root {name}",
            expected=f"the root with fingerprint {recorded}, which tokens were made with",
            found=f"another one ({found})",
            not_done="no token was made or opened: they would be other ones than those in the lake",
            remedy="restore `token-roots` and the key service from backups of one moment",
            code="token-root",
        )
