"""`cloakhouse subject`: the officer's commands of docs/subject-access.md one after the other, and what is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.support.house import House, protected

from cloakhouse.client.cli import cli

Cloakhouse = Callable[..., Result]
PURPOSE = "data-subject-rights"
REASON = ("--reason", "access request DSR-4711")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("subjects")
    made = protected().copy(folder / "home")
    policy = made.settings.policy.read_text()
    (folder / "access.yaml").write_text(
        policy.replace("principals: {}", "principals: {dora: {roles: [privacy-officer]}}")
    )
    return made


@pytest.fixture
def run(house: House, monkeypatch: pytest.MonkeyPatch) -> Cloakhouse:
    for name in ("KEYS", "DATABASE", "IDENTITY", "PURPOSE", "LAKE", "ORGANISATION"):
        monkeypatch.delenv(f"CLOAKHOUSE_{name}", raising=False)
    folder = house.settings.home.parent
    given = {"HOME": house.settings.home, "CONTRACTS": house.settings.contracts, "POLICY": folder / "access.yaml"}
    given["ORGANISATION"] = house.settings.project / "dags" / "organisation.yaml"
    for name, value in given.items():
        monkeypatch.setenv(f"CLOAKHOUSE_{name}", str(value))

    def command(*arguments: str | Path, officer: bool = False, **env: str) -> Result:
        who = {"CLOAKHOUSE_IDENTITY": str(folder / "dora.txt"), "CLOAKHOUSE_PURPOSE": PURPOSE} if officer else {}
        result = CliRunner().invoke(cli, list(map(str, arguments)), env={**who, **env}, prog_name="cloakhouse")
        assert "Traceback" not in result.stdout + result.stderr
        return result

    return command


def test_from_the_role_to_the_opened_copy(house: House, run: Cloakhouse) -> None:
    folder = house.settings.home.parent
    key = X25519PrivateKey.generate()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(pem)
    (folder / "private.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "private.pem").chmod(0o600)
    (folder / "person.csv").write_text("household_id\n" + "208\n208\n")
    roots = [("tokens", "root"), ("purposes", "rights"), ("purposes", "analytics")]
    grants = [("keys", "grant", "--role", "dora", "--zone", z, "--class", c, "--purpose", PURPOSE) for z, c in roots]
    ready = ("consent", "feed")  # makes the key that recognises persons
    for administration in (
        ("keys", "enrol", "dora", "--identity", folder / "dora.txt"),
        ready,
        ("access", "apply"),
        *grants,
    ):
        assert run(*administration).exit_code == 0, administration
    copy = ("subject", "export", "--subject-file", folder / "person.csv", "--recipient", folder / "public.pem", *REASON)
    told = run(*copy, "--out", folder / "copy.age", "--output", "json", officer=True)
    assert told.exit_code == 0, told.stderr
    facts = json.loads(told.stdout)
    assert facts["rows"]["customers"] == {"landed": 1, "protected": 1}
    assert (folder / "copy.age").stat().st_mode & 0o777 == 0o600
    again = run(*copy, "--out", folder / "copy.age", officer=True)
    assert (again.exit_code, "a name that is free" in again.stderr) == (2, True)
    opened = run("subject", "open", folder / "copy.age", "--key", folder / "private.pem", "--out", folder / "copy.zip")
    assert opened.exit_code == 0, opened.stderr
    with zipfile.ZipFile(folder / "copy.zip") as file:
        [line] = json.loads(file.read("landed/customers.json"))
        assert line["household_id"] == 208
        assert {"about.html", "about.json", "consents.csv", "protected/transactions.csv"} <= set(file.namelist())
    log = run("audit", "list", "--action", "export subject", "--output", "json")
    assert line["name"] not in log.stdout
    assert "DSR-4711" in log.stdout


def test_the_platform_itself_gets_no_copy_and_no_file_is_left(house: House, run: Cloakhouse) -> None:
    folder = house.settings.home.parent
    (folder / "person.csv").write_text("household_id\n208\n")
    recipient = "age1nobody"
    ask = ("subject", "export", "--subject-file", folder / "person.csv", *REASON, "--out", folder / "no.age")
    assert run(*ask, "--recipient", recipient).exit_code == 2
    (folder / "public.pem").write_bytes(
        X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    refused = run(*ask, "--recipient", folder / "public.pem")
    assert refused.exit_code == 3
    assert "access.platform" in refused.stderr
    assert not list(folder.glob("*no.age*"))


def test_what_goes_with_every_copy_is_shown_without_a_person(run: Cloakhouse, tmp_path: Path) -> None:
    told = json.loads(run("subject", "about").stdout)
    assert {one["dataset"] for one in told["processing"]} >= {"customers", "transactions"}
    assert told["complaints_to"]["name"]
    assert run("subject", "about", "--out", tmp_path / "about.html").exit_code == 0
    page = (tmp_path / "about.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "How long we keep them" in page
