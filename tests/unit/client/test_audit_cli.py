"""`cloakhouse audit list | show | verify | checkpoint`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.audit_logs import edit, event
from tests.support.budgets import installation

from cloakhouse.client.cli import cli
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import decode
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.checkpoints import opened
from cloakhouse.ledger.merkle import leaf_hash, verify_inclusion
from cloakhouse.settings import Settings
from cloakhouse.stages.checkpointing import trusted

Audit = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = installation(tmp_path)
    AuditLog(made.database).record(*(event(number) for number in range(60)))
    return made


@pytest.fixture
def audit(settings: Settings) -> Audit:
    def command(*arguments: str) -> Result:
        env: dict[str, str | None] = {**settings.environment()}
        result = CliRunner().invoke(cli, ["audit", *arguments], env=env, prog_name="cloakhouse")
        assert "Traceback" not in result.stdout + result.stderr
        assert "json" in arguments or all(len(line) <= 100 for line in result.stdout.splitlines())
        return result

    return command


def answer(result: Result) -> Any:
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def listed(audit: Audit, *arguments: str) -> list[int]:
    return [one["number"] for one in answer(audit("list", "--output", "json", *arguments)) if one["number"] < 60]


def test_list(audit: Audit) -> None:
    assert listed(audit, "--limit", "10000") == list(range(59, -1, -1))
    assert listed(audit, "--actor", "ann", "--decision", "refused") == [49, 29, 9]
    assert listed(audit, "--run", "run-2", "--action", "publish") == [28, 25, 22]
    assert listed(audit, "--dataset", "baskets", "--before", "6") == [5, 3, 1]
    assert listed(audit, "--since", "2030-05-17T12:57Z", "--until", "2030-05-17T14:59+02:00") == [58, 57]
    assert listed(audit, "--until", "2030-05-17") == []
    assert listed(audit, "--text", "thing 4", "--limit", "2") == [49, 48]
    first = answer(audit("list", "--output", "json", "--before", "8", "--limit", "1"))
    assert first == [{"number": 7, **event(7).as_dict()}]


def test_a_table_for_people(audit: Audit) -> None:
    told = audit("list", "--before", "60", "--limit", "3")
    assert told.exit_code == 0
    assert told.stderr == "there may be more: --before 57\n"
    assert "2030-05-17 12:59:00" in " ".join(told.stdout.split())
    assert audit("list", "--actor", "nobody").stderr == "no entry of the audit log is like that\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--since", "yesterday"),
        ("list", "--since", "2030-05-17T12:00"),
        ("list", "--since", "2030-05-17", "--until", "2030-05-17"),
        ("list", "--limit", "0"),
        ("list", "--before", "-1"),
        ("list", "--decision", "maybe"),
        ("list", "--actor", "a\nb"),
        ("show", "first"),
        ("verify", "--checkpoint", "nowhere.txt"),
    ],
)
def test_what_cannot_be_asked(audit: Audit, arguments: tuple[str, ...]) -> None:
    result = audit(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_an_entry_and_its_proof(audit: Audit, settings: Settings, tmp_path: Path) -> None:
    before = audit("show", "7")
    assert before.exit_code == 0
    assert "no checkpoint covers this entry yet" in before.stderr
    assert answer(audit("show", "7", "--output", "json"))["proof"] == []
    out = tmp_path / "kept" / "checkpoint.txt"
    facts = answer(audit("checkpoint", "--out", str(out), "--output", "json"))
    assert facts["file"] == str(out)
    found = answer(audit("show", "7", "--output", "json"))
    assert found["checkpoint"] == out.read_text()
    assert decode(base64.b64decode(found["content"])) == event(7)
    signed = opened(found["checkpoint"], trusted(settings), "x")
    assert (signed.size, signed.root.hex(), signed.origin) == (facts["size"], facts["root"], facts["origin"])
    proof = [bytes.fromhex(one) for one in found["proof"]]
    leaf = leaf_hash(base64.b64decode(found["content"]))
    assert found["leaf"] == leaf.hex()
    assert verify_inclusion(leaf, 7, signed.size, proof, signed.root)
    told = audit("show", "7")
    assert "proved: entry 7 is one of the" in told.stderr
    assert "thing 7" in told.stdout
    assert audit("show", "100000").exit_code == 5


def test_verify(audit: Audit, settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "kept.txt"
    assert audit("checkpoint", "--out", str(out)).exit_code == 0
    good = audit("verify", "--checkpoint", str(out))
    assert good.exit_code == 0
    assert "1 checkpoints agree" in good.stderr
    found = answer(audit("verify", "--output", "json"))
    assert (found["sound"], found["findings"]) == (True, [])
    edit(AuditLog(settings.database), 11, rehash=False, reason="a hurried correction")
    bad = audit("verify", "--checkpoint", str(out))
    assert bad.exit_code == 4
    assert "edited" in bad.stdout
    assert "NOT what was written: 1 findings" in bad.stderr
    assert "hurried" not in bad.stdout + bad.stderr
    told = audit("verify", "--output", "json")
    assert told.exit_code == 4
    assert json.loads(told.stdout)["findings"] == [{"kind": "edited", "first": 11, "last": 11, "where": ""}]
    kept = out.read_text()
    out.write_text("not a checkpoint")
    assert "kept.txt" in audit("verify", "--checkpoint", str(out)).stdout
    twin = tmp_path / "second" / out.name
    twin.parent.mkdir()
    twin.write_text(kept)
    for order in ((out, twin), (twin, out)):  # of two files of one name each is compared
        options = [word for path in order for word in ("--checkpoint", str(path))]
        assert str(out) in " ".join(audit("verify", "--output", "json", *options).stdout.split())
    assert [one["action"] for one in answer(audit("list", "--action", "verify log", "--output", "json"))] == [
        "verify log"
    ] * 7


def test_checkpoint_in_words(audit: Audit, tmp_path: Path) -> None:
    told = audit("checkpoint")
    assert told.exit_code == 0
    assert "entries are signed as cloakhouse/" in told.stderr
    assert audit("checkpoint", "--out", str(tmp_path / "a")).stdout == ""
    assert audit("checkpoint", "--out", str(tmp_path)).exit_code == 2
    assert audit("checkpoint", "--out", "/proc/nowhere/x").exit_code == 6


def test_nothing_to_sign(tmp_path: Path) -> None:
    made = installation(tmp_path)
    Catalogue(made.database)
    env: dict[str, str | None] = {**made.environment()}
    for more, told in (([], ""), (["--output", "json"], '{\n  "size": 0\n}\n')):
        result = CliRunner().invoke(cli, ["audit", "checkpoint", *more], env=env)
        assert (result.exit_code, result.stdout) == (0, told)


def test_without_an_installation(tmp_path: Path) -> None:
    for command in ("list", "verify", "checkpoint"):
        result = CliRunner().invoke(cli, ["audit", command], env={"CLOAKHOUSE_HOME": str(tmp_path / "none")})
        assert result.exit_code == 5, command
