"""`cloakhouse keys`: who can open what, since when, and until when; and the changes to that."""

from __future__ import annotations

import datetime as dt
import math
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import ConfigurationError, IntegrityError, KeyServiceError, NotFound

if TYPE_CHECKING:
    from cloakhouse.keys.protocol import Grant, KeyDescription, KeyName
    from cloakhouse.keys.ring import KeyRing
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
    Heading("encrypted", "encrypted\nbytes", right=True),
    Heading("plaintext", "plaintext\nbytes", right=True),
    Heading("own_key", "columns with\nown key", right=True),
)
OWN = "with a key of its class"
FINDINGS = (Heading("path", "file", whole=True), Heading("kind"), Heading("detail"))
LANDING = "landing"
ZONES = (LANDING, "protected", "quarantine", "synthetic", "views")
GRACE_HELP = "Seconds that readers of the old files have before these are removed (with --rewrite)."

Change = Callable[..., Any]


@click.group()
def keys() -> None:
    """Master keys, grants, rotation, and what is really encrypted.

    A master key is named by zone and class: protected/direct, synthetic/plain, landing/file. A grant lets a
    principal use one for a purpose. Commands that change something take --dry-run.
    """


def dry_run_option(command: Change) -> Change:
    """Add `--dry-run`."""
    return click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")(command)


def _settings() -> Settings:
    from cloakhouse.settings import Settings

    return Settings.from_environment()


def _installation() -> Settings:
    """Return the settings of a home that is there: a misspelt one gets no keystore. Raises NotFound."""
    settings = _settings()
    if not settings.home.is_dir():
        raise NotFound(
            where=str(settings.home),
            expected="the folder of an installation",
            found="none",
            not_done="no key was looked at, and nothing was made",
            remedy="set CLOAKHOUSE_HOME to that folder",
            code="home",
        )
    return settings


def _say(sentence: str) -> None:
    """Write a sentence for people, in lines that fit a terminal."""
    show.note(textwrap.fill(sentence, show.MAX_WIDTH, break_long_words=False, break_on_hyphens=False))


def _told(output: str, facts: dict[str, Any], sentence: str) -> None:
    if output == "json":
        show.write_json(facts)
    else:
        _say(sentence)


@keys.command()
@output_option
def status(output: str) -> None:
    """Show master keys, their state and age, and grants.

    Next rotation is when CLOAKHOUSE_ROTATION_DAYS makes a key due. Behind are dataset keys that an older version of
    the master key still wraps.
    """
    from cloakhouse.stages.key_status import key_status
    from cloakhouse.stages.rewrite import unfinished

    settings = _installation()
    found, waiting = key_status(settings, dt.datetime.now(dt.UTC)), unfinished(settings)
    if output == "json":
        show.write_json({**found.as_dict(), "unfinished_rewrites": waiting})
        return
    if found.masters:
        show.write_table(MASTERS, [master.as_dict() for master in found.masters])
    else:
        show.note("no master key yet: the first landing makes them")
    if found.grants:
        show.write_table(GRANTS, [_grant_out(grant) for grant in found.grants], title="Grants")
    else:
        show.note("no grants: only the platform opens keys")
    if found.shredded:
        _say(f"shredded: {', '.join(found.shredded)}")
    for name in waiting:
        _say(f"a rewrite of {name} isn't finished: go on with `cloakhouse keys rotate {name} --rewrite`")


def _grant_out(grant: Grant) -> dict[str, str]:
    return {"principal": grant.principal, "key": grant.name, "purpose": grant.purpose}


@keys.command()
@click.argument("principal")
@click.option("--identity", type=click.Path(path_type=Path), help="Make this identity file for the principal.")
@click.option("--recipient", metavar="AGE1...", help="The principal's own age recipient; its secret stays there.")
@output_option
def enrol(principal: str, identity: Path | None, recipient: str | None, output: str) -> None:
    """Make a principal known to the age keystore.

    Keys can be granted to it then. PRINCIPAL is its name, e.g. model-team.
    """
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
    made = f"; its identity file, a secret to hand over safely, is {identity}" if identity else ""
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


