"""`cloakhouse erase` and `cloakhouse legal-hold`, from a file to the list of requests; the work is the flow's."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from tests.support.house import House, protected

from cloakhouse.client.cli import cli
from cloakhouse.errors import StageError
from cloakhouse.flow import erasing
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasure_model import Erasure
from cloakhouse.ledger.erasures import DIGEST, Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event
from cloakhouse.stages.certificate_verify import canonical
from cloakhouse.stages.erasure_batch import Batch
from cloakhouse.stages.erasure_certificate import certify
from cloakhouse.stages.signing import trusted_key
from cloakhouse.stages.sweep_findings import Findings
from cloakhouse.tokens.subjects import RIGHTS_TYPE

Cloakhouse = Callable[..., Result]
WHY = ("--reason", "ticket 4711 of the service desk")
HOUSEHOLDS = ("1", "7")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return protected().copy(tmp_path_factory.mktemp("erasing") / "home")


@pytest.fixture
def run(house: House) -> Cloakhouse:
    def command(*arguments: str) -> Result:
        env = {"CLOAKHOUSE_HOME": str(house.settings.home), "CLOAKHOUSE_CONTRACTS": str(house.settings.contracts)}
        env["CLOAKHOUSE_DATABASE"] = house.settings.database
        result = CliRunner().invoke(cli, arguments, env=env, prog_name="cloakhouse")
        assert "Traceback" not in result.stdout + result.stderr
        assert "json" in arguments or all(len(line) <= 100 for line in result.stdout.splitlines())
        return result

    return command


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "persons.csv"
    path.write_text("\n".join(("household_id", *HOUSEHOLDS, "nobody", "999999")))
    return str(path)


def answer(done: Result) -> Any:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_a_file_with_rubbish_is_refused_unless_it_is_passed_over(run: Cloakhouse, file: str) -> None:
    refused = run("erase", "--subject-file", file, *WHY, "--request-only")
    assert refused.exit_code == 4
    assert "1 wrong_value (line 4)" in refused.stderr
    assert answer(run("erase", "list", "--output", "json")) == []


def test_usage_is_told(run: Cloakhouse, file: str) -> None:
    assert run("erase").exit_code == 2
    assert run("erase", "--subject-file", file).exit_code == 2
    assert run("erase", "--subject-file", file, "--reason", "short", "--request-only").exit_code == 2
    assert run("erase", "show", "er-20000101-00000000").exit_code == 5
    assert run("erase", "--subject-file", "nothing", *WHY, "--request-only").exit_code == 5
    assert run("legal-hold", "place", "--subject-file", file, "--reason", "short").exit_code == 2


def test_a_dry_run_tells_places_and_requests_nothing(run: Cloakhouse, file: str) -> None:
    told = answer(run("erase", "--subject-file", file, "--dry-run", "--skip-unreadable", "--output", "json"))
    assert (told["persons"], told["unreadable"], told["unknown"]) == (2, 1, 1)
    rows = {(place["dataset"], place["zone"]): place["rows"] for place in told["affected"]}
    assert rows["customers", "landing"] == rows["customers", "protected"] == 2
    assert answer(run("erase", "list", "--output", "json")) == []


def test_from_request_to_resumption(
    run: Cloakhouse, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.csv"
    other.write_text("household_id\n1\n")
    batches = [
        answer(run("erase", "--subject-file", name, *WHY, "--request-only", "--skip-unreadable", "--output", "json"))
        for name in (file, str(other))
    ]
    assert [batch["persons"] for batch in batches] == [2, 1]
    listed = answer(run("erase", "list", "--open", "--output", "json"))
    assert [one["batch"] for one in listed] == [batch["batch"] for batch in batches]
    shown = answer(run("erase", "show", listed[0]["batch"], "--output", "json"))
    assert [step["step"] for step in shown["steps"]] == ["request"]
    assert run("erase", "show", listed[0]["batch"]).exit_code == run("erase", "list").exit_code == 0

    tried: list[str] = []

    def failing(_settings: Any, name: str, *_: Any) -> None:
        tried.append(name)
        if len(tried) == 1:
            raise StageError(where="x", expected="x", found="x", not_done="x", remedy="x", code="busy")

    monkeypatch.setattr(erasing, "erase", failing)
    resumed = run("erase", "resume", "--output", "json")
    assert resumed.exit_code == 1  # of the first, which failed
    assert [one["failure"] for one in json.loads(resumed.stdout)] == ["stage.busy", ""]
    assert tried == [batch["batch"] for batch in batches]


def test_holds_are_placed_listed_and_lifted(run: Cloakhouse, file: str) -> None:
    options = ("--subject-file", file, "--skip-unreadable", *WHY, "--output", "json")
    assert answer(run("legal-hold", "place", *options)) == {"persons": 3, "changed": 3, "missed": 0}
    [hold] = answer(run("legal-hold", "list", "--output", "json"))
    assert (hold["persons"], hold["standing"], hold["reason"]) == (3, 3, WHY[1])
    nobody = run("erase", "--subject-file", file, *WHY, "--skip-unreadable", "--request-only")
    assert nobody.exit_code == 5
    assert "2 held" in nobody.stderr
    assert answer(run("legal-hold", "lift", *options))["changed"] == 3
    assert run("legal-hold", "list").exit_code == 0


def test_a_certificate_is_verified_with_both_keys_and_has_a_page(run: Cloakhouse, house: House, tmp_path: Path) -> None:
    certified(house.settings, "er-20261122-0000c11f")
    path, page = tmp_path / "certificate.json", tmp_path / "certificate.html"
    for out, chosen in ((path, ()), (page, ()), (tmp_path / "same", ("--format", "html"))):
        assert run("erase", "certificate", "er-20261122-0000c11f", *chosen, "--out", str(out)).exit_code == 0
    assert page.read_bytes() == (tmp_path / "same").read_bytes()
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "The audit log has it." in page.read_text()

    releases, log = (tmp_path / f"{name}.pem" for name in ("releases", "audit"))
    for pem in (releases, log):
        pem.write_bytes(trusted_key(house.settings, pem.stem).pem)
    both = ("--key", str(releases), "--log-key", str(log))
    assert answer(run("erase", "verify", str(path), "--output", "json"))["logged"] is True
    assert answer(run("erase", "verify", str(path), *both, "--output", "json"))["logged"] is True
    alone = run("erase", "verify", str(path), *both[:2])
    assert (alone.exit_code, "was not checked" in alone.stderr) == (0, True)
    assert run("erase", "verify", str(path), *both[2:]).exit_code == 2

    content = json.loads(path.read_text())
    content["log"]["number"] += 1  # of the proof, which the signature doesn't cover
    path.write_bytes(canonical(content))
    assert run("erase", "verify", str(path)).exit_code == run("erase", "verify", str(path), *both).exit_code == 4


def certified(settings: Settings, name: str) -> None:
    by, at = event(settings, Action.REQUEST_ERASURE, f"erasure {name}"), dt.datetime.now(dt.UTC)
    persons = pa.array([bytes(16)], RIGHTS_TYPE)
    erasure = Erasure(name, by.actor, "asked by letter", 1, ManifestRef(f"rights/{name}/x.json", "0" * 64), at)
    erasures = Erasures(settings.database)
    erasures.request(erasure, persons, {DIGEST: name}, by)
    erasures.done(name, "sweep", Findings(1, {}, {}, {}, {}, (), ()).as_dict(), by)
    erasures.end(name, certify(settings, Batch(name, persons, "asked by letter", at, persons.slice(0, 0))), by)
