"""`cloakhouse keys`: who can open what, since when, and until when; and the changes to that."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from cloakhouse.keys.protocol import Grant, KeyName
    from cloakhouse.lake.coverage import Coverage, PlaceCoverage
    from cloakhouse.settings import Settings

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
ROTATED = (
    Heading("name", "master key", whole=True),
    Heading("version", right=True),
    Heading("dataset_keys", "dataset keys", right=True),
    Heading("landed_files", "landed files", right=True),
)
PARTS = (
    Heading("zone", whole=True),
    Heading("dataset", whole=True),
    Heading("place", "kind"),
    Heading("files", right=True),
    Heading("encrypted", "encrypted bytes", right=True),
    Heading("plaintext", "plaintext bytes", right=True),
    Heading("own_key", "columns with own key", right=True),
)
OWN = "with a key of its class"
FINDINGS = (Heading("path", "file", whole=True), Heading("kind"), Heading("detail"))
GRACE_HELP = "Seconds that readers of the old files have before these are removed (with --rewrite)."

Change = Callable[..., Any]


@click.group()
def keys() -> None:
    """Master keys, grants, rotation, and what is really encrypted.

    \b
    A master key is named by zone and class: protected/direct, synthetic/plain, landing/file. A grant lets a
    principal use one for a purpose. Commands that change something take --dry-run.
    """


def dry_run_option(command: Change) -> Change:
    """Add `--dry-run`."""
    return click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")(command)


def _settings() -> Settings:
    from cloakhouse.settings import Settings

    return Settings.from_environment()


def _told(output: str, facts: dict[str, Any], sentence: str) -> None:
    if output == "json":
        show.write_json(facts)
    else:
        show.note(sentence)


@keys.command()
@output_option
def status(output: str) -> None:
    """Show master keys: state, version, age, next rotation, and who holds grants."""
    from cloakhouse.stages.key_status import key_status

    found = key_status(_settings(), dt.datetime.now(dt.UTC))
    if output == "json":
        show.write_json(found.as_dict())
        return
    show.write_table(MASTERS, [master.as_dict() for master in found.masters])
    show.write_table(GRANTS, [_grant_out(grant) for grant in found.grants], title="Grants")
    if not found.masters:
        show.note("no master key yet: the first landing makes them")


def _grant_out(grant: Grant) -> dict[str, str]:
    return {"principal": grant.principal, "key": grant.name, "purpose": grant.purpose}


@keys.command()
@click.argument("principal")
@click.option("--identity", type=click.Path(path_type=Path), help="Make this identity file for the principal.")
@click.option("--recipient", metavar="AGE1...", help="The principal's own age recipient; its secret stays there.")
@output_option
def enrol(principal: str, identity: Path | None, recipient: str | None, output: str) -> None:
    """Make PRINCIPAL known to the age keystore, so that keys can be granted to it."""
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.service import service_of

    if (identity is None) == (recipient is None):
        raise click.UsageError("give --identity FILE or --recipient AGE1..., one of them")
    service = service_of(_settings())
    if not isinstance(service, AgeKeyService):
        raise ConfigurationError(
            where="CLOAKHOUSE_KEYS",
            expected="the age keystore",
            found="a key service with principals of its own",
            not_done="nobody was enrolled",
            remedy="make the principal there (an IAM role, a Vault policy), then grant keys to it",
        )
    known = service.enrol(principal, identity=identity, recipient=recipient)
    made = f"; its identity file is {identity}, to be handed over on a safe way" if identity else ""
    _told(output, {"principal": principal, "recipient": known}, f"{principal} enrolled as {known}{made}")


def _grant_options(command: Change) -> Change:
    for option in (
        click.option("--purpose", required=True, help="What for, e.g. model-training."),
        click.option("--class", "uses", multiple=True, help="Class of columns; repeatable. All of them if not given."),
        click.option("--zone", required=True, help="Zone of the lake, e.g. synthetic."),
        click.option("--role", "principal", required=True, help="Principal: a name, a policy's, or an ARN."),
    ):
        command = option(command)
    return command


def _grants(principal: str, zone: str, uses: tuple[str, ...], purpose: str) -> list[Grant]:
    """Return the grants for the classes `uses` of a zone; the footer's key, without which no file opens, goes along."""
    from cloakhouse.contracts.model import ColumnClass
    from cloakhouse.keys.dataset_keys import DatasetKey
    from cloakhouse.keys.protocol import FILE, FOOTER, Grant

    classes = [column_class.key_name for column_class in ColumnClass]
    chosen = list(uses) or classes
    unknown = [use for use in chosen if use not in (*classes, FOOTER, FILE)]
    if unknown:
        raise click.UsageError(f"--class is one of {', '.join((*classes, FILE))}")
    if FILE not in chosen:
        chosen = list(dict.fromkeys([FOOTER, *chosen]))
    try:
        return [Grant(principal, DatasetKey(zone, use, "any").master, purpose) for use in chosen]
    except IntegrityError:
        raise click.UsageError("--zone is a zone of the lake, e.g. synthetic") from None


