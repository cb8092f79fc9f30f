"""The signing keys: made once, and recognised by what the control database recorded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.budgets import installation

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.service import service_of
from cloakhouse.keys.signing import SigningKeys, master, verify
from cloakhouse.lake.releases import SIGNER as RELEASES
from cloakhouse.lake.sealed import SIGNER
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages import signing
from cloakhouse.stages.rotation import rotate
from cloakhouse.stages.signing import signing_key, trusted_key


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return installation(tmp_path)


def attackers(settings: Settings) -> Path:
    """Return a folder with another key of the same name."""
    folder = settings.home / "attacker"
    SigningKeys(service_of(settings), folder).ensure(SIGNER)
    return folder


def test_the_key_is_made_once_and_signs_for_the_trusted_one(settings: Settings) -> None:
    key = signing_key(settings)
    assert signing_key(settings).public == key.public == trusted_key(settings)
    verify(trusted_key(settings), b"message", key.sign(b"message"))
    assert Catalogue(settings.database).key_fingerprint(master(SIGNER)) == key.public.sha256


def test_nothing_is_trusted_before_there_is_a_key(settings: Settings) -> None:
    with pytest.raises(IntegrityError):
        trusted_key(settings)


@pytest.mark.parametrize("parts", [["pem"], ["json"], ["pem", "json"]], ids=["public", "private", "both"])
def test_a_key_that_was_exchanged_neither_signs_nor_is_trusted(settings: Settings, parts: list[str]) -> None:
    made = signing_key(settings)
    for part in parts:
        shutil.copy(attackers(settings) / f"{SIGNER}.{part}", settings.signing_keys / f"{SIGNER}.{part}")
    with pytest.raises(IntegrityError):
        signing_key(settings)
    if "pem" in parts:
        with pytest.raises(IntegrityError) as caught:
            trusted_key(settings)
        assert made.public.fingerprint in caught.value.expected
    else:
        assert trusted_key(settings) == made.public  # what was signed before still stands


def test_a_key_that_is_lost_is_not_made_anew_in_silence(settings: Settings) -> None:
    signing_key(settings)
    shutil.rmtree(settings.signing_keys)
    for _ in range(2):
        with pytest.raises(IntegrityError) as caught:
            signing_key(settings)
        assert caught.value.code == "integrity.signing-key"


def test_a_public_key_that_the_control_database_does_not_know_is_not_trusted(
    settings: Settings, tmp_path: Path
) -> None:
    signing_key(settings)
    other = replace(settings, database=f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(IntegrityError) as caught:
        trusted_key(other)
    assert "control database" in caught.value.expected


def test_releases_are_signed_with_a_key_of_their_own_and_verified_without_the_key_service(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = signing_key(settings, RELEASES)
    assert key.public != signing_key(settings).public
    monkeypatch.setattr(signing, "service_of", lambda _: pytest.fail("the key service was asked for"))
    assert trusted_key(settings, RELEASES) == key.public
    (settings.signing_keys / f"{RELEASES}.json").unlink()  # a model team has the public keys alone
    assert trusted_key(replace(settings, keys="age:/nowhere"), RELEASES) == key.public


def test_every_signing_key_is_wrapped_anew_when_its_master_key_is_rotated(settings: Settings) -> None:
    before = {name: signing_key(settings, name).public for name in signing.SIGNERS}
    for name, public in before.items():
        path = settings.signing_keys / f"{name}.json"
        wrapped = path.read_bytes()
        rotate(settings, [master(name)])
        assert path.read_bytes() != wrapped
        assert signing_key(settings, name).public == public
