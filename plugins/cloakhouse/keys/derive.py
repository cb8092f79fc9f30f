"""Token keys: one per algorithm, domain and purpose, derived from one wrapped root.

key = HKDF-SHA256 (RFC 5869) of the 256-bit root, no salt, info =
`cloakhouse/token/1` | 0x00 | algorithm | 0x00 | domain | 0x00 | purpose, 32 bytes.
The names hold no 0x00, so different triples have different keys, and tokens of two purposes can't be joined.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.files import create_once, replacing
from cloakhouse.keys.protocol import TOKENS, KeyService, new_data_key
from cloakhouse.keys.secret import SecretKey

CONTEXT = {"use": "token root", "format": "1"}
LIFETIME_S = 300.0  # seconds that the root stays opened


class TokenKeys:
    """The token keys of one platform. The root is unwrapped on first use and stays in this process for `lifetime_s`."""

    def __init__(self, service: KeyService, root_file: Path, *, lifetime_s: float = LIFETIME_S) -> None:
        self._service = service
        self._file = root_file
        self._lifetime_s = lifetime_s
        self._root: tuple[float, SecretKey] | None = None

    def __repr__(self) -> str:
        return "TokenKeys()"

    def ensure_root(self) -> None:
        """Create the wrapped root if there is none. Of racing processes one wins and all use its root."""
        if not self._file.exists():
            create_once(self._file, _document(self._service.wrap(TOKENS, new_data_key(), CONTEXT)))

    def verify(self) -> None:
        """Return if the key service opens the root. Raises IntegrityError, KeyServiceError."""
        self._service.unwrap(TOKENS, self._wrapped(), CONTEXT)

    def rewrap(self) -> bool:
        """Wrap the root under the newest version of its master key; return whether there is a root.

        The root and so every token stay as they are. Raises IntegrityError, KeyServiceError, StorageError.
        """
        if not self._file.exists():
            return False
        root = self._service.unwrap(TOKENS, self._wrapped(), CONTEXT)
        with replacing(self._file) as stream:
            stream.write(_document(self._service.wrap(TOKENS, root, CONTEXT)))
        return True

    def key(self, algorithm: str, domain: str, purpose: str) -> SecretKey:
        """Return the 256-bit key for (algorithm, domain, purpose). Raises IntegrityError, KeyServiceError."""
        if self._root is None or time.monotonic() > self._root[0]:
            self._root = None
            opened = self._service.unwrap(TOKENS, self._wrapped(), CONTEXT)
            self._root = time.monotonic() + self._lifetime_s, opened
        info = b"\0".join(part.encode() for part in ("cloakhouse/token/1", algorithm, domain, purpose))
        return SecretKey(HKDF(SHA256(), 32, None, info).derive(self._root[1].reveal()))

    def _wrapped(self) -> bytes:
        try:
            return base64.b64decode(json.loads(self._file.read_text())["wrapped"], validate=True)
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise IntegrityError(
                where=self._file.name,
                expected="the wrapped root of the token keys",
                found=f"no such file, or a damaged one ({type(fault).__name__})",
                not_done="no token was made: a new root would give every customer another token",
                remedy="restore the file from the backup of CLOAKHOUSE_HOME",
            ) from None


def _document(wrapped: bytes) -> bytes:
    return json.dumps({"format": 1, "key": TOKENS, "wrapped": base64.b64encode(wrapped).decode()}, indent=1).encode()
