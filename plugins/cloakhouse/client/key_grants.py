"""`cloakhouse keys status | enrol | grant | revoke`: who can open what."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import Change, current_settings, dry_run_option, installation, say, told, why_option
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import ConfigurationError

if TYPE_CHECKING:
    from cloakhouse.keys.protocol import Grant

MASTERS = (
    Heading("name", "master key", whole=True),
    Heading("state"),
    Heading("version", right=True),
    Heading("age_days", "age (days)", right=True),
    Heading("next_rotation", "next rotation"),
    Heading("dataset_keys", "dataset keys", right=True),
    Heading("behind", right=True),
)
GRANTS = (Heading("principal", whole=True), Heading("key", whole=True), Heading("purpose", whole=True))
LANDING = "landing"
ZONES = (LANDING, "protected", "quarantine", "synthetic", "aggregates", "views")
TOKEN_ROOTS = ("tokens", "purposes", "reversible")  # their keys are named after purposes


@click.command()
@output_option
def status(output: str) -> None:
    """Show master keys, their state and age, and grants.

    Next rotation is when CLOAKHOUSE_ROTATION_DAYS makes a key due. Behind are dataset keys that an older version of
    the master key still wraps.
    """
    from cloakhouse.stages.key_status import key_status
    from cloakhouse.stages.rewrite import unfinished

    settings = installation()
    found, waiting = key_status(settings, dt.datetime.now(dt.UTC)), unfinished(settings)
    if output == "json":
        show.write_json({**found.as_dict(), "unfinished_rewrites": waiting})
        return
    if found.masters:
        show.write_table(MASTERS, [master.as_dict() for master in found.masters])
    else:
        show.note("no master key yet: the first landing makes them")
    if found.grants:
        show.write_table(GRANTS, [grant.as_dict() for grant in found.grants], title="Grants")
    else:
        show.note("no grants: only the platform opens keys")
    if found.shredded:
        say(f"shredded: {', '.join(found.shredded)}")
    for name in waiting:
        say(f"a rewrite of {name} isn't finished: go on with `cloakhouse keys rotate {name} --rewrite`")


@click.command()
@click.argument("principal")
@click.option("--identity", type=click.Path(path_type=Path), help="Make this identity file for the principal.")
@click.option("--recipient", metavar="AGE1...", help="The principal's own age recipient; its secret stays there.")
@why_option
@output_option
def enrol(principal: str, identity: Path | None, recipient: str | None, reason: str, output: str) -> None:
    """Make a principal known to the age keystore.

    Keys can be granted to it then. PRINCIPAL is its name, e.g. model-team.
    """
    from cloakhouse.stages import access

    if (identity is None) == (recipient is None):
        raise click.UsageError("give --identity FILE or --recipient AGE1..., one of them")
    known = access.enrol(current_settings(), principal, identity=identity, recipient=recipient, reason=reason)
    made = f"; its identity file, a secret to hand over safely, is {identity}" if identity else ""
    told(output, {"principal": principal, "recipient": known}, f"{principal} enrolled as {known}{made}")


def _grant_options(command: Change) -> Change:
    for option in (
        click.option("--purpose", required=True, help="What for, e.g. model-training."),
        click.option("--class", "uses", multiple=True, help="Class of columns, or purpose of tokens; repeatable."),
        click.option("--zone", required=True, help="Zone of the lake, e.g. synthetic, or of token keys: reversible."),
        click.option("--role", "principal", required=True, help="Principal: a name, a policy's, or an ARN."),
    ):
        command = option(command)
    return command


def _wanted(principal: str, zone: str, uses: tuple[str, ...], purpose: str) -> list[Grant]:
    """Return the grants for classes of a zone; the footer's key, without which no file opens, goes along."""
    from cloakhouse.keys.protocol import FILE, FOOTER, Grant, zone_key

    if zone not in (*ZONES, *TOKEN_ROOTS):  # a grant makes its key: one of a misspelt zone would stand there for ever
        raise click.UsageError(f"--zone is one of {', '.join((*ZONES, *TOKEN_ROOTS))}")
    if not purpose or not purpose.isprintable() or not principal.isprintable():
        raise click.UsageError("--purpose and --role are texts of printable characters, e.g. model-training")
    if zone in TOKEN_ROOTS:
        return _token_grants(principal, zone, uses, purpose)
    known = (FILE,) if zone == LANDING else _classes()
    _check_classes(uses, known)
    chosen = uses or known
    return [
        Grant(principal, zone_key(zone, use), purpose)
        for use in dict.fromkeys(chosen if zone == LANDING else (FOOTER, *chosen))
    ]


