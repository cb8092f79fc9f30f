"""The commands of `governance`: exit codes, forms, files."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.support.governing import write_organisation

from cloakhouse.client.failures import CarefulGroup
from cloakhouse.client.governing import governance
from cloakhouse.settings import Settings


@click.group(cls=CarefulGroup)
def cli() -> None:
    pass


cli.add_command(governance)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEYS", "DATABASE", "CONTRACTS", "POLICY", "ORGANISATION"):
        monkeypatch.delenv(f"CLOAKHOUSE_{name}", raising=False)
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(tmp_path / "home"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["governance", *map(str, arguments)])


def test_shipped_contracts_pass_the_law_in_force(tmp_path: Path) -> None:
    result = run("check")
    assert result.exit_code == 0
    assert "0 missing; 0 incomplete; 4 note" in result.stderr
    assert "not legal advice" in result.stderr
    assert not (tmp_path / "home").exists()


def test_something_missing_is_refused() -> None:
    result = run("check", "customers", "--profile", "pipl", "--output", "json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert {(one["dataset"], one["profile"]) for one in found} == {("customers", "pipl")}
    assert [one["severity"] for one in found] == ["missing", "missing", "incomplete", "incomplete"]
    assert found[0]["clause"] == "PIPL Art. 13"
    told = json.loads(result.stderr[result.stderr.index("{") :])
    assert (told["code"], told["found"]) == ("validation.governance", "2 missing")


def test_profiles_may_be_several() -> None:
    result = run("check", "--profile", "ccpa", "--profile", "lgpd", "--output", "json")
    assert result.exit_code == 0
    assert {one["profile"] for one in json.loads(result.stdout)} == {"ccpa", "lgpd"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["check", "nobody"], 5, "not-found"),
        (["check", "--profile", "hipaa"], 2, "Invalid value"),
        (["record", "--format", "pdf"], 2, "Invalid value"),
        (["record", "--date", "22.11.2026"], 2, "Invalid value"),
        (["record", "--organisation", "/nowhere/o.yaml"], 2, "contract.file"),
    ],
)
def test_what_cannot_be_done(arguments: list[str], code: int, told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    assert told in result.stderr


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("record", "--out", tmp_path / "file" / "record.html")
    assert result.exit_code == 6
    assert "storage" in result.stderr


@pytest.mark.parametrize("kind", ["record", "dpia", "transparency"])
def test_a_document_in_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "document.html"
    result = run(kind, "--out", path, "--date", "2026-11-22")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert str(path) in result.stderr
    text = path.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert 'datetime="2026-11-22"' in text
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]  # no temporary file, no home


def test_a_document_on_standard_output_by_another_organisation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAKHOUSE_ORGANISATION", str(write_organisation(tmp_path / "o.yaml")))
    result = run("record", "customers", "--format", "json-ld")
    document, controller, *processes = json.loads(result.stdout)["@graph"]
    assert controller["dpv:hasName"] == "Shop"
    assert len(processes) == 1
    assert document["dpv:hasApplicableLaw"] == ["General Data Protection Regulation, Regulation (EU) 2016/679"]
    assert run("dpia", "--format", "markdown").stdout.startswith("# Data protection impact assessment: skeleton\n")


def test_the_organisation_is_beside_the_contracts() -> None:
    assert (Settings.from_environment({}).contracts.parent / "organisation.yaml").is_file()
