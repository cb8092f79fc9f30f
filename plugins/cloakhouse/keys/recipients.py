"""Whom a file is sealed to that leaves the platform: an age recipient, or an X25519 public key in PEM.

What is sealed is an age file (https://age-encryption.org/v1: one X25519 stanza, ChaCha20-Poly1305 segments of 64 KiB),
written piece by piece: memory doesn't grow with it. A PEM key (RFC 8410) is the same 32 bytes in another coat, so that
somebody without the `age` tool can have a key pair from OpenSSL:

    openssl genpkey -algorithm X25519 -out private.pem && openssl pkey -in private.pem -pubout -out public.pem

age writes keys in Bech32 (BIP 173): `age1...` the public, `AGE-SECRET-KEY-1...` the private one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyrage
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from typing_extensions import Buffer

from cloakhouse.errors import ConfigurationError, IntegrityError
from cloakhouse.keys.identity import read_own

PUBLIC, SECRET = "age", "age-secret-key-"
MOST = 4_096  # bytes of a key file
_SIGNS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def recipient_of(given: str) -> str:
    """Return the age recipient that `given` is, `age1...` or the text of a PEM file with an X25519 public key.

    Raises ConfigurationError (`configuration.recipient`), which repeats nothing of `given`: it may be a private key.
    """
    text = given.strip()
    if "PRIVATE KEY" in text or text.upper().startswith("AGE-SECRET-KEY-"):
        raise _unusable("a private key", "ask for the public one; a private key that was sent to you is to be replaced")
    if text.startswith("-----BEGIN"):
        try:
            key = load_pem_public_key(text.encode())
        except Exception:  # noqa: BLE001  # of many kinds, and its text may quote what it was given
            raise _unusable("a PEM file that holds no public key", "ask for another") from None
        if not isinstance(key, X25519PublicKey):
            raise _unusable("a public key that nothing can be sealed to, such as one for signatures", "ask for another")
        return bech32(PUBLIC, key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    try:
        return str(pyrage.x25519.Recipient.from_str(text))
    except pyrage.RecipientError:
        raise _unusable("another text", "ask for another; one sign too many or too few is noticed") from None


def seal_stream(pieces: Iterator[bytes], sink: BinaryIO, recipient: str) -> None:
    """Write `pieces`, joined, to `sink` as an age file for `recipient`, as they come.

    Raises what `pieces` raises and OSError of `sink`; what was written by then isn't a whole file.
    """
    source, target = _Pieces(pieces), _Target(sink)
    try:
        pyrage.encrypt_io(source, target, [pyrage.x25519.Recipient.from_str(recipient)])
    except pyrage.EncryptError:
        fault = source.fault or target.fault
        if fault is None:
            raise _unusable("a key that age can't seal to", "ask for another") from None
        raise fault from None


def open_stream(source: BinaryIO, sink: BinaryIO, key_file: Path) -> None:
    """Write to `sink` what the age file `source` holds, opened with the key in `key_file`, mode 0600.

    The file holds an age identity, or an X25519 private key in PEM without a passphrase. Raises ConfigurationError for
    another file, IntegrityError when it isn't sealed to this key or was changed, KeyServiceError (`key.mode`).
    """
    text = read_own(key_file, "a private key").decode("utf-8", "replace")
    identity, target = _identity(text), _Target(sink)
    try:
        pyrage.decrypt_io(source, target, [identity])
    except (pyrage.DecryptError, OSError):  # the second for a payload that was changed
        if target.fault is not None:
            raise target.fault from None
        raise IntegrityError(
            where="the sealed file",
            expected="an age file that is sealed to this key",
            found="one that is sealed to another, or was changed or cut short",
            not_done="what was written of it is not to be used",
            remedy="take the key of the recipient, or ask for the file again",
            code="sealed",
        ) from None


def bech32(prefix: str, data: bytes) -> str:
    """Return `data` in Bech32 under a lower-case human-readable `prefix`. Source: BIP 173."""
    number = int.from_bytes(data, "big") << (-len(data) * 8 % 5)
    count = -(-len(data) * 8 // 5)
    values = [number >> (5 * place) & 31 for place in reversed(range(count))]
    expanded = [*(ord(sign) >> 5 for sign in prefix), 0, *(ord(sign) & 31 for sign in prefix)]
    check = _polymod([*expanded, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    checksum = [check >> (5 * place) & 31 for place in reversed(range(6))]
    return f"{prefix}1" + "".join(_SIGNS[value] for value in (*values, *checksum))


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            check ^= generator if top >> bit & 1 else 0
    return check


def _identity(text: str) -> pyrage.x25519.Identity:
    lines = [line.strip() for line in text.splitlines()]
    found = next((line for line in lines if line.upper().startswith("AGE-SECRET-KEY-")), "")
    if "PRIVATE KEY" in text:
        try:
            key = load_pem_private_key(text.encode(), None)
        except Exception:  # noqa: BLE001  # of many kinds, and its text may quote what it was given
            key = None
        if isinstance(key, X25519PrivateKey):
            raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
            found = bech32(SECRET, raw).upper()
    try:
        return pyrage.x25519.Identity.from_str(found)
    except pyrage.IdentityError:
        raise ConfigurationError(
            where="the file of the private key",
            expected="an age identity, or an X25519 private key in PEM without a passphrase",
            found="another file",
            not_done="nothing was opened",
            remedy="name the file whose public key the recipient was",
            code="recipient",
        ) from None


class _Pieces(io.RawIOBase):
    """Reads pieces of bytes as one stream, and remembers what they raised: age would tell its text alone."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = memoryview(b"")
        self.fault: BaseException | None = None

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer`; return the number of bytes, 0 at the end."""
        target = memoryview(buffer).cast("B")
        try:
            while not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    return 0
                self._left = memoryview(piece)
        except BaseException as fault:
            self.fault = fault
            raise
        size = min(len(target), len(self._left))
        target[:size], self._left = self._left[:size], self._left[size:]
        return size


class _Target:
    """Writes to a stream, and remembers what it raised."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self.fault: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Write `data`."""
        try:
            return self._sink.write(data)
        except BaseException as fault:
            self.fault = fault
            raise

    def flush(self) -> None:
        """Write what waits."""
        self._sink.flush()


def _unusable(found: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        where="the recipient",
        expected="an age recipient (age1...), or an X25519 public key in PEM",
        found=found,
        not_done="nothing was opened and nothing was sealed",
        remedy=remedy,
        code="recipient",
    )