def _wanted(principal: str, zone: str, uses: tuple[str, ...], purpose: str) -> list[Grant]:
    """Return the grants for classes of a zone; the footer's key, without which no file opens, goes along."""
    from cloakhouse.keys.protocol import FILE, FOOTER, Grant, zone_key

    if zone not in ZONES:  # a grant makes its key: one of a misspelt zone would stand there for ever
        raise click.UsageError(f"--zone is one of {', '.join(ZONES)}")
    if not purpose or not purpose.isprintable() or not principal.isprintable():
        raise click.UsageError("--purpose and --role are texts of printable characters, e.g. model-training")
    known = (FILE,) if zone == LANDING else _classes()
    _check_classes(uses, known)
    chosen = uses or known
    return [
        Grant(principal, zone_key(zone, use), purpose)
        for use in dict.fromkeys(chosen if zone == LANDING else (FOOTER, *chosen))
    ]


def _classes() -> tuple[str, ...]:
    from cloakhouse.contracts.model import ColumnClass

    return tuple(column_class.key_name for column_class in ColumnClass)


def _check_classes(uses: Iterable[str], known: tuple[str, ...]) -> None:
    if not set(uses) <= set(known):
        raise click.UsageError(f"--class is one of {', '.join(known)} in this zone")


@keys.command()
@_grant_options
@dry_run_option
@output_option
def grant(principal: str, zone: str, uses: tuple[str, ...], purpose: str, dry_run: bool, output: str) -> None:
    """Let a role use keys of a zone for a purpose.

    The footer's key of the zone, without which no file opens, goes along.
    """
    from cloakhouse.keys.service import service_of

    wanted = _wanted(principal, zone, uses, purpose)
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
    """Withdraw grants, effective at the next file that is opened.

    Without --class, all that the role holds in the zone for the purpose. With it, other classes go on working; with
    the last class the footer's key goes, too. What the role has read stays read: to make a key useless that it may
    have kept, add `cloakhouse keys rotate --rewrite`.
    """
    from cloakhouse.keys.protocol import FILE
    from cloakhouse.keys.service import open_ring
    from cloakhouse.stages.access import revoke_grants

    settings = _installation()
    _check_classes(uses, (*_classes(), FILE))
    everywhere = open_ring(settings).service.grants()
    held = [g for g in everywhere if (g.principal, g.name.split("/")[0], g.purpose) == (principal, zone, purpose)]
    wanted = _withdrawn(held, uses)
    if not wanted:
        raise _no_such_grant(principal, zone, purpose)
    if not dry_run:
        revoke_grants(settings, wanted)
    facts = {"revoked": [_grant_out(g) for g in wanted], "dry_run": dry_run}
    names = ", ".join(g.name for g in wanted)
    _told(output, facts, f"{'would revoke' if dry_run else 'revoked'} {names} from {principal} for {purpose}")


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
    """Give master keys a new version.

    What older versions wrapped is wrapped anew. NAMES are master keys, e.g. protected/direct. Data is not touched,
    unless --rewrite asks for it: then files are encrypted again, the old ones removed after --grace, and the old
    dataset keys destroyed. Run the same command again to go on with a rewrite that was interrupted, or that waits
    for the end of the grace.
    """
    from cloakhouse.stages import rotation

    settings = _installation()
    chosen = _chosen(settings, names, due, everything)
    if dry_run:
        again = ", and encrypt all data under them again" if rewrite and chosen else ""
        facts = {"would_rotate": chosen, "rewrite": rewrite, "dry_run": True}
        _told(output, facts, f"would rotate {', '.join(chosen) or 'nothing'}{again}")
    elif rewrite:
        _rewrite(settings, chosen, grace, output)
    else:
        done = [rotated.as_dict() for rotated in rotation.rotate(settings, chosen)]
        if output == "json":
            show.write_json({"rotated": done, "dry_run": False})
        elif done:
            show.write_table(ROTATED, done)
    if not chosen and output != "json":
        _say(f"no key is {'due: each is younger than ' + str(settings.rotation_days) + ' days' if due else 'enabled'}")


def _rewrite(settings: Settings, chosen: list[KeyName], grace: int, output: str) -> None:
    from cloakhouse.stages.rewrite import rewrite as rewrite_class

    done = []
    for name in chosen:
        show.note(f"{name}: encrypting its data again")
        try:
            done.append(rewrite_class(settings, name, dt.timedelta(seconds=grace)).as_dict())
        except KeyboardInterrupt:
            _say(f"{name}: what is encrypted again stands; the same command goes on from there")
            raise
        item = done[-1]
        if output != "json":
            _say(
                f"{name}: {item['rewritten']} files encrypted again, {item['removed']} old ones removed, "
                f"{item['retired']} old dataset keys destroyed; {item['state']}"
            )
    if output == "json":
        show.write_json({"rewritten": done, "dry_run": False})


