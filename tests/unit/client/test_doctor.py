"""`cloakhouse doctor`: what stands on the screen, and the exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.house import House
from tests.support.service_bao import Bao, shared
from tests.support.small_releases import with_release

from cloakhouse.client.cli import cli
from cloakhouse.settings import Settings
from cloakhouse.stages.health import CHECKS

Doctor = Callable[..., Result]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> House:
    """An installation with a published version."""
    return with_release(Settings.from_environment({}).with_home(tmp_path_factory.mktemp("doctor") / "home"), [101, 102])


@pytest.fixture
def house(template: House, tmp_path: Path) -> House:
    return template.copy(tmp_path / "home")


@pytest.fixture
def doctor(house: House) -> Doctor:
    """Run `cloakhouse doctor` over `house`, whose files are for their owner alone."""
    for path in house.settings.home.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)

    def run(*arguments: str, **environment: str) -> Result:
        cleared = {f"CLOAKHOUSE_{name}": None for name in ("KEYS", "DATABASE", "IDENTITY", "PURPOSE", "DEBUG")}
        env = {**cleared, "CLOAKHOUSE_HOME": str(house.settings.home), **environment}
        return CliRunner().invoke(cli, ["doctor", *arguments], env=env, prog_name="cloakhouse")

    return run


def facts(result: Result) -> dict[str, dict[str, Any]]:
    return {item["what"]: item for item in json.loads(result.stdout)}


def test_an_installation_in_order_is_exit_code_0(doctor: Doctor) -> None:
    result = doctor()
    assert (result.exit_code, result.stderr) == (0, "")
    assert all(len(line) <= 100 for line in result.stdout.splitlines())
    for what in ("key service", "token root", "control database", "lake", "console", "file modes", "log chain", "DAGs"):
        assert what in result.stdout
    assert "false" not in result.stdout
    assert "wrong" not in result.stdout


def test_json(doctor: Doctor) -> None:
    result = doctor("--output", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = facts(result)
    assert len(found) == 7 + len(CHECKS) + 4
    common = {"what", "expected", "found", "state", "ok", "remedy"}
    negotiated = [item for item in found.values() if item.keys() == common | {"endpoint", "protocol", "detail"}]
    assert len(negotiated) == 7
    assert all(item.keys() == common for item in found.values() if item not in negotiated)
    assert found.pop("Airflow's connections")["state"] == "skipped"  # it never ran there
    assert all(item["ok"] is True and item["state"] in ("ok", "note") for item in found.values())


def test_fast_leaves_out_what_takes_longer(doctor: Doctor) -> None:
    found = facts(doctor("--fast", "--output", "json"))
    assert "checkpoint" in found
    assert not found.keys() & {"log chain", "versions", "budgets", "Airflow's database", "DAGs"}


def test_what_is_stored_and_not_what_was_written_is_exit_code_4(doctor: Doctor, house: House) -> None:
    next((house.settings.lake / "synthetic").rglob("*.parquet")).unlink()
    result = doctor()
    assert result.exit_code == 4
    assert "versions: restore the lake" in result.stderr


def test_a_file_open_to_others_is_exit_code_6_with_its_remedy(doctor: Doctor, house: House) -> None:
    (house.settings.home / "control.db").chmod(0o644)
    result = doctor("--fast")
    assert result.exit_code == 6
    assert "control.db" in result.stdout
    assert result.stderr.startswith("file modes: chmod")
    assert all(len(line) <= 100 for line in (result.stdout + result.stderr).splitlines())
    again = doctor("--fast", "--output", "json")
    assert (again.exit_code, again.stderr, facts(again)["file modes"]["ok"]) == (6, "", False)


def test_a_real_service_shows_protocol_and_cipher(doctor: Doctor, house: House) -> None:
    shutil.rmtree(house.settings.token_roots)
    result = doctor("--fast", CLOAKHOUSE_KEYS=shared().uri("doctorcli"))
    assert result.exit_code == 0
    assert "TLSv1.3" in result.stdout
    assert "TLS_" in result.stdout
    assert all(len(line) <= 100 for line in result.stdout.splitlines())
    assert shared().root not in result.stdout + result.stderr


def test_a_server_of_tls_1_2_is_exit_code_6(doctor: Doctor, tmp_path: Path) -> None:
    server = Bao(tmp_path / "bao")
    try:
        server.kill()
        file = tmp_path / "bao" / "server.json"
        configuration = json.loads(file.read_text())
        configuration["listener"][0]["tcp"].update(tls_min_version="tls12", tls_max_version="tls12")
        file.write_text(json.dumps(configuration))
        server.start()
        result = doctor("--fast", "--output", "json", CLOAKHOUSE_KEYS=server.uri())
        assert result.exit_code == 6
        finding = facts(result)["key service"]
        assert finding["ok"] is False
        assert "1.3" in finding["detail"] + finding["remedy"]
    finally:
        server.kill()


def test_an_unreachable_service_leaves_the_other_checks_standing(doctor: Doctor) -> None:
    result = doctor("--fast", "--output", "json", CLOAKHOUSE_KEYS=shared().uri().replace(f":{shared().port}/", ":9/"))
    found = facts(result)
    assert result.exit_code == 6
    assert (found["key service"]["ok"], found["key service"]["protocol"]) == (False, "key.unreachable")
    assert [found[what]["ok"] for what in ("control database", "lake", "file modes")] == [True] * 3


def test_a_setting_that_can_not_be_used_is_exit_code_2(doctor: Doctor) -> None:
    result = doctor(CLOAKHOUSE_ROTATION_DAYS="soon")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("configuration at CLOAKHOUSE_ROTATION_DAYS")
