"""`cloakhouse backup`: what it says, its exit codes, and keys that are given as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.support.backups import REASON, Shelved, shelved

from cloakhouse.client.cli import cli

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Shelved:
    return shelved(tmp_path_factory.mktemp("backing-up"))


def run(house: Shelved, *arguments: str, home: Path | None = None) -> Result:
    settings = house.settings
    env = {"CLOAKHOUSE_HOME": str(home or settings.home), "CLOAKHOUSE_CONTRACTS": str(settings.contracts)}
    result = CliRunner().invoke(cli, ["backup", *arguments], env=env, prog_name="cloakhouse")
    assert "Traceback" not in result.stdout + result.stderr
    assert "internal error" not in result.stderr
    assert "AGE-SECRET" not in result.stdout + result.stderr
    return result


def facts(house: Shelved, *arguments: str, code: int = 0, home: Path | None = None) -> Any:
    result = run(house, *arguments, "--output", "json", home=home)
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def test_from_a_backup_to_an_open_home(house: Shelved, tmp_path: Path) -> None:
    private = X25519PrivateKey.generate()
    secret = tmp_path / "backup-key.pem"
    secret.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    secret.chmod(0o600)
    public = tmp_path / "backup-public.pem"
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    shelf = str(tmp_path / "shelf")
    made = facts(house, "create", shelf, "--recipient", str(public), "--with-identities")
    assert (made["kind"], made["identities"], made["tombstones"]) == ("full", True, 1)
    later = facts(house, "create", shelf, "--recipient", str(public), "--rights-only")
    assert later["kind"] == "rights"
    assert [one["name"] for one in facts(house, "list", shelf)] == [made["name"], later["name"]]
    pem = str(house.settings.signing_keys / "backups.pem")
    found = facts(house, "verify", shelf, "--key", pem, "--identity", str(secret), home=tmp_path / "nowhere")
    assert (found["name"], found["opened"]) == (made["name"], made["files"])
    assert facts(house, "verify", shelf)["opened"] == 0
    home = tmp_path / "new"
    keys = ("--key", pem, "--identity", str(secret), "--reason", REASON)
    restored = facts(house, "restore", shelf, "--to", str(home), *keys)
    assert (restored["name"], restored["rights"]) == (made["name"], later["name"])
    again = run(house, "restore", shelf, "--to", str(home), *keys)
    assert again.exit_code == 2
    assert "configuration.not-empty" in again.stderr
    left = facts(house, "settle", "--reason", REASON, home=home, code=3)
    assert (left["open"], left["erasures_known"], left["consents_known"]) == (False, False, False)
    told = run(house, "settle", "--reason", REASON, home=home)
    assert told.stderr.count("closed:") == 2
    assert facts(house, "settle", "--reason", REASON, "--erasures-known", "--consents-known", home=home) == {
        "open": True
    }
    assert facts(house, "settle", "--reason", REASON, home=home) == {"open": True}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "SHELF", "--recipient", "age1nobody"), 2, "configuration.recipient"),
        (("create", "SHELF", "--recipient", "KEY"), 2, "a private key"),
        (("create", "ftp://x", "--recipient", "RECIPIENT"), 2, "configuration"),
        (("verify", "SHELF", "--key", "KEY"), 2, "no Ed25519 public key"),
        (("verify", "SHELF", "--key", "MISSING"), 6, "storage"),
        (("restore", "SHELF", "--to", "NEW", "--key", "KEY", "--identity", "KEY", "--reason", "short"), 2, ""),
        (("settle", "--reason", "short"), 2, "configuration.reason"),
    ],
)
def test_what_cannot_be_used_is_said(
    house: Shelved, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    places = {"SHELF": str(tmp_path / "shelf"), "NEW": str(tmp_path / "new"), "MISSING": str(tmp_path / "missing")}
    places |= {"KEY": str(house.identity), "RECIPIENT": house.recipient}
    result = run(house, *(places.get(one, one) for one in arguments))
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.rglob("*.age"))


def test_an_empty_shelf_has_nothing(house: Shelved, tmp_path: Path) -> None:
    house.create()  # so that there is a key
    assert facts(house, "list", str(tmp_path / "shelf")) == []
    assert run(house, "verify", str(tmp_path / "shelf")).exit_code == 5
