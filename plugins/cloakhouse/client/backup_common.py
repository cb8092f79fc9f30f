"""What the commands over backups share: the public key they go by, files named to them, and how far they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cloakhouse.keys.signing import PublicKey

FILE = click.Path(dir_okay=False, path_type=Path)
KEY_HELP = "The installation's public key `backups` (signing-keys/backups.pem), kept elsewhere."
IDENTITY_HELP = "File of the recipient's private key, mode 0600: age, or X25519 in PEM."


def trusted(key: Path | None) -> PublicKey:
    """Return the public key in the file `key`, or for None that of the installation."""
    from cloakhouse.keys.signing import PublicKey
    from cloakhouse.stages.signing import BACKUPS, trusted_key

    if key is None:
        from cloakhouse.client.disclosing import installed

        return trusted_key(installed(), BACKUPS)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        found = load_pem_public_key(text_of(key).encode())
    except ValueError:
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise click.BadParameter("no Ed25519 public key in PEM", param_hint="--key")
    return PublicKey(found.public_bytes(Encoding.Raw, PublicFormat.Raw))


def text_of(path: Path) -> str:
    """Return the first 64 KiB of a file as text. Raises StorageError."""
    from cloakhouse.keys.files import storage_error

    try:
        with path.open("rb") as stream:
            return stream.read(65_536).decode("utf-8", errors="replace")
    except OSError as fault:
        raise storage_error(fault, path, "nothing was read") from None


def progress(what: str, done: int, total: int) -> None:
    """Tell a terminal how far the work is."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{done:,} of {total:,} {what}" + ("\n" if done == total else ""), err=True, nl=False)
