"""Token keys: one per algorithm, domain, purpose and period, derived from roots that the key service wraps.

| root | master key | what follows from it | whom a grant on it makes |
| --- | --- | --- | --- |
| one-way | `tokens/root` | pseudonyms of a domain, substitutes, buckets, noise | one who tokenizes |
| of a purpose | `purposes/<purpose>` | the outer layer of the purpose's tokens | one who tokenizes, or links |
| reversible | `reversible/<purpose>` | AES-SIV and FF1 tokens of the purpose | one who tokenizes and detokenizes |

key = HKDF-SHA256 (RFC 5869) of the 256-bit root, no salt, info =
`cloakhouse/token/2` | 0x00 | algorithm | 0x00 | domain | 0x00 | purpose | 0x00 | period, 32 bytes (AES-SIV: 64).
No name holds 0x00, so different uses have different keys: tokens of two purposes or periods can't be joined.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.copied import refuse_in_copy
from cloakhouse.keys.files import create_once, listed, replacing
from cloakhouse.keys.protocol import TOKENS, KeyName, KeyService, new_data_key
from cloakhouse.keys.secret import SecretKey

CONTEXT = {"use": "token root", "format": "2"}
LIFETIME_S = 300.0  # seconds that a root stays opened
CMAC, SIV, FF1 = "AES-256-CMAC", "AES-256-SIV", "FF1"
_ROOTS = ("tokens/", "purposes/", "reversible/")


def purpose_root(purpose: str) -> KeyName:
    """Return the master key of the tokens of `purpose`: who may use it can link them to another purpose's."""
    return KeyName(f"purposes/{purpose}")


def reversible_root(purpose: str) -> KeyName:
    """Return the master key of the reversible tokens of `purpose`: who may use it can detokenize."""
    return KeyName(f"reversible/{purpose}")


def is_token_root(name: str) -> bool:
    """Tell whether a master key wraps a root of token keys, and not keys of data."""
    return name.startswith(_ROOTS)


@dataclass(frozen=True, order=True)
class KeyUse:
    """What one token key is for. `purpose` is empty for the pseudonyms of a domain, `period` where there is none."""

    root: KeyName
    algorithm: str
    domain: str
    purpose: str = ""
    period: str = ""

    @property
    def length(self) -> int:
        """Length of the key (bytes)."""
        return 64 if self.algorithm == SIV else 32

    @classmethod
    def pseudonym(cls, domain: str) -> KeyUse:
        """Return the use for the pseudonyms of a domain, the inner layer of its tokens."""
        return cls(TOKENS, CMAC, domain)

    @classmethod
    def layer(cls, domain: str, purpose: str, period: str = "") -> KeyUse:
        """Return the use for the outer layer of the tokens of (domain, purpose, period)."""
        return cls(purpose_root(purpose), CMAC, domain, purpose, period)

    @classmethod
    def one_way(cls, algorithm: str, domain: str, purpose: str, period: str = "") -> KeyUse:
        """Return the use for a keyed treatment that nothing undoes, such as `bucket`."""
        return cls(TOKENS, algorithm, domain, purpose, period)

    @classmethod
    def reversible(cls, algorithm: str, domain: str, purpose: str, period: str = "") -> KeyUse:
        """Return the use for tokens that can be detokenized: `SIV` or `FF1`."""
        return cls(reversible_root(purpose), algorithm, domain, purpose, period)


class KeySource(Protocol):
    """Where treatments take their keys from: the platform's roots, or a tokenization key file at the edge."""

    def key(self, use: KeyUse) -> SecretKey:
        """Return the key for `use`. Raises IntegrityError, KeyServiceError, AccessRefused."""


class TokenKeys:
    """The token keys of one platform. A root is unwrapped on first use and stays in this process for `lifetime_s`."""

    def __init__(self, service: KeyService, folder: Path, *, lifetime_s: float = LIFETIME_S) -> None:
        self._service = service
        self._folder = folder
        self._lifetime_s = lifetime_s
        self._roots: dict[KeyName, tuple[float, SecretKey]] = {}

    def __repr__(self) -> str:
        return "TokenKeys()"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("token keys can't be pickled or copied; pass the settings instead")

    def names(self) -> list[KeyName]:
        """Return the names of the roots that are there, in order. Raises StorageError where they can't be listed."""
        return sorted(KeyName(path.stem.replace("-", "/", 1)) for path in listed(self._folder, "*.json"))

    def create(self, name: KeyName) -> None:
        """Create the wrapped root `name` if there is none. Of racing processes one wins and all use its root.

        Raises KeyServiceError (`key.copy`: in a copy no root is made), AccessRefused, StorageError.
        """
        path = self._path(name)
        if not path.exists():
            refuse_in_copy(self._folder, f"token root {name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            create_once(path, _document(name, self._service.wrap(name, new_data_key(), CONTEXT)))

    def fingerprint(self, name: KeyName) -> str:
        """Return 16 hexadecimal digits that tell this root from another and nothing about it. Raises as `key`."""
        return HKDF(SHA256(), 8, None, b"cloakhouse/token-root/fingerprint").derive(self._root(name).reveal()).hex()

    def verify(self) -> None:
        """Return if the key service opens every root there is. Raises IntegrityError, KeyServiceError."""
        for name in self.names():
            self._service.unwrap(name, self._wrapped(name), CONTEXT)

    def rewrap(self, name: KeyName) -> bool:
        """Wrap a root under the newest version of its master key; return whether there is such a root.

        The root and so every token stay as they are. Raises IntegrityError, KeyServiceError, StorageError.
        """
        refuse_in_copy(self._folder, f"token root {name}")
        if not self._path(name).exists():
            return False
        root = self._service.unwrap(name, self._wrapped(name), CONTEXT)
        with replacing(self._path(name)) as stream:
            stream.write(_document(name, self._service.wrap(name, root, CONTEXT)))
        return True

    def key(self, use: KeyUse) -> SecretKey:
        """Return the key for `use`. Raises IntegrityError, KeyServiceError, AccessRefused."""
        parts = ("cloakhouse/token/2", use.algorithm, use.domain, use.purpose, use.period)
        info = b"\0".join(part.encode() for part in parts)
        return SecretKey(HKDF(SHA256(), use.length, None, info).derive(self._root(use.root).reveal()))

    def _root(self, name: KeyName) -> SecretKey:
        held = self._roots.get(name)
        if held is None or time.monotonic() > held[0]:
            self._roots.pop(name, None)
            opened = self._service.unwrap(name, self._wrapped(name), CONTEXT)
            held = self._roots[name] = time.monotonic() + self._lifetime_s, opened
        return held[1]

    def _path(self, name: KeyName) -> Path:
        return self._folder / f"{name.replace('/', '-')}.json"

    def _wrapped(self, name: KeyName) -> bytes:
        path = self._path(name)
        try:
            document = json.loads(path.read_text())
            if document["key"] != name:
                raise ValueError
            return base64.b64decode(document["wrapped"], validate=True)
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise IntegrityError(
                where=f"{path.parent.name}/{path.name}",
                expected="a wrapped root of token keys",
                found=f"no such file, or a damaged one ({type(fault).__name__})",
                not_done="no token was made: a new root would give every customer another token",
                remedy="restore the file from the backup of CLOAKHOUSE_HOME",
                code="token-root",
            ) from None


def _document(name: KeyName, wrapped: bytes) -> bytes:
    return json.dumps({"format": 2, "key": name, "wrapped": base64.b64encode(wrapped).decode()}, indent=1).encode()
