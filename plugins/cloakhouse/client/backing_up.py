"""`cloakhouse backup create | list | verify`: backups of the installation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cloakhouse.client import show
from cloakhouse.client.backup_common import FILE, IDENTITY_HELP, KEY_HELP, progress, text_of, trusted
from cloakhouse.client.key_common import told
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

Command = TypeVar("Command", bound=Callable[..., Any])
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
    done = made(settings, Wanted(shelf, _recipient(recipient), rights_only, with_identities), progress)
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
    found = [one.summary() for one in each_backup(shelf_of(settings, shelf), trusted(key))]
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

    found = verified(shelf_of(Settings.from_environment(), shelf), trusted(key), name, identity, progress)
    facts = {**found.backup.summary(), "opened": found.opened, "rows": found.rows}
    opened = f"all {found.opened:,} opened, {found.rows:,} rows of the database" if identity else "none was opened"
    told(output, facts, f"backup {found.backup.name} is as it was written: {facts['files']:,} files; {opened}")


def _recipient(given: str) -> str:
    from cloakhouse.keys.recipients import recipient_of

    path = Path(given)
    return recipient_of(text_of(path) if not given.startswith("age1") and path.is_file() else given)
