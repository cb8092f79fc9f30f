"""Signing keys: RFC 8032's vectors, wrapped at rest, public for anyone, and never another key in silence."""

from __future__ import annotations

import copy
import json
import pickle
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cloakhouse.errors import AccessRefused, CloakhouseError, IntegrityError, KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.signing import PublicKey, SigningKey, SigningKeys, master, verify

# RFC 8032, section 7.1: tests 1, 2, 3 and SHA(abc)
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
NAME = "artifacts"


@pytest.fixture
def service(tmp_path: Path) -> AgeKeyService:
    return AgeKeyService(tmp_path / "keystore")


@pytest.fixture
def keys(service: AgeKeyService, tmp_path: Path) -> SigningKeys:
    return SigningKeys(service, tmp_path / "signing")


def refused(call: Callable[[], object], kind: type[CloakhouseError] = IntegrityError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize(("seed", "public", "message", "signature"), VECTORS)
def test_signatures_are_those_of_the_rfc(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(PublicKey(bytes.fromhex(public)), SecretKey(bytes.fromhex(seed)))
    assert key.sign(bytes.fromhex(message)).hex() == signature
    verify(key.public, bytes.fromhex(message), bytes.fromhex(signature))


def test_a_key_is_made_once_and_verifies_in_every_process(keys: SigningKeys, tmp_path: Path) -> None:
    public = keys.ensure(NAME)
    assert keys.ensure(NAME) == public
    signature = keys.private(NAME).sign(b"message")
    other = SigningKeys(AgeKeyService(tmp_path / "keystore"), tmp_path / "signing")
    assert other.public(NAME) == other.private(NAME).public == public
    verify(other.public(NAME), b"message", signature)
    assert other.private(NAME).sign(b"message") == signature
    assert len(public.fingerprint) == 16
    assert keys.ensure("other").fingerprint != public.fingerprint


def test_every_other_message_signature_or_key_is_refused(keys: SigningKeys) -> None:
    public, other = keys.ensure(NAME), keys.ensure("other")
    signature = keys.private(NAME).sign(b"message")
    flipped = [bytes(b ^ (i == at) for i, b in enumerate(signature)) for at in range(len(signature))]
    for broken in (*flipped, b"", signature[:-1], signature + b"\0"):
        assert refused(lambda broken=broken: verify(public, b"message", broken)) == "integrity.signature"
    assert refused(lambda: verify(public, b"massage", signature)) == "integrity.signature"
    assert refused(lambda: verify(other, b"message", signature)) == "integrity.signature"
    assert refused(lambda: verify(PublicKey(b"short"), b"message", signature)) == "integrity.signature"


def test_the_private_key_is_wrapped_and_the_public_one_readable(keys: SigningKeys, tmp_path: Path) -> None:
    keys.ensure(NAME)
    seed = keys.private(NAME)._seed.reveal()
    stored = {path.name: path for path in (tmp_path / "signing").iterdir()}
    modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in stored.items()}
    assert modes == {"artifacts.json": 0o600, "artifacts.pem": 0o644}
    for path in stored.values():
        assert seed not in path.read_bytes()
        assert seed.hex().encode() not in path.read_bytes()
    assert stored["artifacts.pem"].read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----")


def test_a_key_cannot_be_printed_pickled_or_copied(keys: SigningKeys) -> None:
    keys.ensure(NAME)
    key = keys.private(NAME)
    secret = key._seed.reveal()
    for text in (repr(key), str(key), f"{key}", repr(keys)):
        assert secret.hex() not in text
        assert repr(secret) not in text
    for thing in (key, keys):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        with pytest.raises(TypeError):
            copy.copy(thing)


def test_whoever_may_not_use_the_master_key_verifies_and_does_not_sign(
    keys: SigningKeys, service: AgeKeyService, tmp_path: Path
) -> None:
    public = keys.ensure(NAME)
    signature = keys.private(NAME).sign(b"message")
    service.enrol("model-team", identity=tmp_path / "team.txt")
    theirs = SigningKeys(AgeKeyService(tmp_path / "keystore", tmp_path / "team.txt", "training"), tmp_path / "signing")
    verify(theirs.public(NAME), b"message", signature)
    assert theirs.public(NAME) == public
    assert refused(lambda: theirs.private(NAME), AccessRefused) == "access.key"


def test_a_replaced_or_damaged_file_is_found(keys: SigningKeys, tmp_path: Path) -> None:
    keys.ensure(NAME), keys.ensure("other")
    wrapped, public = (tmp_path / "signing" / f"artifacts.{ending}" for ending in ("json", "pem"))
    original, fresh = wrapped.read_bytes(), lambda: SigningKeys(keys._service, tmp_path / "signing")

    document = json.loads(original)
    document["public"] = json.loads((tmp_path / "signing" / "other.json").read_bytes())["public"]
    wrapped.write_bytes(json.dumps(document, indent=1).encode())
    assert refused(lambda: fresh().private(NAME), KeyServiceError) == "key.context"
    for damaged in (b"", b"{}", original[:-1], original + b" ", b"[" * 100_000):
        wrapped.write_bytes(damaged)
        assert refused(lambda: fresh().private(NAME)) == "integrity.signing-key"
        assert refused(lambda: fresh().ensure(NAME)) == "integrity.signing-key"
    wrapped.write_bytes(original)

    pem = public.read_bytes()
    public.write_bytes((tmp_path / "signing" / "other.pem").read_bytes())
    assert refused(lambda: fresh().private(NAME)) == "integrity.signing-key"  # who signs sees what others verify with
    public.write_bytes(b"nothing")
    assert refused(lambda: fresh().public(NAME)) == "integrity.signing-key"
    public.unlink()
    assert refused(lambda: fresh().public(NAME)) == "integrity.signing-key"
    fresh().ensure(NAME)  # as after a crash between the two files
    assert public.read_bytes() == pem
    with pytest.raises(ValueError):
        keys.public("../other")


def test_a_public_key_of_another_kind_is_none_of_ours(keys: SigningKeys, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    keys.ensure(NAME)
    other = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "signing" / "artifacts.pem").write_bytes(other)
    assert refused(lambda: keys.public(NAME)) == "integrity.signing-key"


def test_rewrapping_keeps_the_key(keys: SigningKeys, service: AgeKeyService, tmp_path: Path) -> None:
    public = keys.ensure(NAME)
    before = (tmp_path / "signing" / "artifacts.json").read_bytes()
    service.rotate(master(NAME))
    keys.rewrap(NAME)
    assert (tmp_path / "signing" / "artifacts.json").read_bytes() != before
    again = SigningKeys(service, tmp_path / "signing", lifetime_s=-1)
    assert again.private(NAME).public == again.private(NAME).public == public


def test_a_destroyed_master_key_ends_signing(keys: SigningKeys, service: AgeKeyService, tmp_path: Path) -> None:
    keys.ensure(NAME)
    service.destroy(master(NAME))
    fresh = SigningKeys(service, tmp_path / "signing")
    assert refused(lambda: fresh.private(NAME), KeyServiceError) == "key.destroyed"
    assert fresh.public(NAME)