def _chosen(settings: Settings, names: tuple[str, ...], due: bool, everything: bool) -> list[KeyName]:
    """Return the keys to rotate, each once. Raises KeyServiceError before any is changed, if one can't be."""
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
    described = [service.describe(KeyName(name)) for name in dict.fromkeys(names)]
    for description in described:
        if description.state is not KeyState.ENABLED:
            raise _not_usable(description)
    return [description.name for description in described]


def _not_usable(found: KeyDescription) -> KeyServiceError:
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


def _switch(name: str, dry_run: bool, output: str, verb: str, done: str) -> None:
    from cloakhouse.keys.protocol import KeyName, KeyState
    from cloakhouse.keys.service import open_ring

    ring = open_ring(_installation())
    found = ring.service.describe(KeyName(name))
    if found.state is KeyState.DESTROYED:
        raise _not_usable(found)
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
    """Stop all use of a master key, until `enable`.

    NAME is a master key, e.g. protected/direct. It holds for everyone, the platform included.
    """
    _switch(name, dry_run, output, "disable", "disabled")


@keys.command()
@click.argument("name")
@dry_run_option
@output_option
def enable(name: str, dry_run: bool, output: str) -> None:
    """Allow the use of a disabled master key again.

    NAME is a master key, e.g. protected/direct.
    """
    _switch(name, dry_run, output, "enable", "enabled")


@keys.command()
@click.option("--key", "name", help="A master key: all data of its zone and class.")
@click.option("--dataset", help="A dataset: its data in every zone.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@dry_run_option
@output_option
def shred(name: str | None, dataset: str | None, yes: bool, dry_run: bool, output: str) -> None:
    """Make data unreadable for good by destroying its keys.

    It holds wherever its files are, copies and backups included, as long as no copy of the keys is kept. There is no
    way back.
    """
    from cloakhouse.keys.service import open_ring
    from cloakhouse.stages import access, rotation

    if (name is None) == (dataset is None):
        raise click.UsageError("give --key or --dataset, one of them")
    settings = _installation()
    doomed = _doomed(open_ring(settings), name, dataset)
    what = f"all data under {name}" if name else f"dataset {dataset} in every zone"
    if dry_run:
        _told(output, {"would_shred": doomed, "dry_run": True}, f"would shred {what}, with keys {', '.join(doomed)}")
        return
    if not yes:
        _confirm(f"{what} becomes unreadable for good, with keys {', '.join(doomed)}.")
    destroyed = rotation.shred(settings, dataset) if dataset else access.shred_class(settings, str(name))
    _told(
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
    _say(warning)
    try:
        agreed = click.confirm("Go on?", err=True)
    except click.Abort:
        raise KeyboardInterrupt from None
    if not agreed:
        show.note("nothing was destroyed")
        raise click.exceptions.Exit(1)


@keys.command()
@click.option("--deep", is_flag=True, help="Read every file to its end and check all authentication tags.")
@output_option
@click.pass_context
def coverage(ctx: click.Context, deep: bool, output: str) -> None:
    """Measure from the bytes how much is really encrypted.

    Every file of the lake is opened. Those that are not encrypted as agreed are listed, and the exit code is 4.
    """
    from cloakhouse.keys.service import open_ring
    from cloakhouse.lake.coverage import coverage as measure

    settings = _installation()
    found = measure(settings.lake, open_ring(settings), deep=deep)
    if output == "json":
        show.write_json(_coverage_out(found))
    else:
        _show_coverage(found, deep)
    if not found.complete:
        ctx.exit(IntegrityError.exit_code)


def _show_coverage(found: Coverage, deep: bool) -> None:
    if not found.parts:
        show.note("the lake is empty")
        return
    show.write_table(PARTS, [_part_out(part) for part in found.parts])
    if found.findings:
        show.write_table(FINDINGS, [asdict(finding) for finding in found.findings], title="Not as agreed")
    columns = "unknown" if found.column_share is None else _percent(found.column_share)
    checked = "; every tag was checked" if deep and found.complete else ""
    _say(f"encrypted: {_percent(found.byte_share)} of the bytes, {columns} of the columns by their own key{checked}")
    if not found.complete:
        _say(f"{len(found.findings)} not as agreed; {found.plaintext_bytes:,} bytes are not encrypted")


def _percent(share: float) -> str:
    """Return a share of 0 to 1 for people, rounded down: 100 % is all of it."""
    return f"{math.floor(share * 10_000) / 100:.2f}%"


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
