"""`cloakhouse backup create | list | verify | restore | settle`: backups of the installation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import say, told
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    from cloakhouse.keys.signing import PublicKey
    from cloakhouse.stages.restored import Closed

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(dir_okay=False, path_type=Path)
KEY_HELP = "The installation's public key `backups` (signing-keys/backups.pem), kept elsewhere."
IDENTITY_HELP = "File of the recipient's private key, mode 0600: age, or X25519 in PEM."
BACKUPS = (
    Heading("name", whole=True),
    Heading("kind"),
    Heading("files", right=True),
    Heading("bytes", right=True),
    Heading("log_size", "log", right=True),
    Heading("tombstones", right=True),
    Heading("revision"),
)


def _shelf_options(command: Command) -> Command:
    key = click.option("--key", "key", type=FILE, help=KEY_HELP + " Not needed where the installation stands.")
    return click.argument("shelf")(key(command))


@click.group()
def backup() -> None:
    """Back the installation up, and restore it.

    SHELF is a folder, or a bucket (s3://...), on which backups lie: sealed to a recipient, so that nothing of them is
    readable there, and signed. A file that an earlier backup has is not copied again. Keep the recipient's private key
    and signing-keys/backups.pem where neither the installation nor the shelf is lost with them.
    """


@backup.command()
@click.argument("shelf")
@click.option("--recipient", required=True, help="age1..., or a file that holds it or an X25519 public key in PEM.")
@click.option("--rights-only", is_flag=True, help="Database and keys without the lake: quick, after each erasure.")
@click.option(
    "--with-identities", is_flag=True, help="Also what opens the age keystore. The backup then opens everything."
)
@output_option
def create(shelf: str, recipient: str, rights_only: bool, with_identities: bool, output: str) -> None:
    """Make a backup of control database, wrapped keys and lake.

    Killed, it goes on when it is called again. The platform may be at work meanwhile.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages.backup import Wanted
    from cloakhouse.stages.backup import create as made

    settings = installed()
    done = made(settings, Wanted(shelf, _recipient(recipient), rights_only, with_identities), _progress)
    facts = done.summary()
    told(
        output,
        facts,
        f"backup {done.name}: {facts['files']:,} files, {facts['bytes']:,} bytes, {done.log_size:,} log entries; "
        f"its manifest is signed by {settings.signing_keys / 'backups.pem'}",
    )


@backup.command("list")
@_shelf_options
@output_option
def list_backups(shelf: str, key: Path | None, output: str) -> None:
    """List the backups of a shelf, oldest first."""
    from cloakhouse.settings import Settings
    from cloakhouse.stages.backup_manifest import each_backup, shelf_of

    settings = Settings.from_environment()
    found = [one.summary() for one in each_backup(shelf_of(settings, shelf), _trusted(key))]
    if output == "json":
        show.write_json(found)
    else:
        show.write_table(BACKUPS, found)


@backup.command()
@_shelf_options
@click.option("--name", default="", help="Of the backup. The newest full one if not given.")
@click.option("--identity", type=FILE, help=IDENTITY_HELP + " With it every file is opened as well.")
@output_option
def verify(shelf: str, key: Path | None, name: str, identity: Path | None, output: str) -> None:
    """Compare every byte of a backup with what was signed.

    Without --identity the sealed files are compared, and nothing is opened.
    """
    from cloakhouse.settings import Settings
    from cloakhouse.stages.backup_manifest import shelf_of
    from cloakhouse.stages.backup_verify import verify as verified

    found = verified(shelf_of(Settings.from_environment(), shelf), _trusted(key), name, identity, _progress)
    facts = {**found.backup.summary(), "opened": found.opened, "rows": found.rows}
    opened = f"all {found.opened:,} opened, {found.rows:,} rows of the database" if identity else "none was opened"
    told(output, facts, f"backup {found.backup.name} is as it was written: {facts['files']:,} files; {opened}")


@backup.command()
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
    notes = {str(path): _text(path) for path in anchors}
    source = Source(
        shelf_of(settings, shelf), _trusted(key), identity, check_reason(reason), name, notes, older_than_anchor
    )
    found = restored(settings, source, _progress)
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


@backup.command()
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


def _recipient(given: str) -> str:
    from cloakhouse.keys.recipients import recipient_of

    path = Path(given)
    return recipient_of(_text(path) if not given.startswith("age1") and path.is_file() else given)


def _trusted(key: Path | None) -> PublicKey:
    from cloakhouse.keys.signing import PublicKey
    from cloakhouse.stages.signing import BACKUPS, trusted_key

    if key is None:
        from cloakhouse.client.disclosing import installed

        return trusted_key(installed(), BACKUPS)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        found = load_pem_public_key(_text(key).encode())
    except ValueError:
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise click.BadParameter("no Ed25519 public key in PEM", param_hint="--key")
    return PublicKey(found.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _text(path: Path) -> str:
    from cloakhouse.keys.files import storage_error

    try:
        with path.open("rb") as stream:
            return stream.read(65_536).decode("utf-8", errors="replace")
    except OSError as fault:
        raise storage_error(fault, path, "nothing was read") from None


def _progress(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{done:,} of {total:,} {what}" + ("\n" if done == total else ""), err=True, nl=False)
