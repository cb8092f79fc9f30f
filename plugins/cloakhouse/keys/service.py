"""From a configuration URI to a key service."""

from __future__ import annotations

from pathlib import Path

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.local import LocalKeyService
from cloakhouse.keys.protocol import KeyService


def open_key_service(uri: str) -> KeyService:
    """Return the key service that `uri` names: `local:FOLDER`. Raises ConfigurationError for another scheme."""
    scheme, _, rest = uri.partition(":")
    if scheme == "local" and rest:
        return LocalKeyService(Path(rest))
    raise ConfigurationError(
        where="CLOAKHOUSE_KEYS",
        expected="a key service URI: local:FOLDER",
        found=f"the scheme `{scheme}`",
        not_done="no key was opened",
        remedy="correct CLOAKHOUSE_KEYS",
    )
