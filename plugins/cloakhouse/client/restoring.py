"""`cloakhouse backup restore | settle`: an installation from a backup, closed until it is known what came after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.backup_common import FILE, IDENTITY_HELP, KEY_HELP, progress, text_of, trusted
from cloakhouse.client.key_common import say, told
from cloakhouse.client.options import output_option

if TYPE_CHECKING:
    from cloakhouse.stages.restored import Closed


@click.command()
@click.argument("shelf")
@click.option(
    "--to", "home", required=True, type=click.Path(path_type=Path), help="The new home: nothing is there yet."
)
@click.option("--key", "key", type=FILE, required=True, help=KEY_HELP)
@click.option("--identity", type=FILE, required=True, help=IDENTITY_HELP)
@click.option("--reason", required=True, help="Why, for the audit log: 10 to 500 characters.")
@click.option("--name", default="", help="Of the backup. The newest full one if not given.")
@click.option(
    "--anchor", "anchors", type=FILE, multiple=True, help="A checkpoint that was kept elsewhere. May be repeated."
)
@click.option("--older-than-anchor", is_flag=True, help="Restore it although later entries of the log are lost.")
@output_option
def restore(
    shelf: str,
    home: Path,
    key: Path,
    identity: Path,
    reason: str,
    name: str,
    anchors: tuple[Path, ...],
    older_than_anchor: bool,
    output: str,
) -> None:
    """Restore a backup into an empty home.

    The home is made when every file, the log and the register of versions are as they were signed. It stays closed
    until `backup settle`. CLOAKHOUSE_DATABASE and CLOAKHOUSE_LAKE, where set, name an empty database and bucket.
    """
    import os

    from cloakhouse.settings import Settings
    from cloakhouse.stages.authority import check_reason
    from cloakhouse.stages.backup_manifest import shelf_of
    from cloakhouse.stages.restore import Source
    from cloakhouse.stages.restore import restore as restored

    settings = Settings.from_environment({**os.environ, "CLOAKHOUSE_HOME": str(home)})
    notes = {str(path): text_of(path) for path in anchors}
    source = Source(
        shelf_of(settings, shelf), trusted(key), identity, check_reason(reason), name, notes, older_than_anchor
    )
    found = restored(settings, source, progress)
    facts = {
        **found.backup.summary(),
        "rights": found.rights.name if found.rights else "",
        "brought": found.brought.counts,
    }
    facts |= {"entries_lost": found.closed.entries_lost, "redo": len(found.closed.redo)}
    told(output, facts, f"backup {found.backup.name} is restored to {settings.home}: {facts['files']:,} files")
    if output != "json":
        if found.rights:
            say(f"rights are those of {found.rights.name}: {found.closed.known_to:,} entries of the log")
        _tell(found.closed)


@click.command()
@click.option("--reason", required=True, help="On what grounds, for the audit log: 10 to 500 characters.")
@click.option("--erasures-known", is_flag=True, help="State that every erasure after the backup was asked for again.")
@click.option(
    "--consents-known", is_flag=True, help="State that no withdrawal of a consent after the backup is missing."
)
@output_option
def settle(reason: str, erasures_known: bool, consents_known: bool, output: str) -> None:
    """Settle what happened after the backup, and open a restored home.

    Does what can be done, and tells what is left; ends with code 3 while something is.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.errors import AccessRefused
    from cloakhouse.stages.restore_settle import Stated
    from cloakhouse.stages.restore_settle import settle as settled

    left = settled(installed(), Stated(reason, erasures_known, consents_known))
    if output == "json":
        show.write_json({"open": left is None, **({} if left is None else _facts(left))})
    elif left is None:
        say("nothing is left to settle: the home is open")
    else:
        _tell(left)
    if left is not None:
        raise click.exceptions.Exit(AccessRefused.exit_code)


def _facts(closed: Closed) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(closed), "redo": list(closed.redo)}


def _tell(closed: Closed) -> None:
    if closed.entries_lost:
        say(f"LOST: {closed.entries_lost:,} entries of the log, and what they tell of")
    if not closed.erasures_known:
        say("closed: request every erasure after the backup again, then `cloakhouse backup settle --erasures-known`")
    if closed.batch and not closed.erased:
        say(f"closed: {closed.batch} erases again who came back; `cloakhouse erase resume`, then settle again")
    elif not closed.erased:
        say(f"closed: the persons of {len(closed.redo)} erasures came back; `cloakhouse backup settle` requests them")
    if not closed.consents_known:
        say("closed: withdrawals after the backup are missing; land a newer customer master, then settle again")
