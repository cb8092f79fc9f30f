"""Signing keys of an installation: Ed25519 (RFC 8032), the private part wrapped by the key service.

    <folder>/<name>.json  {"format": 1, "key": "signing/<name>", "public": "<base64>", "wrapped": "<base64>"}, mode 0600
    <folder>/<name>.pem   the public key, SubjectPublicKeyInfo (RFC 8410), for anyone to verify with, mode 0644

`wrapped` is the seed of the private key (RFC 8032, section 5.1.5: 32 bytes) under the master key `signing/<name>`, with
`public` in its context: another public key beside it doesn't open. Whoever may use that master key can sign; everyone
else verifies. Who verifies should know the key's fingerprint from elsewhere (the control database, a release note): a
`.pem` that somebody replaced is then found out, and without it isn't.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.copied import refuse_in_copy
from cloakhouse.keys.files import create_once, replacing
from cloakhouse.keys.protocol import Context, KeyName, KeyService, new_data_key
from cloakhouse.keys.secret import SecretKey

FORMAT = 1
SIGNATURE = 64  # bytes
LIFETIME_S = 300.0  # seconds that a private key stays opened
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True)
class PublicKey:
    """A public key: 32 bytes."""

    raw: bytes

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell this key from another in a message: the start of its SHA-256."""
        return self.sha256[:16]

    @property
    def sha256(self) -> str:
        """The SHA-256 of the key (hex): what somebody who would forge one can't meet."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def pem(self) -> bytes:
        """The key as `openssl` and others read it."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class SigningKey:
    """An opened private key. It can't be printed, pickled or copied."""

    public: PublicKey
    _seed: SecretKey = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message` (64 bytes)."""
        return Ed25519PrivateKey.from_private_bytes(self._seed.reveal()).sign(message)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key can't be pickled or copied; pass the settings instead")


def verify(public: PublicKey, message: bytes, signature: bytes, where: str = "a signed file") -> None:
    """Return if `signature` of `message` was made with the private key of `public`.

    Raises IntegrityError (`integrity.signature`) for any other bytes.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public.raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise IntegrityError(
            where=where,
            expected=f"a signature of the key {public.fingerprint}",
            found="none, or the signature of another key or of other bytes",
            not_done="nothing of it was decrypted or read",
            remedy="restore the file from a backup, or make it again",
            code="signature",
        ) from None


class SigningKeys:
    """The signing keys of one installation. An opened key stays in this process for `lifetime_s` seconds."""

    def __init__(self, service: KeyService, folder: Path, *, lifetime_s: float = LIFETIME_S) -> None:
        self._service = service
        self._folder = folder
        self._lifetime_s = lifetime_s
        self._opened: dict[str, tuple[float, SigningKey]] = {}

    def __repr__(self) -> str:
        return "SigningKeys()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("signing keys can't be pickled or copied; pass the settings instead")

    def ensure(self, name: str) -> PublicKey:
        """Return the public key `name`, made with its private key if there is none. Of racing processes one wins.

        Raises KeyServiceError, AccessRefused, StorageError, IntegrityError for a damaged file.
        """
        path = self._path(name, "json")
        if not path.exists():
            refuse_in_copy(self._folder, f"signing key {name}")
            seed = new_data_key()
            made = _public_of(seed)
            wrapped = self._service.wrap(master(name), seed, _context(name, made))
            create_once(path, _document(name, made, wrapped))
        public, _ = self._read(name)
        create_once(self._path(name, "pem"), public.pem, mode=0o644)  # missing after a crash between the two
        return public

    def public(self, name: str) -> PublicKey:
        """Return the public key `name`; no key service is asked. Raises IntegrityError when it is missing, damaged."""
        return public_key(self._folder, name)

    def private(self, name: str) -> SigningKey:
        """Return the private key `name`. Raises IntegrityError when it is missing, damaged or not that of `public`;
        KeyServiceError, AccessRefused."""
        held = self._opened.get(name)
        if held is None or time.monotonic() > held[0]:
            self._opened.pop(name, None)
            public, wrapped = self._read(name)
            seed = self._service.unwrap(master(name), wrapped, _context(name, public))
            if _public_of(seed) != public or self.public(name) != public:
                raise _damaged(self._path(name, "pem"), ValueError())
            held = self._opened[name] = time.monotonic() + self._lifetime_s, SigningKey(public, seed)
        return held[1]

    def rewrap(self, name: str) -> None:
        """Wrap the key under the newest version of its master key; the key stays. Raises as `private`, StorageError."""
        refuse_in_copy(self._folder, f"signing key {name}")
        public, wrapped = self._read(name)
        seed = self._service.unwrap(master(name), wrapped, _context(name, public))
        with replacing(self._path(name, "json")) as stream:
            stream.write(_document(name, public, self._service.wrap(master(name), seed, _context(name, public))))

    def _path(self, name: str, ending: str) -> Path:
        return _path(self._folder, name, ending)

    def _read(self, name: str) -> tuple[PublicKey, bytes]:
        path = self._path(name, "json")
        try:
            raw = path.read_bytes()
            document = json.loads(raw)
            public = PublicKey(base64.b64decode(document["public"], validate=True))
            wrapped = base64.b64decode(document["wrapped"], validate=True)
            if raw != _document(name, public, wrapped) or len(public.raw) != 32:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
            raise _damaged(path, fault) from None
        return public, wrapped


def public_key(folder: Path, name: str) -> PublicKey:
    """Return the public key `name` in the folder of an installation's signing keys, for whoever verifies: neither the
    key service nor its settings are needed. Raises IntegrityError when it is missing or damaged."""
    path = _path(folder, name, "pem")
    try:
        key = load_pem_public_key(path.read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError
    except (OSError, ValueError, TypeError) as fault:
        raise _damaged(path, fault) from None
    return PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def master(name: str) -> KeyName:
    """Return the master key that wraps the signing key `name`."""
    return KeyName(f"signing/{name}")


def _path(folder: Path, name: str, ending: str) -> Path:
    if not NAME.fullmatch(name):
        raise ValueError("a signing key is named by lower-case letters, digits and _")
    return folder / f"{name}.{ending}"


def _public_of(seed: SecretKey) -> PublicKey:
    key = Ed25519PrivateKey.from_private_bytes(seed.reveal()).public_key()
    return PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _context(name: str, public: PublicKey) -> Context:
    return {"use": "signing key", "name": name, "public": base64.b64encode(public.raw).decode()}


def _document(name: str, public: PublicKey, wrapped: bytes) -> bytes:
    texts = {"public": base64.b64encode(public.raw).decode(), "wrapped": base64.b64encode(wrapped).decode()}
    return json.dumps({"format": FORMAT, "key": master(name), **texts}, indent=1).encode()


def _damaged(path: Path, fault: Exception) -> IntegrityError:
    return IntegrityError(
        where=f"{path.parent.name}/{path.name}",
        expected="a signing key of this installation",
        found=f"no such file, a damaged one or another key's ({type(fault).__name__})",
        not_done="nothing was signed or verified",
        remedy="restore the file from the backup of CLOAKHOUSE_HOME",
        code="signing-key",
    )
