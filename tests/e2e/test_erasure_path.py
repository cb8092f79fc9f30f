"""Two households out of a whole installation: killed on the way, gone everywhere, proved, and not brought back."""

from __future__ import annotations

import gzip
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.e2e.conftest import FirstRun
from tests.support.erased import BOUNDARIES, Installation, Persons, killed_after, persons_of, swept
from tests.support.planted import write_planted_feed
from tests.support.processes import in_fork

from cloakhouse.contracts.model import Kind
from cloakhouse.ledger.erasure_model import ErasureState
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.versions import VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages.erase_sources import recut_new
from cloakhouse.stages.land import land

pytestmark = [pytest.mark.path, pytest.mark.spark, pytest.mark.airflow]


@pytest.fixture(scope="module")
def installation(first_run: FirstRun, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return the home of the first run, copied, so that other tests keep theirs."""
    assert first_run.done.returncode == 0, first_run.done.stdout
    home = tmp_path_factory.mktemp("erasure") / "home"
    shutil.copytree(first_run.home, home)
    return Installation(Settings.from_environment({"CLOAKHOUSE_HOME": str(home)}))


@pytest.fixture(scope="module")
def persons(installation: Installation) -> Persons:
    """Return the planted household, of which one line is in quarantine, and one that a synthesizer was fitted on."""
    return persons_of(installation)


def test_households_are_erased_everywhere_and_that_is_proved(
    installation: Installation, persons: Persons, tmp_path: Path
) -> None:
    settings = installation.settings
    before = installation.naming(persons.needles)
    assert min(before.values()) > 0, before
    versions = {v.dataset: v.version for v in installation.register.heads()}
    file = tmp_path / "subjects.csv"
    file.write_text("\n".join(["household_id", *persons.households, ""]))
    boundary = random.choice(BOUNDARIES)
    print("killed after", boundary)
    batch = killed_after(installation, file, boundary)
    done = installation.cloakhouse("erase", "resume", batch)
    assert done.returncode == 0, done.stdout + done.stderr

    erasures = Erasures(settings.database)
    erasure = erasures.get(batch)
    assert erasure.state is ErasureState.DONE
    assert installation.naming(persons.needles) == dict.fromkeys(before, 0)
    text = (done.stdout + done.stderr).encode()
    assert in_fork(lambda: swept(settings.home, persons, text)) == 0
    steps = {step.step: step.content for step in erasures.steps(batch)}
    assert steps["sweep"]["clean"] is True

    heads = {v.dataset: v.version for v in installation.register.heads()}
    for name, version in versions.items():
        gone = [v for v in installation.register.versions(name) if v.version == version]
        assert [v.state for v in gone] == [VersionState.COLLECTED]
        anew = steps[f"anew/{name}"]
        assert anew["version"] is None or heads[name] == anew["version"] > version
        if installation.contracts[name].kind is Kind.SYNTHETIC and anew["version"] is not None:
            assert f"attack/{name}@{anew['version']}" in steps
    assert any(name.startswith("attack/") for name in steps)

    signed = tmp_path / "certificate.json"
    assert installation.cloakhouse("erase", "certificate", batch, "--out", str(signed)).returncode == 0
    assert installation.cloakhouse("erase", "verify", str(signed)).returncode == 0
    signed.write_bytes(signed.read_bytes().replace(b'"payload":"', b'"payload":"A', 1))
    assert installation.cloakhouse("erase", "verify", str(signed)).returncode != 0
    assert installation.cloakhouse("erase", "resume", batch).returncode == 0  # and nothing is done twice
    assert {step.step for step in erasures.steps(batch)} == steps.keys()


def test_a_corrected_delivery_does_not_bring_the_household_back(
    installation: Installation, persons: Persons, tmp_path: Path
) -> None:
    settings = installation.settings
    assert Erasures(settings.database).all(), "the test before this one erases"
    write_planted_feed(tmp_path)
    name = "transactions-2017-01-02.csv.gz"
    lines = gzip.decompress((tmp_path / name).read_bytes()).split(b"\n")
    (settings.inbox / name).write_bytes(gzip.compress(b"\n".join([*lines[:-1], lines[1], b""]), mtime=0))
    contract = installation.contracts["transactions"]
    assert land(settings, contract, supersede=True).landed == 1
    assert installation.naming(persons.needles)["planted household"] > 0  # it has landed again
    replace(installation).protect("transactions")
    assert recut_new(settings)["lines"] > 0
    assert installation.naming(persons.needles) == dict.fromkeys(persons.needles, 0)
