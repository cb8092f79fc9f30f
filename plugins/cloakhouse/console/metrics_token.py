"""The token of the metrics: 256 bits, shown once; the installation keeps its SHA-256 in `metrics-token`, mode 0600.

A hash without salt is enough for a secret that a program chose: 2^256 can't be tried.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from cloakhouse.errors import StorageError
from cloakhouse.keys.files import replacing, storage_error
from cloakhouse.settings import Settings

BYTES = 32


def make_token(settings: Settings) -> str:
    """Return a new token, which is the one that holds from now on. Raises StorageError."""
    token, path = secrets.token_urlsafe(BYTES), _path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path) as stream:
            stream.write(_digest(token).encode() + b"\n")
    except OSError as fault:
        raise storage_error(fault, path, "no token was made") from None
    return token


def drop_token(settings: Settings) -> bool:
    """Have no token hold; return whether one did. Raises StorageError."""
    path = _path(settings)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as fault:
        raise storage_error(fault, path, "the token holds as before") from None
    return True


def holds(settings: Settings, token: str) -> bool:
    """Return whether `token` is the one; no token is while none was made. Raises StorageError."""
    path = _path(settings)
    try:
        kept = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError):
        raise StorageError(
            where=path.name,
            expected="the digest of a token",
            found="a file that can't be read",
            not_done="nothing was shown",
            remedy="make a new token: `cloakhouse metrics token`",
        ) from None
    return len(kept) == 64 and hmac.compare_digest(kept, _digest(token))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _path(settings: Settings) -> Path:
    return settings.home / "metrics-token"
