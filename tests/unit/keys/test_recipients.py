"""Recipients of files that leave: age and PEM, what is refused without repeating it, and streams of any length."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cloakhouse.errors import ConfigurationError, IntegrityError, KeyServiceError
from cloakhouse.keys.recipients import bech32, open_stream, recipient_of, seal_stream

SPKI = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PKCS8 = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def opened(sealed: bytes, key: Path) -> bytes:
    sink = io.BytesIO()
    open_stream(io.BytesIO(sealed), sink, key)
    return sink.getvalue()


def sealed_to(recipient: str, pieces: Iterator[bytes]) -> bytes:
    sink = io.BytesIO()
    seal_stream(pieces, sink, recipient)
    return sink.getvalue()


def test_bech32_writes_what_age_writes() -> None:
    for _ in range(20):
        raw = os.urandom(32)
        secret = bech32("age-secret-key-", raw).upper()
        identity = pyrage.x25519.Identity.from_str(secret)
        public = X25519PrivateKey.from_private_bytes(raw).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        assert str(identity) == secret
        assert str(identity.to_public()) == bech32("age", public)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000])
def test_a_pem_key_opens_what_was_sealed_to_it_and_no_other(tmp_path: Path, size: int) -> None:
    key, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    content = os.urandom(size)
    pieces = (content[at : at + 70_000] for at in range(0, size, 70_000))
    sealed = sealed_to(recipient_of(key.public_key().public_bytes(*SPKI).decode()), pieces)
    assert opened(sealed, private(tmp_path / "own.pem", key.private_bytes(*PKCS8))) == content
    with pytest.raises(IntegrityError, match=r"integrity\.sealed"):
        opened(sealed, private(tmp_path / "other.pem", other.private_bytes(*PKCS8)))
    if size:
        with pytest.raises(IntegrityError):
            opened(sealed[:-1], tmp_path / "own.pem")


def test_an_age_identity_opens_it_and_a_loose_mode_is_refused(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    sealed = sealed_to(recipient_of(f" {identity.to_public()}\n"), iter((b"a", b"", b"b")))
    key = private(tmp_path / "id.txt", f"# mine\n{identity}\n".encode())
    assert opened(sealed, key) == b"ab"
    key.chmod(0o644)
    with pytest.raises(KeyServiceError, match=r"key\.mode"):
        opened(sealed, key)


def test_openssl_makes_a_pair_that_works(tmp_path: Path) -> None:
    secret, public = tmp_path / "private.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", secret], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", secret, "-pubout", "-out", public], check=True, capture_output=True)
    secret.chmod(0o600)
    assert opened(sealed_to(recipient_of(public.read_text()), iter((b"data",))), secret) == b"data"


def refused() -> dict[str, str]:
    signing, own = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    return {
        "nothing": "",
        "a name": "anna@example.com",
        "one sign wrong": recipient[:-1] + ("q" if recipient[-1] != "q" else "p"),
        "a key for signatures": signing.public_key().public_bytes(*SPKI).decode(),
        "a private PEM": own.private_bytes(*PKCS8).decode(),
        "a private age key": str(pyrage.x25519.Identity.generate()),
        "half a PEM": own.public_key().public_bytes(*SPKI).decode()[:60],
    }


@pytest.mark.parametrize("what", refused())
def test_what_is_no_recipient_is_refused_and_not_repeated(what: str) -> None:
    given = refused()[what]
    with pytest.raises(ConfigurationError, match=r"configuration\.recipient") as refusal:
        recipient_of(given)
    said = str(refusal.value.as_dict())
    assert not [word for word in given.split() if len(word) > 12 and word in said]


def test_what_the_pieces_and_the_sink_raise_comes_through() -> None:
    recipient = str(pyrage.x25519.Identity.generate().to_public())

    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise IntegrityError(where="w", expected="e", found="f", not_done="n", remedy="r")

    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(28, "full")

    with pytest.raises(IntegrityError, match="integrity"):
        seal_stream(broken(), io.BytesIO(), recipient)
    with pytest.raises(OSError, match="full"):
        seal_stream(iter((b"x" * 200_000,)), Full(), recipient)
