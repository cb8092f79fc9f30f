"""`cloakhouse consent feed | record | import | snapshot | show | due`: what persons allow, and what follows from it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.cells import utc_text
from cloakhouse.client.disclosure import reason_option
from cloakhouse.client.key_common import say, told, why_option
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.contracts.subject import PURPOSES

if TYPE_CHECKING:
    from cloakhouse.settings import Settings
    from cloakhouse.stages.consent_due import Due

COUNTS = (
    Heading("purpose", whole=True),
    Heading("jurisdiction", "law", whole=True),
    *(Heading(name, right=True) for name in ("persons", "granted", "refused", "told", "allowed")),
)
DUE = (
    Heading("part", "partition or version", whole=True),
    Heading("purpose", whole=True),
    Heading("persons", right=True),
    Heading("held", right=True),
    Heading("deadline", whole=True),
    Heading("overdue"),
)


@click.group()
def consent() -> None:
    """The register of what persons allow.

    Purposes are analytics, personalisation, synthetic data and sharing. Persons are kept by token alone. Runs that ask
    for a consent are pinned to a snapshot of the register.
    """


@consent.command()
@output_option
def feed(output: str) -> None:
    """Bring the register up to the newest landed delivery of the customer master."""
    from cloakhouse.stages.consent_feed import feed_register

    fed = feed_register(_installed())
    if fed is None:
        told(output, {"dataset": None}, "no contract has a register of consents")
        return
    facts = {**vars(fed), "choices": fed.choices}
    left = f"; {fed.unreadable:,} rows couldn't be read" if fed.unreadable else ""
    told(output, facts, f"{fed.choices:,} choices are new, of {fed.persons:,} persons in {fed.dataset}{left}")


def _moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> dt.datetime | None:
    from cloakhouse.stages.consent_lines import time_of

    at = time_of(text) if text else None
    if text and at is None:
        raise click.BadParameter("a time with its zone, e.g. 2026-01-31T09:30:00Z")
    return at


@consent.command("record")
@click.option("--purpose", type=click.Choice(PURPOSES), required=True, help="What the choice is about.")
@click.option("--choice", type=click.Choice(["granted", "refused", "told"]), required=True, help="What was chosen.")
@click.option("--policy", required=True, help="Version of the notice under which it was chosen.")
@click.option("--country", default="", help="Where the person lives, e.g. DE; if not given, the strictest law counts.")
@click.option("--source", type=click.Choice(["api", "gpc"]), default="api", help="gpc: Global Privacy Control.")
@click.option("--chosen-at", callback=_moment, help="When, ISO 8601 with a zone; now if not given.")
@reason_option
@output_option
def record_one(output: str, reason: str, **choice: Any) -> None:
    """Register what one person chose.

    The person's identifier, as the customer master has it, is read from standard input, so that it is in no list of
    processes and in no history of a shell.
    """
    from cloakhouse.stages.consent_import import record_choice

    with click.open_file("-") as stream:
        identifier = stream.readline(4096).strip()
    found = record_choice(_installed(), identifier, choice.pop("purpose"), choice.pop("choice"), reason, **choice)
    told(output, vars(found), "registered" if found.added else "nothing new: the register has this choice")


@consent.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@reason_option
@output_option
def import_file(file: Path, reason: str, output: str) -> None:
    """Register the choices of a FILE, all of them or none.

    CSV with a header, or JSONL: the person (as the customer master names it, e.g. household_id), purpose, choice,
    chosen_at and policy; perhaps country and source (file or gpc).
    """
    from cloakhouse.stages.consent_import import import_choices

    found = import_choices(_installed(), file, reason)
    told(output, vars(found), f"{found.added:,} of {found.choices:,} choices are new")


@consent.command()
@click.option("--purpose", type=click.Choice(PURPOSES), required=True, help="What persons must allow.")
@output_option
def snapshot(purpose: str, output: str) -> None:
    """Pin who allows a purpose now."""
    from cloakhouse.stages.consent import pin

    found = pin(_installed(), purpose)
    sentence = f"{found.allowed:,} of {found.subjects:,} persons allow {purpose}: {found.sha256}"
    told(output, found.as_dict(), sentence)


@consent.command("show")
@output_option
def show_counts(output: str) -> None:
    """Show how many persons stand where, by purpose and law."""
    from cloakhouse.stages.consent_counts import counts

    found = [vars(count) for count in counts(_installed())]
    if output == "json":
        show.write_json(found)
    elif found:
        show.write_table(COUNTS, found)
    else:
        say("the register is empty: `cloakhouse consent feed` reads the customer master")


@consent.command()
@click.option("--take-out", is_flag=True, help="Cut who withdrew out of protected partitions, but those under a hold.")
@why_option
@output_option
def due(take_out: bool, reason: str, output: str) -> None:
    """Show what holds persons who don't allow its purpose any more, and until when it may.

    Of a version the count is the most it can be. No version is changed: run its DAG again, then withdraw the old one.
    """
    from cloakhouse.stages import consent_due

    settings = _installed()
    cut = consent_due.take_out(settings, reason) if take_out else []
    found = consent_due.consents_due(settings)
    if output == "json":
        show.write_json({"due": [_row(one) for one in found], "taken_out": [vars(one) for one in cut]})
        return
    if take_out:
        say(f"{sum(one.rows for one in cut):,} rows were cut out of {len(cut)} partitions")
    if found:
        show.write_table(DUE, [_row(one) for one in found])
    else:
        say("nothing is due: whoever is in protected data or in a version allows its purpose")


def _row(one: Due) -> dict[str, Any]:
    part = one.part if "@" in one.part else f"{one.dataset} {one.part}"
    return {**vars(one), "part": part, "deadline": utc_text(one.deadline)}


def _installed() -> Settings:
    from cloakhouse.client.disclosing import installed

    return installed()
