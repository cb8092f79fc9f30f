"""`cloakhouse access` as whoever keeps the policy uses it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.access import POLICY, AccessHouse

from cloakhouse.client.cli import cli
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.service import service_of
from cloakhouse.settings import Settings

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> AccessHouse:
    return AccessHouse.make(tmp_path_factory.mktemp("access"))


@pytest.fixture
def house(made: AccessHouse, tmp_path: Path) -> AccessHouse:
    return made.copy(tmp_path)


@pytest.fixture
def access(house: AccessHouse) -> Run:
    """Run `cloakhouse access ...` in this process; every answer fits a terminal."""

    def run(*arguments: str, **more: str) -> Result:
        cleared = {f"CLOAKHOUSE_{n}": None for n in ("KEYS", "DATABASE", "IDENTITY", "PURPOSE", "DEBUG", "CONTRACTS")}
        paths = {"CLOAKHOUSE_HOME": str(house.settings.home), "CLOAKHOUSE_POLICY": str(house.settings.policy)}
        result = CliRunner().invoke(
            cli, ["access", *arguments], env={**cleared, **paths, **more}, prog_name="cloakhouse"
        )
        assert "Traceback" not in result.output
        if "json" not in arguments:
            assert all(len(line) <= 100 for line in result.stdout.splitlines()), result.stdout
        return result

    return run


def answer(result: Result) -> Any:
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", [[], ["check"], ["apply"], ["review"]])
def test_help(access: Run, command: list[str]) -> None:
    shown = access(*command, "-h")
    assert shown.exit_code == 0
    assert not [line for line in shown.stdout.splitlines()[1:] if line.endswith("...")]


def test_check(access: Run, house: AccessHouse) -> None:
    assert answer(access("check", "--output", "json")) == {
        "roles": ["desk-staff", "modeller"],
        "principals": ["dan", "mia"],
        "unknown_datasets": ["private"],
    }
    told = access("check")
    assert "2 roles, 2 principals" in told.stderr
    assert "no contract declares: private" in told.stderr
    house.edit(("access/v1", "access/v2"), ("2027-05-31\n    reads: [", "soon\n    reads: ["))
    refused = access("check")
    assert refused.exit_code == 2
    assert "access.yaml:1:13" in refused.stderr
    assert "access.yaml:5:15" in refused.stderr


def test_the_shipped_policy_is_sound(access: Run) -> None:
    shipped = Settings.from_environment({}).policy
    assert answer(access("check", "--output", "json", CLOAKHOUSE_POLICY=str(shipped)))["unknown_datasets"] == []


def test_apply(access: Run, house: AccessHouse) -> None:
    dry = answer(access("apply", "--dry-run", "--output", "json"))
    assert (len(dry["granted"]), len(dry["shared"]), dry["dry_run"]) == (7, 5, True)
    shown = access("apply", "--dry-run")
    assert "this would be done" in shown.stderr
    assert service_of(house.settings).grants() == ()
    done = access("apply")
    assert done.exit_code == 0
    assert "the grants are as the policy says" in done.stderr
    for text in ("granted", "access/desk_staff", "shared", "synthetic/payment/private", "desk-staff"):
        assert text in done.stdout
    assert "nothing was to be done" in access("apply").stderr
    assert "nothing would be done" in access("apply", "--dry-run").stderr
    assert answer(access("apply", "--output", "json"))["granted"] == []


def test_apply_tells_what_it_leaves_finishes_and_is_refused(access: Run, house: AccessHouse) -> None:
    service_of(house.settings).grant(Grant("dan", KeyName("reversible/customer_service"), "service desk"))
    house.say(POLICY + "  abe: {roles: [modeller]}\n")
    (house.settings.home / "access-changes.json").write_text('{"format": 1, "renew": {}, "revoke": []}')
    assert "wait to be finished" in access("apply", "--dry-run").stderr
    done = access("apply")
    assert done.exit_code == 6
    assert "withdrawals of an earlier call were finished" in done.stderr
    assert "outside of the policy: reversible/customer_service to dan for service desk" in done.stderr
    assert "refused (key.identity): synthetic/plain to abe for training" in done.stderr
    assert "the grants are as the policy says" not in done.stderr
    strict = answer(access("apply", "--strict", "--dry-run", "--output", "json"))
    assert [g["key"] for g in strict["revoked"]] == ["reversible/customer_service"]


def test_apply_is_the_administrator_s(access: Run, house: AccessHouse) -> None:
    refused = access("apply", CLOAKHOUSE_IDENTITY=str(house.settings.home.parent / "mia.txt"))
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "access.key" in refused.stderr


def test_apply_in_halves(access: Run, house: AccessHouse) -> None:
    dry = answer(access("apply", "--grants", "--dry-run", "--output", "json"))
    assert (len(dry["granted"]), dry["shared"], len(dry["left"]["shared"])) == (7, [], 5)
    early = access("apply", "--shares", "--dry-run")
    assert "left to whoever administers keys: `cloakhouse access apply --grants`" in early.stderr
    assert "grant synthetic/plain to mia for training" in early.stderr
    granted = access("apply", "--grants")
    assert (granted.exit_code, "shared" in granted.stdout) == (0, False)
    assert "left to the platform: `cloakhouse access apply --shares`" in granted.stderr
    shared = access("apply", "--shares")
    assert (shared.exit_code, "granted" in shared.stdout) == (0, False)
    assert "the shares are as the policy says" in shared.stderr
    assert "left to" not in shared.stderr
    assert "nothing was to be done" in access("apply", "--shares").stderr
    house.edit(("  dan: {roles: [desk-staff]}\n", ""))
    refused = access("apply", "--shares")
    assert refused.exit_code == 3
    assert "withdraw access/desk_staff to dan for service desk" in refused.stderr
    assert "--grants" in access("apply", "--shares", "--strict").stderr
    assert access("apply", "--shares", "--strict").exit_code == 2


def test_review(access: Run, house: AccessHouse) -> None:
    assert access("apply").exit_code == 0
    found = answer(access("review", "--output", "json"))
    assert {o["granted"] for o in found["openings"]} == {"yes"}
    assert {f["kind"] for f in found["findings"]} == {"unused"}
    table = access("review")
    for text in ("modeller", "synthetic: *", "indirect, plain", "never", "2027-05-31", "To look at", "unused"):
        assert text in table.stdout
    assert access("review", "--check").exit_code == 0
    house.edit(("mia: {roles: [modeller]}", "mia: {roles: [modeller], reviewBy: 2020-01-01}"))
    overdue = access("review", "--check")
    assert overdue.exit_code == 3
    assert "to be reviewed by 2020-01-01" in " ".join(overdue.stdout.split())
    assert access("review").exit_code == 0
    assert access("review", "--unused-days", "0").exit_code == 2


def test_a_policy_that_names_nobody(access: Run, house: AccessHouse) -> None:
    house.say(POLICY.split("principals:")[0] + "principals: {}\n")
    shown = access("review")
    assert shown.exit_code == 0
    assert "nobody but the platform reads" in shown.stderr
    assert "no principal has it" in shown.stdout


def test_a_home_that_is_not_there_is_not_made(access: Run, house: AccessHouse) -> None:
    shutil.rmtree(house.settings.home)
    for command in ("apply", "review"):
        assert access(command).exit_code == 5
    assert not house.settings.home.exists()
