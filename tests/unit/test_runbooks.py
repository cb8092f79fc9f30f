"""Runbooks and guides hold commands, and can be followed. That each command can be given: test_pages."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.backups import Shelved, shelved
from tests.support.page_commands import blocks, commands, mentions
from tests.support.processes import ROOT

from cloakhouse.client.cli import cli
from cloakhouse.keys.signing import PublicKey, public_key
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.settings import Settings
from cloakhouse.stages import restore_settle
from cloakhouse.stages.backup_manifest import backups
from cloakhouse.stages.checkpointing import checkpoints, note_of

PAGES = sorted(
    [*(ROOT / "docs" / "runbooks").glob("*.md"), ROOT / "docs" / "upgrade.md", ROOT / "docs" / "operators-guide.md"]
)


def cases() -> list[tuple[str, str]]:
    texts = [(page.name, page.read_text(encoding="utf-8")) for page in PAGES]
    return [(name, shlex.join(words)) for name, text in texts for words in (*commands(text), *mentions(text))]


def test_the_pages_are_there_and_hold_commands() -> None:
    names = {page.name for page in PAGES if page.is_file()}
    runbooks = {
        "key-compromise.md",
        "leak-in-a-published-dataset.md",
        "failed-erasure.md",
        "lost-node.md",
        "restore.md",
    }
    assert names >= runbooks | {"upgrade.md", "operators-guide.md"}
    found = cases()
    assert all(sum(page == name for page, _ in found) >= 3 for name in names)


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "runbooks"], ids=lambda page: page.stem)
def test_a_runbook_says_how_one_knows_and_who_is_told(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "**How you know that it worked:**" in text
    assert "**Who must be told:**" in text
    assert "Art. 33" in text
    assert re.search(r"^1\. ", text, re.MULTILINE)


def lines_of(page: str) -> list[list[str]]:
    """Return the commands of the blocks of a runbook, in their order."""
    text = (ROOT / "docs" / "runbooks" / page).read_text(encoding="utf-8")
    return list(commands("\n".join(f"```\n{block}```" for block in blocks(text))))


@dataclass
class Followed:
    """Follows a runbook on an installation: the examples' names are replaced by those that there are."""

    environment: dict[str, str]
    names: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)

    def follow(self, page: str, *but: str, codes: dict[str, int] | None = None) -> None:
        """Run every command of the runbook `page` but those that begin as `but` says; what ends with another code than
        0, or than `codes` says, fails."""
        for words in lines_of(page):
            line = " ".join(words)
            if line.startswith(but):
                continue
            named = [self.names.get(word, word) for word in words]
            result = CliRunner().invoke(cli, named, env=self.environment, prog_name="cloakhouse")
            wanted = next((code for start, code in (codes or {}).items() if line.startswith(start)), 0)
            assert result.exit_code == wanted, (line, result.stdout, result.stderr)
            self.said[line] = " ".join((result.stdout + result.stderr).split())


@pytest.fixture
def house(tmp_path: Path) -> Shelved:
    return shelved(tmp_path)


def environment(settings: Settings) -> dict[str, str]:
    return {"CLOAKHOUSE_HOME": str(settings.home), "CLOAKHOUSE_CONTRACTS": str(settings.contracts)}


@pytest.mark.embedded
def test_the_runbook_of_restoring_can_be_followed(house: Shelved, tmp_path: Path) -> None:
    house.create()
    kept = tmp_path / "kept.txt"
    signed = checkpoints(house.settings)[-1]
    kept.write_text(note_of(house.settings, signed.size), encoding="utf-8")
    pem = tmp_path / "backups.pem"
    pem.write_bytes((house.settings.home / "signing-keys" / "backups.pem").read_bytes())
    new = house.elsewhere()
    places = {"/mnt/backups": house.place, "backups.pem": str(pem), "backup-key.pem": str(house.identity)}
    places |= {"/srv/cloakhouse": str(new.home), "kept.txt": str(kept), "backup-public.pem": house.recipient}
    followed = Followed(environment(new), places)
    deferred = ("erase", "run", "consent import", "doctor")  # of persons, of Airflow and Spark: tests of their own
    with pytest.MonkeyPatch.context() as context:
        context.setattr(restore_settle, "_fed", lambda *_: True)  # the customer master is landed by a run
        followed.follow("restore.md", *deferred)
    said = followed.said
    assert any("is restored to" in one for one in said.values())
    assert any("each in its place and as it was written" in one for one in said.values())
    assert any("the home is open" in one for line, one in said.items() if line.startswith("backup settle"))
    assert not (new.home / "restored.json").exists()
    assert len(backups(house.shelf, PublicKey(public_key(new.signing_keys, "backups").raw))) == 2


@pytest.mark.embedded
def test_the_runbooks_of_keys_leaks_and_erasures_can_be_followed(house: Shelved, tmp_path: Path) -> None:
    names = {"kept.txt": str(tmp_path / "kept.txt"), "leak.zip": str(tmp_path / "leak.zip")}
    names |= {"protected/direct": "rights/direct", "/mnt/backups": house.place, "backup-public.pem": house.recipient}
    names |= {"baskets_synthetic@12": "households_synthetic@1", "baskets_synthetic": "households_synthetic"}
    names |= {"er-20261120-0a1b2c3d": "er-20261101-00000001"}
    followed = Followed(environment(house.settings), names)
    followed.follow("key-compromise.md", "keys revoke", "access review")  # nobody is enrolled here
    unread = ("report", "audit bundle", "access review", "contracts check")  # evidence that was cut short
    followed.follow("leak-in-a-published-dataset.md", *unread)
    followed.follow("failed-erasure.md", "erase resume", "erase certificate", "erase verify", "doctor")
    log = AuditLog(house.settings.database).events()
    assert {"disable key", "rotate key", "withdraw", "hold", "lift hold", "back up"} <= {one.action for one in log}
