"""The commands `report`, `audit bundle` and `audit verify-bundle`, from the command line's side."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.support.released import PRIVATE, Released, released

from cloakhouse.client.bundling import bundle, verify_bundle
from cloakhouse.client.failures import CarefulGroup
from cloakhouse.client.reporting import report
from cloakhouse.stages.signing import trusted_key

GROUP = CarefulGroup("cloakhouse", commands={"report": report, "bundle": bundle, "verify-bundle": verify_bundle})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Released:
    return released(tmp_path_factory.mktemp("home"))


def run(made: Released, *arguments: object) -> Result:
    environment = made.settings.environment() | {"CLOAKHOUSE_IDENTITY": ""}
    return CliRunner().invoke(GROUP, [str(one) for one in arguments], env=environment)


def test_a_report_is_shown(made: Released) -> None:
    result = run(made, "report", PRIVATE)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "passed" in result.stdout
    assert "46 of 46 within their thresholds" in result.stdout
    assert json.loads(run(made, "report", f"{PRIVATE}@1", "--output", "json").stdout)["version"] == 1


def test_reports_are_written_and_verified(made: Released, tmp_path: Path) -> None:
    page, signed = tmp_path / "r.html", tmp_path / "r.json"
    assert run(made, "report", PRIVATE, "--out", page).exit_code == 0
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert run(made, "report", PRIVATE, "--out", signed).exit_code == 0
    shown = run(made, "report", PRIVATE, "--format", "json", "--out", "-")
    assert shown.stdout_bytes == signed.read_bytes()
    assert run(made, "report", "--verify", signed).exit_code == 0
    pem = made.settings.signing_keys / "releases.pem"
    assert "not changed since" in run(made, "report", "--verify", signed, "--key", pem).stderr
    assert (
        run(made, "report", "--verify", signed, "--key", trusted_key(made.settings, "releases").sha256).exit_code == 0
    )
    other = made.settings.signing_keys / "artifacts.pem"
    if not other.exists():
        from cloakhouse.stages.signing import signing_key

        signing_key(made.settings)
    assert run(made, "report", "--verify", signed, "--key", other).exit_code == 4
    assert run(made, "report", "--verify", signed, "--key", "0" * 64).exit_code == 2
    signed.write_bytes(signed.read_bytes().replace(b"a", b"b", 1))
    assert run(made, "report", "--verify", signed).exit_code == 4


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        ((PRIVATE, "--verify", "x.json"), 2),
        (("--verify", "/nowhere/x.json"), 5),
        (("no_such_dataset",), 5),
        (("../etc",), 2),
        ((PRIVATE, "--format", "exe", "--out", "-"), 2),
    ],
)
def test_arguments_that_are_refused(made: Released, arguments: tuple[str, ...], code: int) -> None:
    assert run(made, "report", *arguments).exit_code == code


def test_a_bundle_is_written_and_verified(made: Released, tmp_path: Path) -> None:
    out, key = tmp_path / "b.zip", trusted_key(made.settings, "releases").sha256
    result = run(made, "bundle", PRIVATE, "--out", out)
    assert result.exit_code == 0
    assert key in result.stderr
    shown = run(made, "verify-bundle", out)
    assert shown.exit_code == 0
    assert "NOT COMPARED" in shown.stdout
    assert f"compare {key}" in shown.stderr
    found = run(made, "verify-bundle", out, "--key", key, "--output", "json")
    assert json.loads(found.stdout)["gate"] == {"passed": True, "figures": 46, "checks": 14}
    assert run(made, "verify-bundle", out, "--key", "0" * 64).exit_code == 4
    assert run(made, "verify-bundle", out, "--key", "none").exit_code == 2
    assert run(made, "verify-bundle", tmp_path / "none.zip").exit_code == 5
    (tmp_path / "note.txt").write_text("no note")
    assert run(made, "verify-bundle", out, "--checkpoint", tmp_path / "note.txt").exit_code == 4
    (tmp_path / "long.txt").write_text("x" * 5_000)
    assert run(made, "verify-bundle", out, "--checkpoint", tmp_path / "long.txt").exit_code == 2
    out.write_bytes(out.read_bytes()[:-1])
    assert run(made, "verify-bundle", out).exit_code == 4


def test_commands_have_help() -> None:
    for command in (report, bundle, verify_bundle):
        assert isinstance(command, click.Command)
        assert command.help
