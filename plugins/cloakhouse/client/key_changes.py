"""`cloakhouse keys rotate | disable | enable`: changes to master keys."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import dry_run_option, installation, say, told, why_option
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import KeyServiceError

if TYPE_CHECKING:
    from cloakhouse.keys.protocol import KeyDescription, KeyName
    from cloakhouse.settings import Settings

ROTATED = (
    Heading("name", "master key", whole=True),
    Heading("version", right=True),
    Heading("dataset_keys", "dataset keys", right=True),
    Heading("landed_files", "landed files", right=True),
)
GRACE_HELP = "Seconds that readers of the old files have before these are removed (with --rewrite)."


@click.command()
@click.argument("names", nargs=-1)
@click.option("--due", is_flag=True, help="The keys that the policy says are due.")
@click.option("--all", "everything", is_flag=True, help="Every enabled key.")
@click.option("--rewrite", is_flag=True, help="After a compromise: encrypt the data again under new keys, too.")
@click.option("--grace", type=click.IntRange(min=0), default=3600, show_default=True, help=GRACE_HELP)
@why_option
@dry_run_option
@output_option
def rotate(
    names: tuple[str, ...],
    due: bool,
    everything: bool,
    rewrite: bool,
    grace: int,
    reason: str,
    dry_run: bool,
    output: str,
) -> None:
    """Give master keys a new version.

    What older versions wrapped is wrapped anew. NAMES are master keys, e.g. protected/direct. Data is not touched,
    unless --rewrite asks for it: then files are encrypted again, the old ones removed after --grace, and the old
    dataset keys destroyed. Run the same command again to go on with a rewrite that was interrupted, or that waits
    for the end of the grace.
    """
    from cloakhouse.stages import rotation

    settings = installation()
    chosen = _chosen(settings, names, due, everything)
    if dry_run:
        again = ", and encrypt all data under them again" if rewrite and chosen else ""
        facts = {"would_rotate": chosen, "rewrite": rewrite, "dry_run": True}
        told(output, facts, f"would rotate {', '.join(chosen) or 'nothing'}{again}")
    elif rewrite:
        _rewrite(settings, chosen, grace, reason, output)
    else:
        done = [rotated.as_dict() for rotated in rotation.rotate(settings, chosen, reason)]
        if output == "json":
            show.write_json({"rotated": done, "dry_run": False})
        elif done:
            show.write_table(ROTATED, done)
    if not chosen and output != "json":
        say(f"no key is {'due: each is younger than ' + str(settings.rotation_days) + ' days' if due else 'enabled'}")


def _rewrite(settings: Settings, chosen: list[KeyName], grace: int, reason: str, output: str) -> None:
    from cloakhouse.stages.rewrite import rewrite as rewrite_class

    done = []
    for name in chosen:
        show.note(f"{name}: encrypting its data again")
        try:
            done.append(rewrite_class(settings, name, dt.timedelta(seconds=grace), reason=reason).as_dict())
        except KeyboardInterrupt:
            say(f"{name}: what is encrypted again stands; the same command goes on from there")
            raise
        item = done[-1]
        if output != "json":
            say(
                f"{name}: {item['rewritten']} files encrypted again, {item['removed']} old ones removed, "
                f"{item['retired']} old dataset keys destroyed; {item['state']}"
            )
    if output == "json":
        show.write_json({"rewritten": done, "dry_run": False})


def _chosen(settings: Settings, names: tuple[str, ...], due: bool, everything: bool) -> list[KeyName]:
    """Return the keys to rotate, each once. Raises KeyServiceError before any is changed, if one can't be."""
    from cloakhouse.keys.protocol import KeyName, KeyState
    from cloakhouse.ledger.audited_keys import service_of
    from cloakhouse.stages import rotation

    if sum((bool(names), due, everything)) != 1:
        raise click.UsageError("name master keys, or give --due, or --all")
    service = service_of(settings)
    if due:
        return rotation.due(service, settings.rotation_period, dt.datetime.now(dt.UTC))
    if everything:
        return [name for name in service.names() if service.describe(name).state is KeyState.ENABLED]
    described = [service.describe(KeyName(name)) for name in dict.fromkeys(names)]
    for description in described:
        if description.state is not KeyState.ENABLED:
            raise not_usable(description)
    return [description.name for description in described]


def not_usable(found: KeyDescription) -> KeyServiceError:
    """Return the error for a key that is disabled or destroyed."""
    from cloakhouse.keys.protocol import KeyState

    destroyed = found.state is KeyState.DESTROYED
    return KeyServiceError(
        where=f"master key {found.name}",
        expected="a master key that can be used",
        found=f"one that is {found.state.value}",
        not_done="no key was changed",
        remedy="none: what it wrapped can't be read any more"
        if destroyed
        else f"if it may be used again: `cloakhouse keys enable {found.name}`",
        code=found.state.value,
    )


def _switch(name: str, reason: str, dry_run: bool, output: str, verb: str, done: str) -> None:
    from cloakhouse.keys.protocol import KeyName, KeyState
    from cloakhouse.ledger.audited_keys import open_ring

    ring = open_ring(installation(), reason)
    found = ring.service.describe(KeyName(name))
    if found.state is KeyState.DESTROYED:
        raise not_usable(found)
    if not dry_run:
        getattr(ring.service, verb)(KeyName(name))
        ring.announce()
    sentence = f"{name} would be {done}" if dry_run else f"{name} is {done}, for everyone, from the next file on"
    told(output, {"name": name, "state": done, "dry_run": dry_run}, sentence)


@click.command()
@click.argument("name")
@why_option
@dry_run_option
@output_option
def disable(name: str, reason: str, dry_run: bool, output: str) -> None:
    """Stop all use of a master key, until `enable`.

    NAME is a master key, e.g. protected/direct. It holds for everyone, the platform included.
    """
    _switch(name, reason, dry_run, output, "disable", "disabled")


@click.command()
@click.argument("name")
@why_option
@dry_run_option
@output_option
def enable(name: str, reason: str, dry_run: bool, output: str) -> None:
    """Allow the use of a disabled master key again.

    NAME is a master key, e.g. protected/direct.
    """
    _switch(name, reason, dry_run, output, "enable", "enabled")