@keys.command()
@_grant_options
@dry_run_option
@output_option
def grant(principal: str, zone: str, uses: tuple[str, ...], purpose: str, dry_run: bool, output: str) -> None:
    """Let a role use the keys of a zone's classes for a purpose."""
    from cloakhouse.keys.service import service_of

    wanted = _grants(principal, zone, uses, purpose)
    service = service_of(_settings())
    if not dry_run:
        for each in wanted:
            service.grant(each)
    facts = {"granted": [_grant_out(g) for g in wanted], "dry_run": dry_run}
    names = ", ".join(g.name for g in wanted)
    _told(output, facts, f"{'would grant' if dry_run else 'granted'} {principal} {names} for {purpose}")


@keys.command()
@_grant_options
@dry_run_option
@output_option
def revoke(principal: str, zone: str, uses: tuple[str, ...], purpose: str, dry_run: bool, output: str) -> None:
    """Withdraw grants, effective at the next file that anyone opens.

    Without --class, all that the role holds in the zone for the purpose. What it has read stays read: to make a key
    useless that it may have kept, add `cloakhouse keys rotate --rewrite`.
    """
    from cloakhouse.keys.service import open_ring
    from cloakhouse.stages.access import revoke_grants

    settings = _settings()
    held = set(open_ring(settings).service.grants())
    wanted = [g for g in _grants(principal, zone, uses, purpose) if g in held]
    if uses and len(wanted) > 1 and any(_others_left(held, g, wanted) for g in wanted):
        wanted = [g for g in wanted if not g.name.endswith("/footer")]
    if not wanted:
        raise _no_such_grant(principal, zone, purpose)
    if not dry_run:
        revoke_grants(settings, wanted)
    facts = {"revoked": [_grant_out(g) for g in wanted], "dry_run": dry_run}
    names = ", ".join(g.name for g in wanted)
    _told(output, facts, f"{'would revoke' if dry_run else 'revoked'} {names} from {principal} for {purpose}")


def _others_left(held: set[Grant], one: Grant, wanted: list[Grant]) -> bool:
    zone = one.name.split("/", 1)[0]
    return any(
        g.principal == one.principal and g.purpose == one.purpose and g.name.startswith(f"{zone}/") and g not in wanted
        for g in held
    )


def _no_such_grant(principal: str, zone: str, purpose: str) -> ConfigurationError:
    return ConfigurationError(
        where=f"grants of {principal} in {zone} for {purpose}",
        expected="at least one",
        found="none",
        not_done="nothing was revoked",
        remedy="`cloakhouse keys status` lists the grants",
        code="grant",
    )


@keys.command()
@click.argument("names", nargs=-1)
@click.option("--due", is_flag=True, help="The keys that the policy says are due.")
@click.option("--all", "everything", is_flag=True, help="Every enabled key.")
@click.option("--rewrite", is_flag=True, help="After a compromise: encrypt the data again under new keys, too.")
@click.option("--grace", type=click.IntRange(min=0), default=3600, show_default=True, help=GRACE_HELP)
@dry_run_option
@output_option
def rotate(
    names: tuple[str, ...], due: bool, everything: bool, rewrite: bool, grace: int, dry_run: bool, output: str
) -> None:
    """Give master keys a new version, and wrap anew what older versions wrapped.

    NAMES are master keys, e.g. protected/direct. Data is not touched, unless --rewrite asks for it: then files are
    encrypted again, the old ones removed after --grace, and the old dataset keys destroyed. Run the same command
    again to go on with a rewrite that was interrupted, or that waits for the end of the grace.
    """
    from cloakhouse.stages import rotation

    settings = _settings()
    chosen = _chosen(settings, names, due, everything)
    if dry_run:
        _told(output, {"would_rotate": list(chosen), "dry_run": True}, f"would rotate: {', '.join(chosen) or 'none'}")
        return
    if rewrite:
        _rewrite(settings, chosen, grace, output)
        return
    done = [rotated.as_dict() for rotated in rotation.rotate(settings, chosen)]
    if output == "json":
        show.write_json({"rotated": done, "dry_run": False})
    else:
        show.write_table(ROTATED, done)


def _rewrite(settings: Settings, chosen: list[KeyName], grace: int, output: str) -> None:
    from cloakhouse.stages.rewrite import rewrite as rewrite_class

    done = [rewrite_class(settings, name, dt.timedelta(seconds=grace)).as_dict() for name in chosen]
    if output == "json":
        show.write_json({"rewritten": done, "dry_run": False})
        return
    for item in done:
        show.note(
            f"{item['name']}: {item['rewritten']} files encrypted again, {item['removed']} old ones removed, "
            f"{item['retired']} old dataset keys destroyed; {item['state']}"
        )


