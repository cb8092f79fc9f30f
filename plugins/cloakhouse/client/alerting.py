"""`cloakhouse alerts`, `alerts ack`, `alerts check`: what is unusual, and that somebody saw it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import told
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloakhouse.ledger.alerts import Raised

ALERTS = (
    Heading("id", right=True),
    Heading("since", "since (UTC)"),
    Heading("severity"),
    Heading("rule", whole=True),
    Heading("why"),
    Heading("normal"),
    Heading("seen", "acknowledged"),
)
REFUSED = 3


@click.group(invoke_without_command=True)
@click.option("--all", "every", is_flag=True, help="Also those that somebody acknowledged.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@output_option
@click.pass_context
def alerts(ctx: click.Context, every: bool, limit: int, output: str) -> None:
    """List the alerts that nobody has acknowledged.

    The newest come first, each with why it was raised and what is normal.
    The DAG `watch_audit` raises them every hour, and `cloakhouse alerts check` does it now.
    """
    if ctx.invoked_subcommand is not None:
        return
    from cloakhouse.client.control import explained
    from cloakhouse.client.disclosing import installed
    from cloakhouse.ledger.alerts import AlertRegister

    settings = installed()
    with explained(settings):
        register = AlertRegister(settings.database)
        found = register.all(limit) if every else register.open()[:limit]
    _tell(found, output, "no alert was raised yet" if every else "no alert is open")


@alerts.command()
@click.argument("number", type=click.IntRange(min=1), metavar="ID")
@click.option("--note", required=True, help="What came of it, for the record: 10 to 500 characters.")
@output_option
def ack(number: int, note: str, output: str) -> None:
    """Acknowledge alert ID, once and for good; it leaves one record (`cloakhouse audit list`)."""
    from cloakhouse.client.control import explained
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages import alerting

    settings = installed()
    with explained(settings):
        seen = alerting.acknowledge(settings, number, note)
    told(output, seen.as_dict(), f"alert {number} ({seen.alert.rule}) is acknowledged")


@alerts.command()
@click.option("--fail", is_flag=True, help="End with code 3 if an alert is open.")
@output_option
def check(fail: bool, output: str) -> None:
    """Look at the log and the installation now, raise what is new, and list it."""
    from cloakhouse.client.control import explained
    from cloakhouse.client.disclosing import installed
    from cloakhouse.ledger.alerts import AlertRegister
    from cloakhouse.stages import alerting

    settings = installed()
    with explained(settings):
        raised = alerting.evaluated(settings, dt.datetime.now(dt.UTC))
        still = AlertRegister(settings.database).open() if fail else []
    _tell(raised, output, "nothing new")
    if still:
        raise click.exceptions.Exit(REFUSED)


def _tell(found: Sequence[Raised], output: str, nothing: str) -> None:
    if output == "json":
        show.write_json([raised.as_dict() for raised in found])
    elif found:
        show.write_table(ALERTS, [_row(raised) for raised in found])
    else:
        show.note(nothing)


def _row(raised: Raised) -> dict[str, Any]:
    seen = raised.acknowledged
    return {
        **raised.as_dict(),
        "since": f"{raised.alert.since:%Y-%m-%d %H:%M}",
        "seen": f"{seen.actor}: {seen.note}" if seen else "no",
    }
