"""`cloakhouse audit export | forward`: files that appear whole, and backlogs that are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cloakhouse.client.failures import CarefulGroup
from cloakhouse.client.log_exporting import export, forward
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages.forwarding_receivers import VARIABLE


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(tmp_path / "home"))
    made = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")})
    Catalogue(made.database)
    AuditLog(made.database).record(*(Event("ann", "read", f"b@{n}") for n in range(3)))
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(CarefulGroup("cloakhouse", commands=[export, forward]), list(arguments))


def test_an_export_is_a_file_of_lines_that_replaces_none(settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "audit.jsonl"
    done = run("export", "--out", str(out), "--output", "json")
    assert json.loads(done.stdout) == {"file": str(out), "entries": 4, "format": "ocsf"}
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["metadata"]["sequence"] for line in lines] == [0, 1, 2, 3]
    assert out.stat().st_mode & 0o777 == 0o600
    assert run("export", "--out", str(out)).exit_code == 2
    again = run("export", "--out", str(out), "--force", "--format", "jsonl", "--action", "read")
    assert f"{out}: 3 entries (jsonl)" in again.stderr.replace("\n", " ")
    assert AuditLog(settings.database).size() == 5  # the one that was refused left no entry


def test_an_export_to_standard_output(settings: Settings) -> None:
    done = run("export", "--out", "-", "--since", "2000-01-01", "--until", "2100-01-01T00:00:00+02:00")
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    "options",
    [
        ("--since", "yesterday"),
        ("--action", "teleport"),
        ("--since", "2026-01-02", "--until", "2026-01-01"),
        ("--since", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_options_that_make_no_sense(settings: Settings, tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run("export", "--out", str(tmp_path / "x"), *options).exit_code == 2
    assert not (tmp_path / "x").exists()


def test_an_export_that_fails_leaves_no_file(settings: Settings, tmp_path: Path) -> None:
    assert run("export", "--out", "/dev/null/x").exit_code == 6
    assert not list(tmp_path.glob("*.tmp"))


def test_forwarding_tells_what_was_sent_and_what_waits(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no receiver is configured" in run("forward").stderr
    file = tmp_path / "receivers.yaml"
    file.write_text(
        "apiVersion: cloakhouse.receivers/v1\nreceivers:\n"
        f"  archive: {{kind: file, path: {tmp_path}/a.jsonl, batch: 2}}\n"
    )
    monkeypatch.setenv(VARIABLE, str(file))
    assert json.loads(run("forward", "--status", "--output", "json").stdout)[0]["backlog"] == 3
    once = json.loads(run("forward", "--once", "--output", "json").stdout)
    assert once == [{"receiver": "archive", "sent": 2, "backlog": 1, "trouble": "", "found": ""}]
    assert "archive" in run("forward").stdout
    file.write_text(file.read_text().replace("a.jsonl", "no/a.jsonl"))
    AuditLog(settings.database).record(Event("ann", "read", "b"))
    broken = run("forward")
    assert (broken.exit_code, "forwarding.storage" in broken.stdout) == (6, True)
    file.write_text("nonsense")
    assert run("forward").exit_code == 2
    assert run("forward", "--once", "--follow").exit_code == 2


def test_following_goes_on_until_interrupted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    file = tmp_path / "receivers.yaml"
    file.write_text(
        f"apiVersion: cloakhouse.receivers/v1\nreceivers:\n  archive: {{kind: file, path: {tmp_path}/a.jsonl}}\n"
    )
    monkeypatch.setenv(VARIABLE, str(file))
    monkeypatch.setattr("cloakhouse.client.log_exporting.time.sleep", pause)
    done = run("forward", "--follow", "--output", "json")
    assert (done.exit_code, pauses) == (130, [5.0, 5.0])
    assert [one["sent"] for one in json.loads(done.stdout)] == [3]  # what is up to date is not told again
