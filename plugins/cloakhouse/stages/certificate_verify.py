"""Verifies a certificate of an erasure, offline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cloakhouse.keys.signing import PublicKey


@dataclass(frozen=True)
class VerifiedCertificate:
    """What a verified certificate says. `content` is JSON-ready; `logged` tells whether its entry of the log is proved."""

    content: dict[str, Any]
    logged: bool


def verify(text: bytes, key: PublicKey, log_key: PublicKey | None = None) -> VerifiedCertificate:
    """Return the certificate in `text`, which `key` signed. Raises IntegrityError."""
    raise NotImplementedError
