"""Identity files of principals: who opens the keystore, and whose signature on it is trusted.

A file that the `age` tool reads as well (https://age-encryption.org/v1), mode 0600:

    # cloakhouse identity of model-team
    # recipient: age1...
    # keystore: ed25519:<base64 of the public key that signs the keystore>
    AGE-SECRET-KEY-1...

The `keystore` line pins the keystore: one that another key has signed is refused.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pyrage
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from cloakhouse.errors import AccessRefused, CloakhouseError, KeyServiceError
from cloakhouse.keys.files import create_once
from cloakhouse.keys.secret_files import read_secret_file

PRINCIPAL = re.compile(r"[a-z][a-z0-9-]{0,30}")
PIN = "ed25519:"


@dataclass(frozen=True)
class Identity:
    """One principal's identity. The secret stays inside the object that decrypts and can't be printed or pickled."""

    recipient: str
    keystore: str
    _secret: pyrage.x25519.Identity = field(repr=False, compare=False)

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed to this identity. Raises KeyServiceError (`key.identity`)."""
        try:
            return bytes(pyrage.decrypt(sealed, [self._secret]))
        except pyrage.DecryptError:
            raise _refused("a master key", "one sealed to this identity", "one sealed to others", "identity") from None

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity can't be pickled or copied; pass its path instead")


def seal(material: bytes, recipients: list[str]) -> bytes:
    """Return `material` encrypted to `recipients` (age X25519 recipient strings)."""
    return bytes(pyrage.encrypt(material, [pyrage.x25519.Recipient.from_str(recipient) for recipient in recipients]))


def check_principal(name: str) -> str:
    """Return `name`. Raises KeyServiceError (`key.identity`) unless it is a principal's name."""
    if not PRINCIPAL.fullmatch(name):
        raise _unusable(
            "the name of a principal", "lower-case letters, digits and -, at most 31", "choose another name"
        )
    return name


def check_recipient(recipient: str) -> str:
    """Return `recipient`. Raises KeyServiceError (`key.identity`) unless it is an age X25519 recipient."""
    try:
        return str(pyrage.x25519.Recipient.from_str(recipient))
    except pyrage.RecipientError:
        raise _unusable("the recipient", "an age recipient (age1...)", "take it from the line `# recipient:`") from None


def new_identity(principal: str, keystore: str) -> tuple[str, bytes]:
    """Return a fresh identity: its recipient, and the bytes of its file. Raises KeyServiceError."""
    fresh = pyrage.x25519.Identity.generate()
    text = (
        f"# cloakhouse identity of {check_principal(principal)}\n"
        f"# recipient: {fresh.to_public()}\n# keystore: {keystore}\n{fresh}\n"
    )
    return str(fresh.to_public()), text.encode()


def make_identity(path: Path, principal: str, keystore: str) -> str:
    """Create an identity file at `path` unless there is one; return its recipient. Raises KeyServiceError."""
    create_once(path, new_identity(principal, keystore)[1])
    return read_identity(path).recipient


def read_identity(path: Path) -> Identity:
    """Return the identity in `path`. Raises KeyServiceError: `key.identity` (missing, damaged), `key.mode`."""
    text = read_own(path, "an identity file").decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines()]
    secrets = [line for line in lines if line and not line.startswith("#")]
    pins = [line.split(":", 1)[1].strip() for line in lines if line.startswith("# keystore:")]
    try:
        secret = pyrage.x25519.Identity.from_str(secrets[0])
        if len(secrets) != 1 or len(pins) != 1:
            raise ValueError
        _public_key(pins[0])
    except (ValueError, IndexError, pyrage.IdentityError):
        found = "a file of another form"
        raise _refused(
            path.name, "one age identity and the line `# keystore: ed25519:...`", found, "identity"
        ) from None
    return Identity(str(secret.to_public()), pins[0], secret)


def read_own(path: Path, what: str) -> bytes:
    """Return the content of a secret file. Raises KeyServiceError: `key.identity`, `key.mode`."""
    return read_secret_file(path, what, lambda expected, found, code: _refused(path.name, expected, found, code))


def verify(pin: str, signature: str, body: bytes) -> bool:
    """Return whether `signature` (base64, in its one canonical form) of `body` was made by the key that `pin` names.

    Source: RFC 8032 (Ed25519).
    """
    try:
        raw = base64.b64decode(signature, validate=True)
        _public_key(pin).verify(raw, body)
    except (InvalidSignature, ValueError):
        return False
    return base64.b64encode(raw).decode() == signature


class Administration:
    """The private key that signs the keystore: who has it may change grants. PEM, PKCS #8, mode 0600."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise AccessRefused(
                where="the keystore",
                expected=f"the administrator's key ({path.name}) to change it",
                found="no such file",
                not_done="no key and no grant was changed",
                remedy="have the platform's administrator do this",
                code="key",
            )
        raw = read_own(path, "the administrator's key")
        try:
            key = load_pem_private_key(raw, None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise _refused(path.name, "an Ed25519 private key in PEM", "another file", "damaged")
        self._key = key

    @classmethod
    def ensure(cls, path: Path) -> Administration:
        """Return the key in `path`, made if there is none."""
        if not path.exists():
            pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            create_once(path, pem)
        return cls(path)

    @property
    def pin(self) -> str:
        """The public key as identity files hold it."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PIN + base64.b64encode(raw).decode()

    def sign(self, body: bytes) -> str:
        """Return the signature of `body` (base64)."""
        return base64.b64encode(self._key.sign(body)).decode()


def _public_key(pin: str) -> Ed25519PublicKey:
    if not pin.startswith(PIN):
        raise ValueError("no Ed25519 public key")
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(pin.removeprefix(PIN), validate=True))


def _refused(where: str, expected: str, found: str, code: str) -> CloakhouseError:
    return KeyServiceError(
        where=where,
        expected=expected,
        found=found,
        not_done="no master key was opened",
        remedy="check CLOAKHOUSE_KEYS, CLOAKHOUSE_IDENTITY, the owner and the mode (0600) of the file, or enrol again",
        code=code,
    )


def _unusable(where: str, expected: str, remedy: str) -> CloakhouseError:
    return KeyServiceError(
        where=where,
        expected=expected,
        found="another text",
        not_done="nobody was enrolled, and no grant was changed",
        remedy=remedy,
        code="identity",
    )
