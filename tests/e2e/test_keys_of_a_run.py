"""The keys of a whole run: in no byte it wrote, everything encrypted under them, all of it there after rotation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.e2e.conftest import FirstRun
from tests.support.keys import forms, keys_of
from tests.support.sweep import everything, layers

pytestmark = [pytest.mark.path, pytest.mark.spark, pytest.mark.airflow]


def test_no_key_is_in_any_byte_that_the_run_wrote(first_run: FirstRun) -> None:
    keys = keys_of(first_run.home)
    assert len(keys) > 20
    needles = {(name, form): needle for name, key in keys.items() for form, needle in forms(key).items()}
    identity = (first_run.home / "keystore" / "identities" / "platform.txt").read_text().splitlines()[-1].encode()
    pem = (first_run.home / "keystore" / "administration.pem").read_bytes().splitlines()[1]
    hits = set()
    for root in (first_run.home, first_run.outside):
        for path in everything(root):
            if not path.is_file() or path.is_symlink():
                continue
            for layer, content in layers(path.read_bytes()):
                hits |= {(str(path) + layer, *label) for label, needle in needles.items() if needle in content}
                for name, secret in (("platform.txt", identity), ("administration.pem", pem)):
                    if secret in content and path.name != name:
                        hits.add((str(path), name, "text"))
    assert hits == set()


def test_no_secret_is_on_a_command_line(first_run: FirstRun) -> None:
    commands = "\n".join(first_run.watch.commands).encode()
    assert b"spark-submit" in commands or b"SparkSubmit" in commands
    keys = keys_of(first_run.home)
    assert not [name for name, key in keys.items() if any(form in commands for form in forms(key).values())]
    secrets = list(json.loads((first_run.home / "airflow" / "secrets.json").read_text()).values())
    assert secrets
    assert not [secret for secret in secrets if str(secret).encode() in commands]
    assert b"AGE-SECRET-KEY" not in commands
    assert b"PRIVATE KEY" not in commands


def test_the_whole_lake_is_encrypted_to_the_last_tag(first_run: FirstRun) -> None:
    done = first_run.cloakhouse("keys", "coverage", "--deep", "--output", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["findings"]) == (0, [])
    assert (found["byte_share"], found["column_share"], found["plaintext_bytes"]) == (1.0, 1.0, 0)
    zones = {part["zone"] for part in found["parts"]}
    assert {"landing", "protected", "quarantine", "synthetic", "views"} <= zones
    assert all(part["unopened"] == 0 for part in found["parts"])
    assert sum(part["checked"] for part in found["parts"]) >= found["encrypted_bytes"] * 0.99


def test_the_doctor_finds_nothing(first_run: FirstRun) -> None:
    done = first_run.cloakhouse("doctor", "--output", "json")
    assert (done.returncode, [f for f in json.loads(done.stdout) if not f["ok"]]) == (0, [])


def test_after_rotating_every_key_the_data_is_the_same(first_run: FirstRun, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(first_run.home, home)
    moved = replace(first_run, environment={**first_run.environment, "CLOAKHOUSE_HOME": str(home)})
    before = moved.cloakhouse("read", "households_synthetic", "--output", "json")
    assert before.returncode == 0
    rotated = moved.cloakhouse("keys", "rotate", "--all", "--output", "json")
    assert rotated.returncode == 0, rotated.stderr
    assert {r["version"] for r in json.loads(rotated.stdout)["rotated"]} == {2}
    assert moved.cloakhouse("read", "households_synthetic", "--output", "json").stdout == before.stdout
    assert moved.cloakhouse("keys", "coverage", "--deep").returncode == 0
    status = json.loads(moved.cloakhouse("keys", "status", "--output", "json").stdout)
    assert {master["behind"] for master in status["masters"]} == {0}
