"""Signed notes, against the published format made by hand."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.signing import PublicKey, SigningKey
from cloakhouse.ledger.checkpoints import Checkpoint, key_id, opened, origin_of, sign

SEED = bytes(range(32))
PRIVATE = Ed25519PrivateKey.from_private_bytes(SEED)
RAW = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
PUBLIC = PublicKey(RAW)
KEY = SigningKey(PUBLIC, SecretKey(SEED))
ROOT = hashlib.sha256(b"root").digest()


def by_hand(name: str, body: str) -> str:
    """A signed note as https://c2sp.org/signed-note says."""
    number = hashlib.sha256(name.encode() + b"\x0a\x01" + RAW).digest()[:4]
    signature = base64.b64encode(number + PRIVATE.sign(body.encode())).decode()
    return f"{body}\n— {name} {signature}\n"


def body(origin: str, size: object = 7, root: bytes = ROOT) -> str:
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


@pytest.mark.parametrize("origin", [origin_of(PUBLIC), "log.example.org/audit"])
@pytest.mark.parametrize("size", [0, 1, 7, 2**53, 2**63 - 1])
def test_a_note_is_what_the_format_says(origin: str, size: int) -> None:
    checkpoint = Checkpoint(origin, size, ROOT)
    note = by_hand(origin, body(origin, size))
    assert sign(checkpoint, KEY) == note
    assert opened(note, PUBLIC, "x") == checkpoint


def test_the_name_of_a_log_is_the_start_of_its_keys_digest() -> None:
    assert origin_of(PUBLIC) == f"cloakhouse/{hashlib.sha256(RAW).hexdigest()[:16]}"


def test_the_key_id_of_the_specification() -> None:
    """The verifier key in the example of golang.org/x/mod/sumdb/note: PeterNeumann+c74f20a3+ARpc2..."""
    encoded = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    public = PublicKey(base64.b64decode(encoded)[1:])
    assert key_id("PeterNeumann", public).hex() == "c74f20a3"


def test_any_other_byte_is_refused() -> None:
    note = sign(Checkpoint(origin_of(PUBLIC), 1_234, ROOT), KEY).encode()
    for place in range(len(note)):
        for bit in (1, 0x20, 0x80):
            damaged = bytearray(note)
            damaged[place] ^= bit
            with pytest.raises(IntegrityError) as refusal:
                opened(damaged.decode(errors="replace"), PUBLIC, "a copy")
            assert refusal.value.where == "a copy"
    for text in (note[:-1], note + b"\n", b"\n" + note, note * 2, b"", note[:60]):
        with pytest.raises(IntegrityError):
            opened(text.decode(), PUBLIC, "a copy")


ORIGIN = "log/a"
WRONG = {
    "leading zero": by_hand(ORIGIN, body(ORIGIN, "07")),
    "sign": by_hand(ORIGIN, body(ORIGIN, "+7")),
    "too large": by_hand(ORIGIN, body(ORIGIN, 2**63)),
    "other digits": by_hand(ORIGIN, body(ORIGIN, "٧")),
    "short root": by_hand(ORIGIN, body(ORIGIN, 7, ROOT[:31])),
    "extension line": by_hand(ORIGIN, body(ORIGIN) + "more\n"),
    "name of another": by_hand("log/b", body(ORIGIN)),
    "space in the name": by_hand("log a", body("log a")),
    "windows": by_hand(ORIGIN, body(ORIGIN)).replace("\n", "\r\n"),
    "two signatures": by_hand(ORIGIN, body(ORIGIN)) + by_hand(ORIGIN, body(ORIGIN)).splitlines(keepends=True)[-1],
    "root with bits left over": by_hand(ORIGIN, body(ORIGIN).replace(base64.b64encode(ROOT).decode(), "A" * 42 + "B=")),
    "short signature": body(ORIGIN) + "\n— log/a " + base64.b64encode(b"x" * 67).decode() + "\n",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_other_forms_are_refused_though_signed(text: str) -> None:
    with pytest.raises(IntegrityError) as refusal:
        opened(text, PUBLIC, "x")
    assert refusal.value.code == "integrity.checkpoint"


def test_another_key_is_refused() -> None:
    seed = b"o" * 32
    theirs = PublicKey(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
    other = SigningKey(theirs, SecretKey(seed))
    with pytest.raises(IntegrityError) as refusal:
        opened(sign(Checkpoint(ORIGIN, 7, ROOT), other), PUBLIC, "x")
    assert refusal.value.code == "integrity.checkpoint"
    note = sign(Checkpoint(ORIGIN, 7, ROOT), KEY)
    forged = note.replace("\n7\n", "\n8\n")
    with pytest.raises(IntegrityError) as refusal:
        opened(forged, PUBLIC, "x")
    assert refusal.value.code == "integrity.signature"


@pytest.mark.parametrize("given", [("a b", 1, ROOT), ("", 1, ROOT), ("a+b", 1, ROOT), ("a", -1, ROOT), ("a", 1, b"")])
def test_what_is_no_checkpoint(given: tuple[str, int, bytes]) -> None:
    with pytest.raises(ValueError, match="a checkpoint has"):
        Checkpoint(*given)
