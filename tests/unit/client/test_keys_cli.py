"""`cloakhouse keys` as whoever keeps the keys uses it, on an installation with data."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.house import SYNTHETIC, House, published
from tests.support.principals import POLICY

from cloakhouse.client.cli import cli
from cloakhouse.client.key_grants import ZONES
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile
from cloakhouse.keys.protocol import KeyName
from cloakhouse.keys.service import open_ring, service_of

PROGRAM = Path(sys.executable).with_name("cloakhouse")
MODEL = "model-team"
TRAINING = ("--purpose", "model-training")
Keys = Callable[..., Result]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return published().copy(tmp_path / "home")


def environment(house: House, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKHOUSE")}
    return {**clean, "CLOAKHOUSE_HOME": str(house.settings.home), **more}


@pytest.fixture
def keys(house: House) -> Keys:
    """Run `cloakhouse keys ...` in this process; every answer fits a terminal and shows no secret."""
    cleared = {f"CLOAKHOUSE_{name}": None for name in ("KEYS", "DATABASE", "IDENTITY", "PURPOSE", "DEBUG")}

    def run(*arguments: str, group: str = "keys", **more: str) -> Result:
        env = {**cleared, "CLOAKHOUSE_HOME": str(house.settings.home), **more}
        result = CliRunner().invoke(cli, [group, *arguments], env=env, prog_name="cloakhouse")
        shown = result.stdout + result.stderr
        assert "Traceback" not in shown
        assert "AGE-SECRET-KEY" not in shown
        assert "PRIVATE KEY" not in shown
        if result.exit_code == 0:
            assert all(len(line) <= 100 for line in shown.splitlines())
        return result

    return run


@pytest.fixture
def identity(keys: Keys, tmp_path: Path) -> Path:
    """The identity file of the model team, which holds grants for all of the synthetic zone."""
    file = tmp_path / "model.txt"
    assert keys("enrol", MODEL, "--identity", str(file)).exit_code == 0
    assert keys("grant", "--role", MODEL, "--zone", "synthetic", *TRAINING).exit_code == 0
    return file


def answer(result: Result) -> Any:
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def held(house: House) -> list[str]:
    return [grant.name for grant in service_of(house.settings).grants() if grant.principal == MODEL]


def read(keys: Keys, identity: Path, *columns: str) -> Result:
    """Read as the model team, whom the policy lets read everything of the zone: what is refused, keys refuse."""
    policy = identity.with_name("access.yaml")
    policy.write_text(POLICY.format(name=MODEL, purpose="model-training", zones="synthetic"))
    who = {"CLOAKHOUSE_IDENTITY": str(identity), "CLOAKHOUSE_PURPOSE": "model-training"}
    who["CLOAKHOUSE_POLICY"] = str(policy)
    return keys(SYNTHETIC, "--limit", "1", "--columns", ",".join(columns), group="read", **who)


def state(house: House) -> dict[str, str]:
    """Return every file and folder of the home with its bytes' digest, mode and time of change."""
    found = {}
    for path in sorted(house.settings.home.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = f"{content} {status.st_mode:o} {status.st_mtime_ns}"
    return found


def column_of(house: House, use: str) -> str:
    """Return a published column of a class."""
    return next(str(c["name"]) for c in house.release().columns if str(c["class"]).startswith(use))


# help


@pytest.mark.parametrize("group", [[], ["keys"]])
def test_no_sentence_of_a_listing_is_cut(group: list[str]) -> None:
    listing = CliRunner().invoke(cli, [*group, "-h"]).stdout
    assert not [line for line in listing.splitlines()[1:] if line.endswith("...")]
    assert all(len(line) <= 100 for line in listing.splitlines())


@pytest.mark.parametrize("command", ["status", "enrol", "grant", "revoke", "rotate", "disable", "enable", "shred"])
def test_every_command_has_help(keys: Keys, command: str) -> None:
    assert "--output" in keys(command, "-h").stdout


# status


def test_status(keys: Keys, identity: Path, house: House) -> None:
    found = answer(keys("status", "--output", "json"))
    masters = {master["name"]: master for master in found["masters"]}
    assert list(masters) == sorted(masters)
    direct = masters["protected/direct"]
    assert (direct["state"], direct["version"], direct["dataset_keys"], direct["behind"]) == ("enabled", 1, 2, 0)
    assert {"principal": MODEL, "key": "synthetic/footer", "purpose": "model-training"} in found["grants"]
    assert (found["shredded"], found["unfinished_rewrites"]) == ([], [])
    table = keys("status")
    assert (table.exit_code, table.stderr) == (0, "")
    for name in (*masters, MODEL):
        assert name in table.stdout


def test_status_tells_what_is_behind_shredded_and_unfinished(keys: Keys, house: House) -> None:
    service_of(house.settings).rotate(KeyName("protected/direct"))
    keys("shred", "--dataset", "customers", "--yes")
    keys("rotate", "protected/indirect", "--rewrite", "--grace", "3600")
    found = answer(keys("status", "--output", "json"))
    assert {m["name"]: m["behind"] for m in found["masters"]}["protected/direct"] == 1
    assert "protected/direct/customers" in found["shredded"]
    assert found["unfinished_rewrites"] == ["protected/indirect"]
    told = " ".join(keys("status").stderr.split())
    assert "shredded: landing/file/customers" in told
    assert "`cloakhouse keys rotate protected/indirect --rewrite`" in told


def test_status_needs_no_administrator(keys: Keys, identity: Path, house: House) -> None:
    (house.settings.home / "keystore" / "administration.pem").unlink()
    shutil.rmtree(house.settings.home / "keystore" / "identities")
    theirs = {"CLOAKHOUSE_IDENTITY": str(identity)}
    assert "synthetic/footer" in keys("status", **theirs).stdout
    for command in (["grant", "--role", MODEL, "--zone", "views", *TRAINING], ["rotate", "protected/direct"]):
        refused = keys(*command, "--output", "json", **theirs)
        assert (refused.exit_code, json.loads(refused.stderr)["code"]) == (3, "access.key")
        assert "administrator" in json.loads(refused.stderr)["remedy"]


@pytest.mark.parametrize("command", [["status"], ["coverage"], ["rotate", "--due"], ["disable", "a/b"]])
def test_a_misspelt_home_gets_no_keystore(keys: Keys, tmp_path: Path, command: list[str]) -> None:
    result = keys(*command, CLOAKHOUSE_HOME=str(tmp_path / "hom"))
    assert result.exit_code == 5
    assert result.stderr.startswith("not-found.home at ")
    assert not (tmp_path / "hom").exists()


def test_an_installation_that_has_nothing_yet(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = {"CLOAKHOUSE_HOME": str(tmp_path / "new")}
    assert keys("status", **new).stderr.splitlines()[0].startswith("no master key yet")
    assert keys("coverage", **new).stderr == "the lake is empty\n"
    assert answer(keys("coverage", "--output", "json", **new))["complete"] is True


# enrol, grant, revoke


def test_enrolling_makes_an_identity_for_its_owner_alone(keys: Keys, tmp_path: Path) -> None:
    file = tmp_path / "team.txt"
    first = answer(keys("enrol", "team", "--identity", str(file), "--output", "json"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert first["recipient"] in file.read_text()
    assert answer(keys("enrol", "team", "--identity", str(file), "--output", "json")) == first


@pytest.mark.parametrize("arguments", [["x"], ["x", "--identity", "f", "--recipient", "age1x"]])
def test_enrolling_takes_one_of_two_options(keys: Keys, arguments: list[str]) -> None:
    assert keys("enrol", *arguments).exit_code == 2


def test_enrolling_is_for_the_age_keystore(keys: Keys, tmp_path: Path) -> None:
    uri = "bao:https://127.0.0.1:9/transit?token-file=/nowhere"
    result = keys("enrol", "x", "--identity", str(tmp_path / "x"), CLOAKHOUSE_KEYS=uri)
    assert result.exit_code == 2
    assert not (tmp_path / "x").exists()


def test_a_grant_without_classes_is_for_all_of_them_and_the_footer(keys: Keys, identity: Path, house: House) -> None:
    uses = ["direct", "footer", "indirect", "payment", "plain", "sensitive"]
    assert held(house) == [f"synthetic/{use}" for use in uses]
    assert read(keys, identity, column_of(house, "sensitive"), column_of(house, "indirect")).exit_code == 0


def test_a_grant_of_a_class_opens_its_columns_only(keys: Keys, house: House, tmp_path: Path) -> None:
    file = tmp_path / "model.txt"
    keys("enrol", MODEL, "--identity", str(file))
    granted = answer(
        keys("grant", "--role", MODEL, "--zone", "synthetic", "--class", "indirect", *TRAINING, "--output", "json")
    )
    assert [grant["key"] for grant in granted["granted"]] == ["synthetic/footer", "synthetic/indirect"]
    assert read(keys, file, column_of(house, "indirect")).exit_code == 0
    assert read(keys, file, column_of(house, "sensitive")).exit_code == 3


@pytest.mark.parametrize("classes", [[], ["--class", "file"]])
def test_landed_files_have_one_key(keys: Keys, identity: Path, house: House, classes: list[str]) -> None:
    assert keys("grant", "--role", MODEL, "--zone", "landing", *classes, "--purpose", "audit").exit_code == 0
    assert [name for name in held(house) if name.startswith("landing/")] == ["landing/file"]
    assert keys("revoke", "--role", MODEL, "--zone", "landing", *classes, "--purpose", "audit").exit_code == 0
    assert [name for name in held(house) if name.startswith("landing/")] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--zone", "sinthetic"], "landing, protected, quarantine, synthetic, aggregates, views"),
        (["--zone", "../synthetic"], "landing, protected, quarantine, synthetic, aggregates, views"),
        (["--zone", "synthetic", "--class", "plian"], "direct, indirect, sensitive, payment, plain"),
        (["--zone", "synthetic", "--class", "file"], "direct, indirect, sensitive, payment, plain"),
        (["--zone", "landing", "--class", "direct"], "file"),
        (["--zone", "synthetic", "--purpose", ""], "--purpose"),
        (["--zone", "synthetic", "--purpose", "a\x1b[2J"], "--purpose"),
    ],
)
def test_a_grant_of_what_is_not_there_teaches_and_makes_no_key(
    keys: Keys, identity: Path, house: House, arguments: list[str], told: str
) -> None:
    before = state(house)
    result = keys("grant", "--role", MODEL, "--purpose", "training", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert state(house) == before


def test_every_zone_with_keys_can_be_granted(house: House) -> None:
    zones = {file.key.zone for file in open_ring(house.settings).all()}
    assert zones == set(ZONES) - {"aggregates"}  # this installation has released none


def test_a_grant_to_nobody_names_who_is_known(keys: Keys, identity: Path) -> None:
    result = keys("grant", "--role", "nobody", "--zone", "synthetic", *TRAINING)
    assert result.exit_code == 6
    assert MODEL in result.stderr
    assert "cloakhouse keys enrol" in result.stderr


def test_revoking_a_class_leaves_the_others_working(keys: Keys, identity: Path, house: House) -> None:
    indirect, sensitive = column_of(house, "indirect"), column_of(house, "sensitive")
    result = answer(
        keys("revoke", "--role", MODEL, "--zone", "synthetic", "--class", "sensitive", *TRAINING, "--output", "json")
    )
    assert [grant["key"] for grant in result["revoked"]] == ["synthetic/sensitive"]
    assert read(keys, identity, indirect).exit_code == 0
    assert read(keys, identity, sensitive).exit_code == 3


def test_revoking_a_class_twice_takes_nothing_else(keys: Keys, identity: Path, house: House) -> None:
    command = ["revoke", "--role", MODEL, "--zone", "synthetic", "--class", "sensitive", *TRAINING]
    assert keys(*command).exit_code == 0
    before = held(house)
    again = keys(*command, "--output", "json")
    assert (again.exit_code, json.loads(again.stderr)["code"]) == (2, "configuration.grant")
    assert held(house) == before
    assert read(keys, identity, column_of(house, "indirect")).exit_code == 0


def test_the_footer_goes_with_the_last_class(keys: Keys, identity: Path, house: House) -> None:
    rest = ["direct", "indirect", "payment", "plain"]
    for use in rest:
        assert keys("revoke", "--role", MODEL, "--zone", "synthetic", "--class", use, *TRAINING).exit_code == 0
    assert held(house) == ["synthetic/footer", "synthetic/sensitive"]
    assert read(keys, identity, column_of(house, "sensitive")).exit_code == 0
    assert keys("revoke", "--role", MODEL, "--zone", "synthetic", "--class", "sensitive", *TRAINING).exit_code == 0
    assert held(house) == []


def test_revoking_without_classes_takes_all_of_that_zone_and_purpose(keys: Keys, identity: Path, house: House) -> None:
    keys("grant", "--role", MODEL, "--zone", "synthetic", "--class", "plain", "--purpose", "audit")
    keys("grant", "--role", MODEL, "--zone", "views", "--class", "plain", *TRAINING)
    assert keys("revoke", "--role", MODEL, "--zone", "synthetic", *TRAINING).exit_code == 0
    assert held(house) == ["synthetic/footer", "synthetic/plain", "views/footer", "views/plain"]
    assert read(keys, identity, column_of(house, "indirect")).exit_code == 3


# rotate


def test_rotation_of_named_keys(keys: Keys, house: House) -> None:
    done = answer(keys("rotate", "protected/direct", "protected/direct", "landing/file", "--output", "json"))
    assert [(item["name"], item["version"]) for item in done["rotated"]] == [
        ("protected/direct", 2),
        ("landing/file", 2),
    ]
    assert done["rotated"][1]["landed_files"] == 3
    table = keys("rotate", "tokens/root")
    assert (table.exit_code, table.stderr) == (0, "")
    assert "tokens/root" in table.stdout


def test_nothing_due_is_told(keys: Keys, house: House) -> None:
    before = state(house)
    result = keys("rotate", "--due")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no key is due: each is younger than 90 days\n"
    assert answer(keys("rotate", "--due", "--output", "json")) == {"rotated": [], "dry_run": False}
    assert state(house) == before


def test_rotation_of_everything_leaves_disabled_keys_out(keys: Keys, house: House) -> None:
    keys("disable", "protected/direct")
    done = {item["name"]: item["version"] for item in answer(keys("rotate", "--all", "--output", "json"))["rotated"]}
    assert done == {name: 2 for name in service_of(house.settings).names() if name != "protected/direct"}


@pytest.mark.parametrize("arguments", [[], ["--due", "--all"], ["a/b", "--due"], ["--all", "--grace", "-1"]])
def test_rotation_wants_one_choice(keys: Keys, arguments: list[str]) -> None:
    assert keys("rotate", *arguments).exit_code == 2


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("second", "code"), [("protected/nonsense", "key.missing"), ("quarantine/direct", "key.disabled")]
)
def test_one_key_that_can_not_be_rotated_stops_it_before_any_is(
    keys: Keys, house: House, second: str, code: str, dry: list[str]
) -> None:
    keys("disable", "quarantine/direct")
    before = state(house)
    result = keys("rotate", "protected/direct", second, *dry, "--output", "json")
    assert (result.exit_code, json.loads(result.stderr)["code"]) == (6, code)
    assert state(house) == before


def test_a_rewrite_tells_where_it_stands_and_goes_on_when_repeated(keys: Keys, house: House) -> None:
    begun = keys("rotate", "protected/indirect", "--rewrite")
    assert begun.exit_code == 0
    assert "protected/indirect: encrypting its data again" in begun.stderr
    assert "old files stay for their readers until" in " ".join(begun.stderr.split())
    waiting = keys("rotate", "protected/indirect", "--rewrite")
    assert "0 files encrypted again" in waiting.stderr
    ended = keys("rotate", "protected/indirect", "--rewrite", "--grace", "0", "--output", "json")
    (item,) = json.loads(ended.stdout)["rewritten"]
    assert (item["state"], item["rewritten"]) == ("done", 0)
    assert item["removed"] == 3
    file = DatasetKeyFile.read(house.settings.dataset_keys, DatasetKey.parse("protected/indirect/transactions"))
    assert [record.version for record in file.versions] == [2]
    assert answer(keys("status", "--output", "json"))["unfinished_rewrites"] == []


def test_an_interrupted_rewrite_tells_how_to_go_on(keys: Keys, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cloakhouse.stages.rewrite.reencrypt_table", interrupt)
        result = keys("rotate", "protected/indirect", "--rewrite")
    assert result.exit_code == 130
    assert "the same command goes on from there" in result.stderr
    assert result.stderr.endswith("interrupted\n")
    assert "3 files encrypted again" in keys("rotate", "protected/indirect", "--rewrite", "--grace", "0").stderr


# disable, enable


def test_a_disabled_key_opens_for_nobody_until_it_is_enabled(keys: Keys, identity: Path, house: House) -> None:
    column = column_of(house, "sensitive")
    assert answer(keys("disable", "synthetic/sensitive", "--output", "json"))["state"] == "disabled"
    assert keys(SYNTHETIC, "--columns", column, group="read").exit_code == 6
    assert read(keys, identity, column).exit_code == 6
    assert keys("enable", "synthetic/sensitive").exit_code == 0
    assert read(keys, identity, column).exit_code == 0


@pytest.mark.parametrize("command", ["disable", "enable", "rotate"])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_destroyed_key_stays_so(keys: Keys, command: str, dry: list[str]) -> None:
    keys("shred", "--key", "quarantine/direct", "--yes")
    result = keys(command, "quarantine/direct", *dry, "--output", "json")
    assert (result.exit_code, json.loads(result.stderr)["code"]) == (6, "key.destroyed")


# dry runs

DRY = [
    ["grant", "--role", MODEL, "--zone", "protected", "--purpose", "audit"],
    ["revoke", "--role", MODEL, "--zone", "synthetic", *TRAINING],
    ["rotate", "--all"],
    ["rotate", "--due"],
    ["rotate", "protected/direct", "--rewrite"],
    ["disable", "protected/direct"],
    ["enable", "protected/direct"],
    ["shred", "--dataset", "transactions"],
    ["shred", "--key", "protected/direct"],
]


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_dry_run_changes_no_byte(keys: Keys, identity: Path, house: House, output: str) -> None:
    before = state(house)
    for command in DRY:
        result = keys(*command, "--dry-run", "--output", output)
        assert result.exit_code == 0
        if output == "json":
            assert json.loads(result.stdout)["dry_run"] is True
        else:
            assert "would" in result.stderr or "no key is due" in result.stderr
        assert state(house) == before


# shred


def own_terminal() -> None:
    """Make standard input the terminal that controls this process, so that Ctrl-C typed there interrupts it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_shredding_a_dataset_names_the_keys_that_are_gone(keys: Keys, house: House) -> None:
    planned = answer(keys("shred", "--dataset", "customers", "--dry-run", "--output", "json"))["would_shred"]
    done = answer(keys("shred", "--dataset", "customers", "--yes", "--output", "json"))["shredded"]
    assert done == planned
    assert "protected/direct/customers" in done
    assert answer(keys("shred", "--dataset", "customers", "--yes", "--output", "json"))["shredded"] == done


def test_shredding_a_class_makes_its_columns_unreadable(keys: Keys, house: House) -> None:
    assert keys("shred", "--key", "synthetic/sensitive", "--yes").exit_code == 0
    assert keys(SYNTHETIC, "--columns", column_of(house, "sensitive"), group="read").exit_code == 6
    assert keys(SYNTHETIC, "--columns", column_of(house, "indirect"), group="read").exit_code == 0


@pytest.mark.parametrize("dry", [["--yes"], ["--dry-run"]])
def test_shredding_what_is_not_there_names_what_is(keys: Keys, house: House, dry: list[str]) -> None:
    before = state(house)
    result = keys("shred", "--dataset", "nonsense", *dry)
    assert result.exit_code == 5
    assert f"customers, {SYNTHETIC}, transactions" in result.stderr
    assert keys("shred", "--key", "protected/nonsense", *dry).exit_code == 6
    assert keys("shred", *dry).exit_code == 2
    assert keys("shred", "--key", "a/b", "--dataset", "c", *dry).exit_code == 2
    assert state(house) == before


def test_shredding_without_a_terminal_wants_yes(keys: Keys, house: House) -> None:
    before = state(house)
    result = keys("shred", "--dataset", "customers", "--output", "json")
    assert (result.exit_code, result.stdout) == (2, "")
    error = json.loads(result.stderr)
    assert error["code"] == "configuration.unconfirmed"
    assert "--yes" in error["remedy"]
    assert state(house) == before


@pytest.mark.parametrize(
    ("typed", "exit_code", "shredded"), [("y\n", 0, True), ("n\n", 1, False), ("\x03", 130, False)]
)
def test_shredding_asks_at_the_terminal(house: House, typed: str, exit_code: int, shredded: bool) -> None:
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "keys", "shred", "--dataset", "customers"],
        stdin=inner,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(house),
        start_new_session=True,
        preexec_fn=own_terminal,
    )
    os.close(inner)
    with process:
        assert process.stderr is not None
        asked = b""
        while b"[y/N]" not in asked:
            more = process.stderr.read1(1000)  # type: ignore[attr-defined]
            assert more, asked
            asked += more
        try:
            for _ in range(120):  # a Ctrl-C between two instructions of Python is noticed only with the next one
                os.write(outer, typed.encode())
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.5)
                    break
        finally:
            process.kill()
        out, rest = process.communicate(timeout=60)
    os.close(outer)
    assert (process.returncode, out) == (exit_code, b"")
    assert b"becomes unreadable for good" in asked
    assert b"Traceback" not in rest
    file = DatasetKeyFile.read(house.settings.dataset_keys, DatasetKey.parse("protected/direct/customers"))
    assert (not file.versions) is shredded


# coverage


def test_coverage_of_an_encrypted_lake(keys: Keys, house: House) -> None:
    before = state(house)
    for deep in ([], ["--deep"]):
        result = keys("coverage", *deep)
        assert result.exit_code == 0
        assert "encrypted: 100.00% of the bytes, 100.00% of the columns" in result.stderr
        assert ("every tag was checked" in result.stderr) is bool(deep)
    found = answer(keys("coverage", "--output", "json"))
    assert (found["complete"], found["byte_share"], found["findings"]) == (True, 1.0, [])
    assert _but_the_log(state(house)) == _but_the_log(before)


def _but_the_log(files: dict[str, str]) -> dict[str, str]:
    """Leave the control database out: keys that were opened are events."""
    return {path: found for path, found in files.items() if "/control.db" not in path}


def test_a_plaintext_file_is_exit_code_4_and_is_listed(keys: Keys, house: House) -> None:
    (house.settings.lake / "protected" / "customers" / "note.csv").write_text("email\nann@example.org\n")
    result = keys("coverage")
    assert result.exit_code == 4
    assert "protected/customers/note.csv" in result.stdout
    assert "100.00% of the bytes" not in result.stderr
    assert "22 bytes are not encrypted" in result.stderr
    assert "ann@example.org" not in result.stdout + result.stderr
    again = keys("coverage", "--output", "json")
    assert (again.exit_code, again.stderr) == (4, "")
    assert [finding["path"] for finding in json.loads(again.stdout)["findings"]] == ["protected/customers/note.csv"]


def test_deep_coverage_finds_a_changed_bit(keys: Keys, house: House) -> None:
    file = next((house.settings.lake / "landing" / "customers").rglob("*.chl"))
    body = bytearray(file.read_bytes())
    body[-100] ^= 1
    file.write_bytes(body)
    assert keys("coverage").exit_code == 0
    assert keys("coverage", "--deep").exit_code == 4


# faults


def test_a_full_disk_is_a_sentence(house: House) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    done = subprocess.run(
        [PROGRAM, "keys", "rotate", "protected/direct"],
        env=environment(house),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limited,
    )
    assert (done.returncode, done.stdout) == (6, "")
    assert re.match(r"storage\.\S+ at the control database", done.stderr)  # its event comes before the change
    assert [v.version for v in service_of(house.settings).describe(KeyName("protected/direct")).versions] == [1]


# roots of token keys


def test_grants_on_token_roots_name_what_contracts_need(keys: Keys, house: House, tmp_path: Path) -> None:
    assert keys("enrol", MODEL, "--identity", str(tmp_path / "model.txt")).exit_code == 0
    desk = ("--role", MODEL, "--purpose", "service desk", "--output", "json")
    wanted = {
        "reversible": ["analytics", "customer_service"],
        "purposes": ["analytics"],
        "tokens": ["root"],
    }
    for zone, uses in wanted.items():
        for use in uses:
            tried = answer(keys("grant", "--zone", zone, "--class", use, "--dry-run", *desk))
            assert tried["dry_run"]
            assert f"{zone}/{use}" not in held(house)
            found = answer(keys("grant", "--zone", zone, "--class", use, *desk))
            expected = {"principal": MODEL, "key": f"{zone}/{use}", "purpose": "service desk"}
            assert found == {"granted": [expected], "dry_run": False}
    assert held(house) == sorted(f"{zone}/{use}" for zone, uses in wanted.items() for use in uses)
    answer(keys("revoke", "--zone", "reversible", "--class", "analytics", *desk))
    assert [name for name in held(house) if name.startswith("reversible")] == ["reversible/customer_service"]
    for zone in wanted:
        answer(keys("revoke", "--zone", zone, *desk))
    assert held(house) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--zone", "reversible"], "analytics, customer_service"),
        (["--zone", "reversible", "--class", "custmer_service"], "analytics, customer_service"),
        (["--zone", "purposes", "--class", "analytics", "--class", "marketing"], "zone: analytics"),
        (["--zone", "tokens", "--class", "footer"], "zone: root"),
    ],
)
def test_a_misspelt_token_root_gets_no_grant_and_no_key(
    keys: Keys, house: House, arguments: list[str], told: str
) -> None:
    before = state(house)
    result = keys("grant", "--role", MODEL, "--purpose", "service desk", *arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert state(house) == before


def test_without_contracts_there_is_no_token_root_to_grant(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    common = ("--role", MODEL, "--zone", "purposes", "--class", "analytics", "--purpose", "desk")
    result = keys("grant", *common, CLOAKHOUSE_CONTRACTS=str(tmp_path / "none"))
    assert result.exit_code == 2