def _chosen(settings: Settings, names: tuple[str, ...], due: bool, everything: bool) -> list[KeyName]:
    from cloakhouse.keys.protocol import KeyName, KeyState
    from cloakhouse.keys.service import service_of
    from cloakhouse.stages import rotation

    if sum((bool(names), due, everything)) != 1:
        raise click.UsageError("name master keys, or give --due, or --all")
    service = service_of(settings)
    if due:
        return rotation.due(service, settings.rotation_period, dt.datetime.now(dt.UTC))
    if everything:
        return [name for name in service.names() if service.describe(name).state is KeyState.ENABLED]
    chosen = [KeyName(name) for name in names]
    for name in chosen:
        service.describe(name)
    return chosen


def _switch(name: str, dry_run: bool, output: str, verb: str, done: str) -> None:
    from cloakhouse.keys.protocol import KeyName
    from cloakhouse.keys.service import open_ring

    ring = open_ring(_settings())
    ring.service.describe(KeyName(name))
    if not dry_run:
        getattr(ring.service, verb)(KeyName(name))
        ring.announce()
    sentence = f"{name} would be {done}" if dry_run else f"{name} is {done}, for everyone, from the next file on"
    _told(output, {"name": name, "state": done, "dry_run": dry_run}, sentence)


@keys.command()
@click.argument("name")
@dry_run_option
@output_option
def disable(name: str, dry_run: bool, output: str) -> None:
    """Stop all use of master key NAME, for everyone at once, until `enable`."""
    _switch(name, dry_run, output, "disable", "disabled")


@keys.command()
@click.argument("name")
@dry_run_option
@output_option
def enable(name: str, dry_run: bool, output: str) -> None:
    """Allow the use of a disabled master key again."""
    _switch(name, dry_run, output, "enable", "enabled")


@keys.command()
@click.option("--key", "name", help="A master key: all data of its zone and class.")
@click.option("--dataset", help="A dataset: its data in every zone.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@dry_run_option
@output_option
def shred(name: str | None, dataset: str | None, yes: bool, dry_run: bool, output: str) -> None:
    """Make data unreadable for good, wherever its files are, by destroying keys. There is no way back."""
    from cloakhouse.stages import access, rotation

    if (name is None) == (dataset is None):
        raise click.UsageError("give --key or --dataset, one of them")
    settings = _settings()
    what = f"all data under {name}" if name else f"dataset {dataset} in every zone"
    if dry_run:
        _told(output, {"would_shred": name or dataset, "dry_run": True}, f"would shred {what}")
        return
    if not yes:
        click.confirm(f"{what} becomes unreadable for good. Go on?", abort=True, err=True)
    if dataset:
        destroyed = rotation.shred(settings, dataset)
    else:
        assert name is not None
        destroyed = access.shred_class(settings, name)
    _told(
        output,
        {"shredded": destroyed, "dry_run": False},
        f"{what} is shredded: {len(destroyed)} keys destroyed, and each was tried and does not open: "
        + ", ".join(destroyed),
    )


@keys.command()
@click.option("--deep", is_flag=True, help="Read every file to its end and check all authentication tags.")
@output_option
@click.pass_context
def coverage(ctx: click.Context, deep: bool, output: str) -> None:
    """Open every file of the lake and tell how much is really encrypted, from its bytes. Exit code 4 if not all is."""
    from cloakhouse.keys.service import open_ring
    from cloakhouse.lake.coverage import coverage as measure

    settings = _settings()
    found = measure(settings.lake, open_ring(settings), deep=deep)
    if output == "json":
        show.write_json(_coverage_out(found))
    else:
        show.write_table(PARTS, [_part_out(part) for part in found.parts])
        if found.findings:
            show.write_table(FINDINGS, [asdict(finding) for finding in found.findings], title="Not as agreed")
        columns = "unknown" if found.column_share is None else f"{found.column_share:.2%}"
        checked = "; every tag was checked" if deep and found.complete else ""
        show.note(f"encrypted: {found.byte_share:.2%} of the bytes, {columns} of the columns by their own key{checked}")
    if not found.complete:
        ctx.exit(IntegrityError.exit_code)


def _part_out(part: PlaceCoverage) -> dict[str, Any]:
    columns = {str(kind): count for kind, count in part.columns.items()}
    total = sum(columns.values())
    own = columns.get(OWN, 0)
    return {**asdict(part), "columns": columns, "own_key": f"{own} of {total}" if total else ""}


def _coverage_out(found: Coverage) -> dict[str, Any]:
    return {
        "complete": found.complete,
        "byte_share": found.byte_share,
        "column_share": found.column_share,
        "encrypted_bytes": found.encrypted_bytes,
        "plaintext_bytes": found.plaintext_bytes,
        "parts": [{k: v for k, v in _part_out(part).items() if k != "own_key"} for part in found.parts],
        "findings": [asdict(finding) for finding in found.findings],
    }