def _token_grants(principal: str, zone: str, uses: tuple[str, ...], purpose: str) -> list[Grant]:
    """Return the grants on roots of token keys; `--class` names the purposes that contracts have tokens for, and
    `rights`, by whose tokens persons are recognised."""
    from cloakhouse.contracts.parser import load_contracts
    from cloakhouse.keys.protocol import Grant, KeyName
    from cloakhouse.stages.token_roots import roots_of
    from cloakhouse.tokens.subjects import rights_uses

    contracts = load_contracts(current_settings().contracts).values()
    roots = {root for contract in contracts for root in roots_of(contract)}
    persons = [c.column(c.rights.subject.column) for c in contracts if c.rights.subject]
    roots |= {use.root for column in persons for use in rights_uses(column)}
    roots = {root for root in roots if root.startswith(f"{zone}/")}
    if not uses or not {f"{zone}/{use}" for use in uses} <= roots:
        names = ", ".join(sorted(root.split("/")[1] for root in roots)) or "none: no contract needs a key here"
        raise click.UsageError(f"--class is one of these, in this zone: {names}")
    return [Grant(principal, KeyName(f"{zone}/{use}"), purpose) for use in dict.fromkeys(uses)]


def _classes() -> tuple[str, ...]:
    from cloakhouse.contracts.model import ColumnClass

    return tuple(column_class.key_name for column_class in ColumnClass)


def _check_classes(uses: Iterable[str], known: tuple[str, ...]) -> None:
    if not set(uses) <= set(known):
        raise click.UsageError(f"--class is one of {', '.join(known)} in this zone")


@click.command()
@_grant_options
@why_option
@dry_run_option
@output_option
def grant(
    principal: str, zone: str, uses: tuple[str, ...], purpose: str, reason: str, dry_run: bool, output: str
) -> None:
    """Let a role use keys of a zone for a purpose.

    The footer's key of the zone, without which no file opens, goes along.
    """
    from cloakhouse.ledger.audited_keys import service_of

    wanted = _wanted(principal, zone, uses, purpose)
    service = service_of(current_settings(), reason)
    if not dry_run:
        for each in wanted:
            service.grant(each)
    facts = {"granted": [g.as_dict() for g in wanted], "dry_run": dry_run}
    names = ", ".join(g.name for g in wanted)
    told(output, facts, f"{'would grant' if dry_run else 'granted'} {principal} {names} for {purpose}")


@click.command()
@_grant_options
@why_option
@dry_run_option
@output_option
def revoke(
    principal: str, zone: str, uses: tuple[str, ...], purpose: str, reason: str, dry_run: bool, output: str
) -> None:
    """Withdraw grants, effective at the next file that is opened.

    Without --class, all that the role holds in the zone for the purpose. With it, other classes go on working; with
    the last class the footer's key goes, too. What the role has read stays read: to make a key useless that it may
    have kept, add `cloakhouse keys rotate --rewrite`.
    """
    from cloakhouse.keys.protocol import FILE
    from cloakhouse.ledger.audited_keys import open_ring
    from cloakhouse.stages.access import revoke_grants

    settings = installation()
    if zone not in TOKEN_ROOTS:
        _check_classes(uses, (*_classes(), FILE))
    everywhere = open_ring(settings).service.grants()
    held = [g for g in everywhere if (g.principal, g.name.split("/")[0], g.purpose) == (principal, zone, purpose)]
    wanted = _withdrawn(held, uses)
    if not wanted:
        raise _no_such_grant(principal, zone, purpose)
    if not dry_run:
        revoke_grants(settings, wanted, reason)
    facts = {"revoked": [g.as_dict() for g in wanted], "dry_run": dry_run}
    names = ", ".join(g.name for g in wanted)
    told(output, facts, f"{'would revoke' if dry_run else 'revoked'} {names} from {principal} for {purpose}")


def _withdrawn(held: list[Grant], uses: tuple[str, ...]) -> list[Grant]:
    """Return those of a role's grants in a zone to withdraw for classes `uses`, all of them for none.

    The footer's key goes with the last class, and first: from then on no file of the zone opens.
    """
    from cloakhouse.keys.protocol import FOOTER

    footer = [g for g in held if g.name.endswith(f"/{FOOTER}")]
    classes = [g for g in held if g not in footer]
    chosen = [g for g in classes if not uses or g.name.split("/")[1] in uses]
    if uses and not chosen:
        return []
    return [*footer, *chosen] if chosen == classes else chosen


def _no_such_grant(principal: str, zone: str, purpose: str) -> ConfigurationError:
    return ConfigurationError(
        where=f"grants of {principal} in {zone} for {purpose}",
        expected="at least one",
        found="none",
        not_done="nothing was revoked",
        remedy="`cloakhouse keys status` lists the grants",
        code="grant",
    )
