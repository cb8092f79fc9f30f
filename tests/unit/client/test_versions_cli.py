"""The commands that list and change versions, and the collector's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.versions import NAME, Shelf, fingerprint, release

from cloakhouse.client.collecting import collect
from cloakhouse.client.failures import CarefulGroup
from cloakhouse.client.versions import expire, hold, rollback, tag, unhold, untag, versions, withdraw
from cloakhouse.keys.protocol import KeyName
from cloakhouse.keys.service import service_of

WHY = ("--reason", "rows of a test store were in it")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf.at(tmp_path)
    for _ in range(3):
        made.publish()
    for name, value in made.settings.environment().items():
        monkeypatch.setenv(name, value)
    return made


def run(*arguments: str) -> Result:
    group = CarefulGroup(commands={c.name: c for c in (collect, expire, hold, rollback, tag, unhold, untag, versions)})
    group.add_command(withdraw)
    return CliRunner().invoke(group, list(arguments))


def answer(*arguments: str) -> Any:
    done = run(*arguments, "--output", "json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_a_version_from_rollback_to_collection(shelf: Shelf) -> None:
    assert [(v["version"], v["state"], v["head"]) for v in answer("versions", NAME)] == [
        (1, "published", False),
        (2, "published", False),
        (3, "published", True),
    ]
    assert answer("rollback", NAME, *WHY)["version"] == 2
    assert answer("rollback", NAME, "--to", "3", *WHY)["head"]
    assert answer("tag", f"{NAME}@2", "certified")["tags"] == ["certified"]
    assert answer("untag", f"{NAME}@2", "certified")["tags"] == []
    assert answer("withdraw", f"{NAME}@3", *WHY)["reason"] == WHY[1]
    assert answer("hold", f"{NAME}@3", "--reason", "an audit looks at it")["state"] == "withdrawn"
    assert answer("versions", NAME)[2]["held"]
    assert answer("collect", "--grace", "0", "--dry-run")["files"] == 0
    answer("unhold", f"{NAME}@3")
    assert answer("expire", f"{NAME}@1", *WHY)["versions"][0]["state"] == "expired"
    dry = answer("collect", NAME, "--grace", "0", "--dry-run")
    assert (dry["dry_run"], dry["files"], dry["bytes"], dry["report"]) == (True, 6, 24, None)
    done = answer("collect", NAME, "--grace", "0")
    assert (done["files"], done["versions"]) == (6, [f"{NAME}@1", f"{NAME}@3"])
    events = answer("versions", NAME, "--events")
    assert [event["action"] for event in events][3:] == [
        *("rollback", "rollback", "tag", "untag", "withdraw", "hold", "lift", "expire"),
        *("collect", "collect", "collected", "collected"),
    ]
    assert {event["actor"] for event in events[3:]} == {"platform"}


def test_people_get_tables_and_sentences(shelf: Shelf) -> None:
    listed = run("versions", NAME)
    assert listed.stdout.count("published") >= 3
    assert "yes" in listed.stdout
    done = run("rollback", NAME, *WHY)
    assert f"{NAME} stands for version 2 now" in done.stderr
    assert "is withdrawn: rows of a test store" in run("withdraw", f"{NAME}@3", *WHY).stderr.replace("\n", " ")
    assert "tagged certified" in run("tag", f"{NAME}@2", "certified").stderr
    assert "tagged with nothing" in run("untag", f"{NAME}@2", "certified").stderr
    assert "is held" in run("hold", f"{NAME}@2", *WHY).stderr
    assert "is not held" in run("unhold", f"{NAME}@2").stderr
    assert "is expired" in run("expire", f"{NAME}@1", *WHY).stderr
    assert "rollback" in run("versions", NAME, "--events").stdout
    dry = run("collect", "--dry-run", "--grace", "0")
    assert "6 files would go, 24 bytes" in dry.stderr
    assert fingerprint(3)[:12] in dry.stdout.replace("\n", "")
    done = run("collect", "--grace", "0")
    assert "6 files removed" in done.stderr
    assert "collected:" in done.stderr
    assert "nothing to remove" in run("collect").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("versions", "nobody"), 5, "not-found"),
        (("versions", f"{NAME}@3"), 2, "alone"),
        (("versions", "../x"), 2, "configuration.name"),
        (("rollback", NAME), 2, "--reason"),
        (("rollback", NAME, "--to", "9", *WHY), 5, "with version 9"),
        (("rollback", NAME, "--to", "1", "--reason", "short"), 2, "configuration.reason"),
        (("withdraw", NAME, *WHY), 2, "by its number"),
        (("withdraw", f"{NAME}@certified", *WHY), 2, "by its number"),
        (("expire", f"{NAME}@3", *WHY), 3, "access.needed"),
        (("expire", f"{NAME}@1", "others@1", *WHY), 2, "one dataset"),
        (("tag", f"{NAME}@1", "2026-11-01"), 2, "configuration.tag"),
        (("collect", "--grace", "-1"), 2, "grace"),
        (("collect", "Nobody"), 2, "configuration.name"),
    ],
)
def test_refusals_have_documented_exit_codes(shelf: Shelf, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == code, done.stderr
    assert said in done.stderr
    assert [version.head for version in shelf.register.versions(NAME)] == [False, False, True]


def test_a_damaged_release_ends_the_collection_with_its_code(shelf: Shelf) -> None:
    path = shelf.settings.lake / shelf.register.versions(NAME)[2].manifest.path
    path.write_bytes(path.read_bytes()[:-1])
    done = run("collect", "--grace", "0", "--output", "json")
    assert done.exit_code == 4
    assert json.loads(done.stdout)["failed"] == {NAME: "integrity.release"}
    assert shelf.files() >= {entry.path for entry in release(1).files}


def test_who_may_not_sign_may_not_change_a_version(shelf: Shelf) -> None:
    service_of(shelf.settings).disable(KeyName("signing/releases"))
    done = run("withdraw", f"{NAME}@3", *WHY)
    assert done.exit_code == 6
    assert "signing/releases" in done.stderr
    assert [version.state.value for version in shelf.register.versions(NAME)] == ["published"] * 3
