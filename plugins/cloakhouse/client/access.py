"""`cloakhouse access check | apply | review`: who may read what by the policy, and who can by the keys."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import current_settings, dry_run_option, installation, say, told, why_option
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    from cloakhouse.settings import Settings
    from cloakhouse.stages.access_apply import Applied
    from cloakhouse.stages.access_plan import Plan
    from cloakhouse.stages.access_review import Opening, Review

REFUSED = 3
OPENINGS = (
    Heading("principal", whole=True),
    Heading("role", whole=True),
    Heading("purpose"),
    Heading("reads"),
    Heading("classes"),
    Heading("granted"),
    Heading("last_use", "last use"),
    Heading("review_by", "review by", whole=True),
)
FINDINGS = (Heading("kind"), Heading("who", whole=True), Heading("what", whole=True), Heading("detail"))
CHANGES = (Heading("change", whole=True), Heading("who", whole=True), Heading("what", whole=True), Heading("purpose"))


@click.group()
def access() -> None:
    """Check the access policy, apply it, review who opens what.

    The policy (CLOAKHOUSE_POLICY) gives roles the right to read zones, datasets and classes of columns, for purposes.
    Nothing is allowed that no rule allows. The key service enforces it.
    """


@access.command()
@output_option
def check(output: str) -> None:
    """Read the policy and list its faults, each with line and column.

    Names of datasets that no contract declares are told, too; they are no fault.
    """
    from cloakhouse.contracts.access_parser import load_policy
    from cloakhouse.contracts.parser import load_contracts

    settings = current_settings()
    policy = load_policy(settings.policy)
    contracts = load_contracts(settings.contracts)
    patterns = {d for role in policy.roles.values() for rule in role.reads for d in rule.datasets}
    unknown = sorted(name for name in patterns - set(contracts) if not set(name) & set("*?"))
    facts = {"roles": sorted(policy.roles), "principals": sorted(policy.principals), "unknown_datasets": unknown}
    told(output, facts, f"the policy is sound: {len(policy.roles)} roles, {len(policy.principals)} principals")
    if unknown and output != "json":
        say(f"no contract declares: {', '.join(unknown)}")


@access.command()
@click.option("--strict", is_flag=True, help="Also revoke grants that aren't about reading, such as detokenization.")
@click.option("--grants", "half", flag_value="grants", help="Only change grants: for whoever administers keys.")
@click.option("--shares", "half", flag_value="shares", help="Only renew and share dataset keys: for the platform.")
@why_option
@dry_run_option
@output_option
def apply(strict: bool, half: str | None, reason: str, dry_run: bool, output: str) -> None:
    """Make the grants at the key service equal to the policy.

    What no rule gives any more is revoked, what is missing is granted, and dataset keys are shared with the roles
    that may read some datasets of a zone. Publication and rotation share what is new by themselves.

    Where nobody may both change grants and use keys, as with Terraform's roles at AWS, whoever administers keys runs it
    with --grants, then the platform with --shares. Each tells what is left to the other.
    """
    if half == "shares" and strict:
        raise click.UsageError("--strict is about grants: use it with --grants")
    settings = installation()
    applied = _applied(settings, half, strict, reason, dry_run)
    if output == "json":
        show.write_json({**applied.as_dict(), "dry_run": dry_run})
    else:
        _tell_applied(applied, dry_run, half)
    if applied.refused:
        raise applied.refused[0][1]


@access.command()
@click.option("--unused-days", type=click.IntRange(1, 36_500), default=90, show_default=True, help="Days without use.")
@click.option("--check", "checking", is_flag=True, help="End with code 3 if something is overdue or unexplained.")
@output_option
def review(unused_days: int, checking: bool, output: str) -> None:
    """Show who can open what, and why, and what there is to look at.

    Found are: roles past the day of their review, grants that no role explains, grants that nobody used, what the
    policy gives and the key service doesn't, and grants that aren't about reading.
    """
    from cloakhouse.client.control import explained
    from cloakhouse.stages import access_review

    settings = installation()
    with explained(settings):
        found = access_review.review(settings, dt.datetime.now(dt.UTC), unused_days)
    if output == "json":
        show.write_json(found.as_dict())
    else:
        _tell_review(found)
    if checking and found.failing:
        raise click.exceptions.Exit(REFUSED)


def _applied(settings: Settings, half: str | None, strict: bool, reason: str, dry_run: bool) -> Applied:
    from cloakhouse.stages import access_apply, access_halves

    if half is not None and dry_run:
        return access_halves.planned_half(settings, access_halves.Half(half), strict=strict)
    if half == "grants":
        return access_halves.apply_grants(settings, strict=strict, reason=reason)
    if half == "shares":
        return access_halves.apply_shares(settings, reason=reason)
    if dry_run:
        return access_apply.planned(settings, strict=strict)
    return access_apply.apply(settings, strict=strict, reason=reason)


def _tell_applied(applied: Applied, dry_run: bool, half: str | None) -> None:
    facts = applied.as_dict()
    rows = [
        {"change": name, "who": g["principal"], "what": g["key"], "purpose": g["purpose"]}
        for name in ("revoked", "granted")
        for g in facts[name]
    ]
    rows += [
        {"change": name, "who": s.role.replace("_", "-"), "what": s.key.name, "purpose": ""}
        for name, shares in (("unshared", applied.done.unshare), ("shared", applied.done.share))
        for s in shares
    ]
    if rows:
        show.write_table(CHANGES, rows)
    what = "the shares" if half == "shares" else "the grants"
    if dry_run:
        say("this would be done" if rows else f"nothing would be done: {what} are as the policy says")
    elif not applied.refused:
        say(f"{what} are as the policy says" + ("" if rows else ": nothing was to be done"))
    if applied.resumed:
        say("withdrawals of an earlier call " + ("wait to be finished" if dry_run else "were finished"))
    for grant in applied.done.outside:
        say(f"outside of the policy: {grant.name} to {grant.principal} for {grant.purpose}")
    for refused, problem in applied.refused:
        say(f"refused ({problem.code}): {refused}")
    _tell_left(applied.left, half)


def _tell_left(left: Plan, half: str | None) -> None:
    """Say what the other half has to do; of the platform's always, since its shares can't be seen from another home."""
    if half == "grants":
        say("left to the platform: `cloakhouse access apply --shares` renews what was withdrawn, and shares keys")
    if half == "shares" and (left.grant or left.revoke):
        say("left to whoever administers keys: `cloakhouse access apply --grants`")
        for word, grants in (("withdraw", left.revoke), ("grant", left.grant)):
            for grant in grants:
                say(f"  {word} {grant.name} to {grant.principal} for {grant.purpose}")


def _tell_review(found: Review) -> None:
    if found.openings:
        show.write_table(OPENINGS, [_row(opening) for opening in found.openings])
    else:
        show.note("the policy names no principal: nobody but the platform reads")
    if found.findings:
        show.write_table(FINDINGS, [finding.as_dict() for finding in found.findings], title="To look at")


def _row(opening: Opening) -> dict[str, Any]:
    return {
        **opening.as_dict(),
        "reads": f"{opening.zone}: {', '.join(opening.datasets)}",
        "classes": ", ".join(sorted(name.split()[0] for name in opening.classes)),
        "last_use": f"{opening.last_use:%Y-%m-%d}" if opening.last_use else "never",
    }
