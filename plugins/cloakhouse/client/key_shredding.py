"""`cloakhouse keys shred`: data made unreadable for good."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import dry_run_option, installation, say, told, why_option
from cloakhouse.client.options import output_option
from cloakhouse.errors import ConfigurationError, NotFound

if TYPE_CHECKING:
    from cloakhouse.keys.ring import KeyRing


@click.command()
@click.option("--key", "name", help="A master key: all data of its zone and class.")
@click.option("--dataset", help="A dataset: its data in every zone.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@why_option
@dry_run_option
@output_option
def shred(name: str | None, dataset: str | None, yes: bool, reason: str, dry_run: bool, output: str) -> None:
    """Make data unreadable for good by destroying its keys.

    It holds wherever its files are, copies and backups included, as long as no copy of the keys is kept. There is no
    way back.
    """
    from cloakhouse.ledger.audited_keys import open_ring
    from cloakhouse.stages import access, rotation

    if (name is None) == (dataset is None):
        raise click.UsageError("give --key or --dataset, one of them")
    settings = installation()
    doomed = _doomed(open_ring(settings), name, dataset)
    what = f"all data under {name}" if name else f"dataset {dataset} in every zone"
    if dry_run:
        told(output, {"would_shred": doomed, "dry_run": True}, f"would shred {what}, with keys {', '.join(doomed)}")
        return
    if not yes:
        _confirm(f"{what} becomes unreadable for good, with keys {', '.join(doomed)}.")
    if dataset:
        destroyed = rotation.shred(settings, dataset, reason)
    else:
        destroyed = access.shred_class(settings, str(name), reason)
    told(
        output,
        {"shredded": destroyed, "dry_run": False},
        f"{what} is shredded: {len(destroyed)} keys destroyed, and each was tried and does not open: "
        + ", ".join(destroyed),
    )


def _doomed(ring: KeyRing, name: str | None, dataset: str | None) -> list[str]:
    """Return the names of the keys that shredding destroys. Raises KeyServiceError, NotFound."""
    from cloakhouse.keys.protocol import KeyName

    if name is not None:
        ring.service.describe(KeyName(name))
        return [name, *(file.key.name for file in ring.all() if file.key.master == name)]
    found = [file.key for file in ring.all()]
    doomed = [key.name for key in found if key.dataset == dataset]
    if not doomed:
        raise NotFound(
            where="--dataset",
            expected="a dataset that has keys",
            found="none of that name",
            not_done="nothing was destroyed",
            remedy=f"name one of: {', '.join(sorted({key.dataset for key in found})) or 'none yet'}",
            code="dataset",
        )
    return doomed


def _confirm(warning: str) -> None:
    """Ask at the terminal. Raises ConfigurationError where there is none, click's Exit for any answer but yes."""
    if not sys.stdin.isatty():
        raise ConfigurationError(
            where="cloakhouse keys shred",
            expected="a terminal to ask at, or --yes",
            found="neither",
            not_done="nothing was destroyed",
            remedy="look with --dry-run at what would be destroyed, then add --yes",
            code="unconfirmed",
        )
    say(warning)
    try:
        agreed = click.confirm("Go on?", err=True)
    except click.Abort:
        raise KeyboardInterrupt from None
    if not agreed:
        show.note("nothing was destroyed")
        raise click.exceptions.Exit(1)
