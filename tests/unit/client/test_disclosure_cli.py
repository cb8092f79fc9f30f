"""`cloakhouse detokenize | link` and `audit list` of them, from enrolment to the record, as a service desk works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from tests.support.house import House, protected
from tests.support.principals import EMAIL, REASON, add_members, outcomes, principal, protected_column, tokens_of

import cloakhouse
from cloakhouse.client.cli import cli
from cloakhouse.tokens.render import to_hex

Cloakhouse = Callable[..., Result]
PROGRAM = Path(sys.executable).with_name("cloakhouse")
NAMES = ("KEYS", "DATABASE", "CONTRACTS", "EXPECTATIONS", "IDENTITY", "PURPOSE", "DETOKENIZE_LIMIT", "DEBUG")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return protected().copy(tmp_path / "home")


@pytest.fixture
def run(house: House) -> Cloakhouse:
    """Run a command as ann of the service desk; every answer fits a terminal."""

    def command(*arguments: str, text: str | None = None, **more: str) -> Result:
        clean: dict[str, str | None] = {f"CLOAKHOUSE_{name}": None for name in NAMES}
        env = {**clean, "CLOAKHOUSE_HOME": str(house.settings.home), **asking(house)}
        env["CLOAKHOUSE_CONTRACTS"] = str(house.settings.contracts)
        result = CliRunner().invoke(cli, arguments, env={**env, **more}, input=text, prog_name="cloakhouse")
        assert "Traceback" not in result.stdout + result.stderr
        assert all(len(line) <= 100 for line in result.stdout.splitlines())
        return result

    return command


def asking(house: House) -> dict[str, str]:
    return {
        "CLOAKHOUSE_IDENTITY": str(house.settings.home.parent / "ann.txt"),
        "CLOAKHOUSE_PURPOSE": "service desk",
    }


def answer(result: Result) -> Any:
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def emails(house: House) -> list[str]:
    principal(house, "ann", [EMAIL])
    return [str(token) for token in tokens_of(house, "email", ["anna@example.com", "bert@example.org"])]


def test_from_enrolment_to_the_record_with_the_program_itself(house: House, tmp_path: Path) -> None:
    """The commands of docs/keys.md, one after the other."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CLOAKHOUSE")}
    desk_purpose = ["--purpose", "service desk"]
    home, desk = {**clean, "CLOAKHOUSE_HOME": str(house.settings.home)}, asking(house)
    [token] = tokens_of(house, "email", ["anna@example.com"])

    def program(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [PROGRAM, *arguments]
        return subprocess.run(command, env={**home, **more}, capture_output=True, text=True, timeout=120, check=False)

    for administration in (
        ["keys", "enrol", "ann", "--identity", str(tmp_path / "ann.txt")],
        ["keys", "grant", "--role", "ann", "--zone", "reversible", "--class", "customer_service", *desk_purpose],
    ):
        assert program(*administration).returncode == 0
    asked = program("detokenize", "customers", "email", str(token), "--reason", REASON, **desk)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "anna@example.com" in asked.stdout
    over = program(
        "detokenize", "customers", "email", str(token), "--reason", REASON, CLOAKHOUSE_DETOKENIZE_LIMIT="1", **desk
    )
    assert (over.returncode, over.stdout) == (3, "")
    found = json.loads(program("audit", "list", "--action", "detokenize", "--output", "json").stdout)
    assert [(e["actor"], e["decision"], e["code"]) for e in found] == [
        ("ann", "refused", "access.rate"),
        ("ann", "allowed", ""),
    ]
    assert "anna" not in json.dumps(found)


def test_detokenize(house: House, run: Cloakhouse) -> None:
    tokens = emails(house)
    found = answer(run("detokenize", "customers", "email", *tokens, "--reason", REASON, "--output", "json"))
    assert found == [
        {"token": tokens[0], "value": "anna@example.com"},
        {"token": tokens[1], "value": "bert@example.org"},
    ]
    table = run("detokenize", "customers", "email", *tokens, "--reason", REASON)
    assert (table.exit_code, table.stderr) == (0, "")
    assert table.stdout.split()[:2] == ["token", "email"]
    assert "anna@example.com" in table.stdout
    assert outcomes(house) == [("ann", "allowed", "", 2)] * 2


def test_tokens_from_a_file_or_standard_input(house: House, run: Cloakhouse, tmp_path: Path) -> None:
    tokens = emails(house)
    (tmp_path / "tokens.txt").write_bytes(("\ufeff" + "\r\n".join([*tokens, "", ""])).encode())
    common = ("detokenize", "customers", "email", "--reason", REASON, "--output", "json", "--tokens-file")
    found = answer(run(*common, str(tmp_path / "tokens.txt")))
    assert [pair["value"] for pair in found] == ["anna@example.com", "bert@example.org"]
    assert answer(run(*common, "-", text=f" {tokens[0]} \n")) == [{"token": tokens[0], "value": "anna@example.com"}]
    (tmp_path / "tokens.txt").write_bytes(b"\xff\xfe\x00")
    assert run(*common, str(tmp_path / "tokens.txt")).exit_code == 4
    assert [count for *_, count in outcomes(house)] == [2, 1]


def test_tokens_of_a_period_need_a_day(house: House, run: Cloakhouse) -> None:
    house.edit_contract("customers", "form: base32, normalise: email", "form: base32, period: year")
    emails(house)
    given = ("detokenize", "customers", "email", "AAAAAAAAAAAAAAAAAAAAAAAAAA", "--reason", REASON)
    assert run(*given).exit_code == 2
    assert run(*given, "--day", "yesterday").exit_code == 2
    assert run(*given, "--day", "2017-02-31").exit_code == 2
    assert run(*given, "--day", "2017-02-28").exit_code == 4  # asked for, and no token of that year
    assert outcomes(house) == [("ann", "allowed", "", 1)]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["customers", "email", "AAAA"], 2, "--reason"),
        (["customers", "email", "--reason", REASON], 2, "--tokens-file"),
        (["customers", "email", "AAAA", "--tokens-file", "-", "--reason", REASON], 2, "--tokens-file"),
        (["customers", "email", "--tokens-file", "none.txt", "--reason", REASON], 2, "none.txt"),
        (["customers", "email", "AAAA", "--reason", "why not"], 2, "configuration.reason"),
        (["customers", "name", "AAAA", "--reason", REASON], 2, "email, card_number, loyalty_card"),
        (["customers", "mail", "AAAA", "--reason", REASON], 5, "not-found"),
        (["custmers", "email", "AAAA", "--reason", REASON], 5, "customers"),
        (["customers", "email", "anna@example.com", "--reason", REASON], 4, "treatment.rendering"),
    ],
)
def test_what_cannot_be_asked(house: House, run: Cloakhouse, arguments: list[str], code: int, told: str) -> None:
    emails(house)
    result = run("detokenize", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert "anna@" not in result.stderr
    assert outcomes(house) == []


def test_refusals_have_their_exit_codes_also_as_json(house: House, run: Cloakhouse) -> None:
    tokens = emails(house)
    forged = tokens[0][:-2] + ("A" if tokens[0][-2] != "A" else "B") + tokens[0][-1]
    common = ("detokenize", "customers", "email", "--reason", REASON, "--output", "json")
    for more, given, exit_code, code in (
        ({"CLOAKHOUSE_PURPOSE": "curiosity"}, tokens, 3, "access.key"),
        ({"CLOAKHOUSE_IDENTITY": ""}, tokens, 3, "access.platform"),
        ({"CLOAKHOUSE_DETOKENIZE_LIMIT": "1"}, tokens, 3, "access.rate"),
        ({"CLOAKHOUSE_DETOKENIZE_LIMIT": "many"}, tokens, 2, "configuration"),
        ({"CLOAKHOUSE_IDENTITY": "/nowhere"}, tokens, 6, "key.identity"),
        ({"CLOAKHOUSE_DATABASE": "sqlite:////nowhere/control.db"}, tokens, 5, "not-found.home"),
        ({"CLOAKHOUSE_HOME": "/nowhere"}, tokens, 5, "not-found.home"),
        ({}, [forged], 4, "treatment.authenticity"),
    ):
        result = run(*common, *given, **more)
        assert (result.exit_code, result.stdout) == (exit_code, "")
        assert json.loads(result.stderr)["code"] == code
        assert not [token for token in (*tokens, forged) if token in result.stderr]
    assert [code for _, decision, code, _ in outcomes(house) if decision == "refused"] == [
        "access.key",
        "access.platform",
        "access.rate",
        "key.identity",
    ]


def test_link_and_audit(house: House, run: Cloakhouse, tmp_path: Path) -> None:
    log = ("audit", "list", "--action", "link")
    assert run(*log).stderr == "no entry of the audit log is like that\n"
    assert answer(run(*log, "--output", "json")) == []
    add_members(house)
    principal(house, "ann", ["purposes/analytics", "purposes/marketing"])
    principal(house, "bob", ["purposes/analytics"])
    source, target = tmp_path / "members.csv", tmp_path / "linked.csv"
    members = to_hex(protected_column(house, "members", "household_id")).to_pylist()
    source.write_text("household\n" + "\n".join(members) + "\n")
    common = ["link", str(source), str(target), "--column", "household", "--domain", "customer"]
    scopes = ["--from", "marketing", "--to", "analytics", "--reason", REASON]
    bob = run(*common, *scopes, CLOAKHOUSE_IDENTITY=str(tmp_path / "bob.txt"))
    assert (bob.exit_code, target.exists()) == (3, False)
    facts = answer(run(*common, *scopes, "--output", "json"))
    count = len(members)
    assert facts == {
        "tokens": count,
        "domain": "customer",
        "from": "marketing",
        "to": "analytics",
        "target": str(target),
    }
    customers = to_hex(protected_column(house, "customers", "household_id")).to_pylist()
    assert set(target.read_text().split()[1:]) == set(customers)
    told = run(*common, *scopes)
    assert told.exit_code == 0
    assert f"{count:,} tokens of customer linked from marketing to analytics" in told.stderr
    assert run(*common[:2], str(source), *common[3:], *scopes).exit_code == 2
    assert run(*common, "--from", "marketing", "--to", "nobody", "--reason", REASON).exit_code == 2
    assert run(*common, *scopes, "--form", "binary").exit_code == 2
    assert run("link", "none.csv", str(target), *common[3:], *scopes).exit_code == 5
    expected = [("bob", "refused", "access.key", count), ("ann", "allowed", "", count), ("ann", "allowed", "", count)]
    assert outcomes(house) == expected
    found = answer(run(*log, "--output", "json"))
    assert [(e["actor"], e["decision"], e["code"], e["count"]) for e in found[::-1]] == expected
    assert {e["object"] for e in found} == {"customer: marketing to analytics"}
    table = run(*log)
    assert (table.exit_code, table.stderr) == (0, "")
    assert "access.key" in table.stdout


def test_python(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = emails(house)
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(house.settings.home))
    for name, value in asking(house).items():
        monkeypatch.setenv(name, value)
    values = cloakhouse.detokenize("customers", "email", [tokens[0], None], reason=REASON)
    assert values.equals(pa.array(["anna@example.com", None]))
    assert outcomes(house) == [("ann", "allowed", "", 1)]
    assert {"connect", "detokenize"} == set(cloakhouse.__all__)
    with pytest.raises(AttributeError):
        _ = cloakhouse.tokenize  # type: ignore[attr-defined]


def test_importing_the_package_stays_free_of_libraries() -> None:
    code = "import sys, cloakhouse; print(sorted({'pyarrow', 'sqlalchemy', 'click'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("command", ["detokenize", "link", "audit list"])
def test_help_fits(run: Cloakhouse, command: str) -> None:
    assert "--output" in run(*command.split(), "-h").stdout
