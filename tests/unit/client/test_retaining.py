"""`cloakhouse retention plan | run | check`, from the shell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.contracts import SHIPPED
from tests.support.versions import NAME, Shelf

from cloakhouse.client.failures import CarefulGroup
from cloakhouse.client.retaining import retention


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf.at(tmp_path)
    made.publish()
    for name, value in made.settings.environment().items():
        monkeypatch.setenv(name, value)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(CarefulGroup(commands={"retention": retention}), ["retention", *arguments])


def answer(*arguments: str) -> Any:
    done = run(*arguments, "--output", "json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_what_expires_next_and_a_run_with_nothing_due(shelf: Shelf) -> None:
    assert answer("plan", "--days", "0")["items"] == []
    far = answer("plan", "--days", "36500")
    assert sum(far["by_day"].values()) == len(far["items"])
    dry, done = answer("run", "--dry-run"), answer("run")
    assert (dry["gone"], dry["report"], done["gone"], done["failed"]) == ([], None, [], {})
    assert done["report"]["path"].startswith("evidence/retention/")
    assert shelf.register.versions(NAME)[0].state.value == "published"


def test_contracts_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAKHOUSE_CONTRACTS", str(SHIPPED))
    assert answer("check")["unused"] == 0
    folder = tmp_path / "contracts"
    shutil.copytree(SHIPPED, folder)
    path = folder / "products.odcs.yaml"
    text = path.read_text().replace("          - {property: keptFor, value: sales by brand}\n", "")
    path.write_text(text.replace("quarantine: 30, ", ""))
    monkeypatch.setenv("CLOAKHOUSE_CONTRACTS", str(folder))
    found = run("check")
    assert found.exit_code == 2
    assert "products.brand" in found.stderr
    assert "products/quarantine" in found.stderr
