"""`cloakhouse consent`: from an empty register to what is due, as a privacy desk works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.consents import copied, deliver, made, master_line, protect, rights

from cloakhouse.client.cli import cli
from cloakhouse.settings import Settings

Command = Callable[..., Result]
NAMES = ("KEYS", "DATABASE", "EXPECTATIONS", "IDENTITY", "PURPOSE", "DEBUG", "LAKE", "CACHE", "POLICY")
REASON = ("--reason", "case 4711: a call of the customer")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    house = made(tmp_path_factory.mktemp("desk") / "home")
    deliver(house, "2017-01-02", [master_line(1), master_line(2, sharing=False), master_line(3, country="US")])
    rights(house, [1])
    protect(house, "2017-01-02", [1, 2, 3])
    return house


@pytest.fixture
def run(template: Settings, tmp_path: Path) -> Command:
    settings = copied(template, tmp_path / "home")
    env: dict[str, str | None] = {f"CLOAKHOUSE_{name}": None for name in NAMES}
    env |= {"CLOAKHOUSE_HOME": str(settings.home), "CLOAKHOUSE_CONTRACTS": str(settings.contracts)}

    def command(*arguments: str, text: str | None = None) -> Result:
        result = CliRunner().invoke(cli, ["consent", *arguments], env=env, input=text, prog_name="cloakhouse")
        assert "Traceback" not in result.stdout + result.stderr
        assert all(len(line) <= 100 for line in result.stdout.splitlines())
        return result

    return command


def answer(result: Result) -> Any:
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_from_an_empty_register_to_what_is_due(run: Command, tmp_path: Path) -> None:
    assert "the register is empty" in run("show").stderr
    assert answer(run("feed", "--output", "json"))["choices"] == 12
    assert "0 choices are new, of 3 persons in customers" in run("feed").stderr
    pinned = answer(run("snapshot", "--purpose", "analytics", "--output", "json"))
    assert (pinned["allowed"], pinned["subjects"]) == (3, 3)
    assert "nothing is due" in run("due").stderr

    choice = ("--purpose", "analytics", "--choice", "refused", "--policy", "1", *REASON)
    assert run("record", *choice, text="1\n").stderr == "registered\n"
    file = tmp_path / "choices.csv"
    file.write_text("household_id,purpose,choice,chosen_at,policy\n2,analytics,refused,2026-01-01T10:00:00Z,1\n")
    assert run("import", str(file), *REASON).stderr == "1 of 1 choices are new\n"

    shown = run("show").stdout.splitlines()
    assert shown[0].split() == ["purpose", "law", "persons", "granted", "refused", "told", "allowed"]
    assert ["analytics", "gdpr", "2", "0", "2", "0", "0"] in [line.split() for line in shown]
    assert "customers 2017-01-02" in run("due").stdout
    [due] = answer(run("due", "--output", "json"))["due"]
    assert (due["persons"], due["overdue"], due["deadline"]) == (2, True, "2026-01-31T10:00:00Z")
    assert "2 rows were cut out of 1 partitions" in run("due", "--take-out", *REASON).stderr
    assert answer(run("due", "--output", "json")) == {"due": [], "taken_out": []}


def test_what_can_not_be_registered_is_told_without_the_person(run: Command, tmp_path: Path) -> None:
    choice = ("--purpose", "sharing", "--choice", "refused", "--policy", "1")
    refused = run("record", *choice, *REASON, text="anna@example.com\n")
    assert refused.exit_code == 2
    assert "a text that names nobody" in refused.stderr
    assert "anna" not in refused.stderr
    assert run("record", *choice, text="1\n").exit_code == 2  # no reason
    assert run("record", *choice, *REASON, "--chosen-at", "yesterday", text="1\n").exit_code == 2
    assert (
        run("record", *choice, *REASON, "--source", "gpc", "--chosen-at", "2026-01-01T10:00:00Z", text="1").exit_code
        == 0
    )
    assert run("import", str(tmp_path / "none.csv"), *REASON).exit_code == 5


def test_a_home_that_is_not_there_gets_no_register(run: Command, tmp_path: Path) -> None:
    missing = {"CLOAKHOUSE_HOME": str(tmp_path / "elsewhere"), "CLOAKHOUSE_DATABASE": None}
    result = CliRunner().invoke(cli, ["consent", "show"], env=missing)
    assert result.exit_code == 5
    assert not (tmp_path / "elsewhere").exists()
