"""Checkpoints: size and root of the audit log at a moment, signed, to be kept where the log's keepers can't reach.

    cloakhouse/0f3a5c7e9b1d2f48
    1200
    8v0MlLzGbZ1rH1kYhHq2o3lGm2dV0lI1m6mWc7r0w0E=

    — cloakhouse/0f3a5c7e9b1d2f48 t4kGZ...==

The text is the origin (who keeps this log: the start of the SHA-256 of the key, unless configured), the size in decimal
digits and the root in base64. After an empty line stands one signature: the name, and the base64 of key id (4 bytes:
SHA-256 of name, 0x0A, 0x01 and the public key) and Ed25519 signature (64 bytes) of the text up to the empty line.
Ed25519 is deterministic (RFC 8032), so that signing the same twice gives the same bytes.

Source: C2SP signed-note and tlog-checkpoint, https://c2sp.org/tlog-checkpoint. Of what these allow, one signature and
no line of extensions are read here, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.signing import SIGNATURE, PublicKey, SigningKey, verify
from cloakhouse.ledger.merkle import SIZE

LONGEST_NOTE = 4_096  # bytes
_ED25519 = b"\x01"  # the algorithm's number in signed notes
_KEY_ID = 4  # bytes
_NAME = re.compile(r"[!-*,-~]{1,200}")  # printable ASCII without spaces and plus signs
_NOTE = re.compile(
    r"(?P<text>(?P<origin>[!-*,-~]{1,200})\n(?P<size>0|[1-9][0-9]{0,18})\n(?P<root>[A-Za-z0-9+/]{43}=)\n)"
    r"\n\u2014 (?P<name>[!-*,-~]{1,200}) (?P<signature>[A-Za-z0-9+/]{90,92}={0,2})\n"
)


@dataclass(frozen=True)
class Checkpoint:
    """Size and root of a log.

    Attributes:
        origin: which log: printable ASCII without spaces and plus signs.
        size: how many entries.
        root: of their tree (32 bytes).
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.origin) or not 0 <= self.size < 2**63 or len(self.root) != SIZE:
            raise ValueError("a checkpoint has an origin without spaces, a size, and a root of 32 bytes")

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def origin_of(public: PublicKey) -> str:
    """Return the name of the log whose checkpoints are signed with this key, and of the key."""
    return f"cloakhouse/{public.fingerprint}"


def key_id(name: str, public: PublicKey) -> bytes:
    """Return the 4 bytes that stand before a signature of `public` under `name`."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public.raw).digest()[:_KEY_ID]


def sign(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return the signed note of `checkpoint`; the signature's name is the origin."""
    signature = key_id(checkpoint.origin, key.public) + key.sign(checkpoint.text.encode())
    return f"{checkpoint.text}\n\u2014 {checkpoint.origin} {base64.b64encode(signature).decode()}\n"


def opened(text: str, public: PublicKey, where: str) -> Checkpoint:
    """Return the checkpoint whose signed note is `text`, to the byte as `sign` makes it.

    Raises IntegrityError: `integrity.checkpoint` for another form, or the name or key id of another key;
    `integrity.signature` for a signature that is not this key's.
    """
    found = _NOTE.fullmatch(text)
    if found is None or found["name"] != found["origin"]:
        raise _refused(where, "a signed note of an audit log", "a text of another form")
    root, signature = _decoded(found["root"], where), _decoded(found["signature"], where)
    if len(signature) != _KEY_ID + SIGNATURE:
        raise _refused(where, "a signature of 64 bytes after a key id of 4", f"{len(signature)} bytes")
    if signature[:_KEY_ID] != key_id(found["name"], public):
        raise _refused(where, f"a signature of the key {public.fingerprint}", "that of another key or log")
    verify(public, found["text"].encode(), signature[_KEY_ID:], where)
    if (size := int(found["size"])) >= 2**63:
        raise _refused(where, "a size below 2^63", "a larger one")
    return Checkpoint(found["origin"], size, root)


def size_of_note(text: bytes) -> int | None:
    """Return the size that a text in the form of a signed note states, whoever signed it; None for another text."""
    try:
        found = _NOTE.fullmatch(text.decode())
    except UnicodeDecodeError:
        return None
    return int(found["size"]) if found is not None else None


def _decoded(text: str, where: str) -> bytes:
    raw = base64.b64decode(text)
    if base64.b64encode(raw).decode() != text:  # bits left over that are not zero
        raise _refused(where, "base64 in its one form", "another form of it")
    return raw


def _refused(where: str, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=where,
        expected=expected,
        found=found,
        not_done="the log was not compared with it",
        remedy="use the file as it was exported, with the public key of the platform that made it",
        code="checkpoint",
    )
