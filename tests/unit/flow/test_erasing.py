"""An erasure's steps in their order, each once, over real sources, and the attack's verdict has consequences."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.erasures import Attic, requested

from cloakhouse.client.cli import cli
from cloakhouse.errors import NotFound, StageError
from cloakhouse.flow import erasing
from cloakhouse.flow.erasing import CUT, PROVE, RENEW, erase, open_batches
from cloakhouse.keys.files import locked
from cloakhouse.ledger.erasure_model import ErasureState
from cloakhouse.ledger.erasures import Erasures

STEPS = ["worklist", "register", "landed", "protected", "quarantine", "strays", "derived", "late", "sweep", "statement"]


@pytest.fixture
def attic(tmp_path: Path) -> Attic:
    return Attic.at(tmp_path / "home")


def test_parts_ask_for_those_before_them_and_come_to_a_certificate(attic: Attic) -> None:
    settings, batch = attic.settings, requested(attic.settings, attic.persons(4711)).name
    assert open_batches(settings) == [batch]
    for part in (RENEW, PROVE):
        with pytest.raises(StageError) as caught:
            erase(settings, batch, parts=(part,))
        assert caught.value.code == "stage.erasure-open"
    told: list[str] = []
    assert erase(settings, batch, told.append, parts=(CUT,)).state is ErasureState.OPEN
    assert told == ["worklist", "registers", "landed", "protected", "quarantine", "strays"]
    done = erase(settings, batch)
    assert done.state is ErasureState.DONE
    assert done.certificate is not None
    assert [s.step for s in Erasures(settings.database).steps(batch) if "/" not in s.step][1:] == STEPS
    before = attic.files()
    assert erase(settings, batch) == done
    assert attic.files() == before
    assert open_batches(settings) == []
    assert not [path for path in before if path.startswith(f"rights/{batch}")]


def test_what_stops_the_closing_search_can_be_read_and_clearing_it_ends_the_erasure(attic: Attic) -> None:
    settings, person = attic.settings, attic.persons(4711)
    batch = requested(settings, person).name
    left = settings.home / "notes.txt"
    left.write_bytes(b"seen: " + person[0].as_py())
    stopped = []
    for _ in range(2):  # the same again is recorded once
        with pytest.raises(StageError) as caught:
            erase(settings, batch)
        stopped.append(caught.value)
    [step] = {s.step for s in Erasures(settings.database).steps(batch) if s.step.startswith("sweep")}
    assert [one.code for one in stopped] == ["stage.found"] * 2
    assert f"`cloakhouse erase show {batch} --output json` lists the places in the step `{step}`" in stopped[0].remedy
    env = {"CLOAKHOUSE_HOME": str(settings.home), "CLOAKHOUSE_CONTRACTS": str(settings.contracts)}
    env["CLOAKHOUSE_DATABASE"] = settings.database
    shown = CliRunner().invoke(cli, ["erase", "show", batch, "--output", "json"], env=env)
    assert shown.exit_code == 0, shown.stderr
    [content] = [one["content"] for one in json.loads(shown.stdout)["steps"] if one["step"] == step]
    assert (content["clean"], content["found"], content["unopened_places"]) == (False, 1, 0)
    [hit] = content["hits"]
    assert (hit["part"], hit["hits"], hit["sha256"]) == ("bytes", 1, hashlib.sha256(left.read_bytes()).hexdigest())
    assert person[0].as_py().hex() not in shown.stdout
    left.unlink()
    done = erase(settings, batch)
    assert done.state is ErasureState.DONE
    found = Erasures(settings.database).step(batch, "sweep")
    assert found is not None
    assert found.content["clean"] is True
    statement = Erasures(settings.database).step(batch, "statement")
    assert statement is not None
    assert step in [one["step"] for one in json.loads(statement.content["payload"])["steps"]]


def test_one_erasure_at_a_time(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "LOCK_WAIT_S", 0.1)
    batch = requested(attic.settings, attic.persons(4711)).name
    with locked(attic.settings.locks / "erasure.lock", 1.0, "another"), pytest.raises(StageError) as caught:
        erase(attic.settings, batch)
    assert caught.value.code == "stage.busy"


def test_an_unknown_batch_is_not_found(attic: Attic) -> None:
    with pytest.raises(NotFound):
        erase(attic.settings, "er-20260101-00000000")
