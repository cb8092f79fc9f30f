"""`cloakhouse audit export | forward`: the audit log for other programs, as a file or live to a SIEM."""

from __future__ import annotations

import datetime as dt
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import told
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloakhouse.settings import Settings
    from cloakhouse.stages.forwarding import Forwarded

UNAVAILABLE = 6
STDOUT = "-"
FOLLOW_EVERY_S = 5.0
FORWARDED = (
    Heading("receiver", whole=True),
    Heading("sent", right=True),
    Heading("backlog", right=True),
    Heading("trouble", whole=True),
    Heading("found"),
)


class Moment(click.ParamType[dt.datetime]):
    """A date or a time in ISO 8601; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        """Return the moment in `value`, in UTC."""
        try:
            found = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
            return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)
        except (ValueError, OverflowError):
            self.fail("a date or time such as 2026-11-22 or 2026-11-22T15:00:00Z", param, ctx)


@click.command()
@click.option("--since", type=Moment(), help="From this moment on (ISO 8601; UTC without a zone).")
@click.option("--until", type=Moment(), help="Before this moment.")
@click.option("--action", "actions", multiple=True, help="Of this action only, e.g. detokenize. May be repeated.")
@click.option(
    "--format", "form", type=click.Choice(["ocsf", "jsonl"]), default="ocsf", show_default=True, help="Of each line."
)
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The file; - for standard output.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@output_option
def export(
    since: dt.datetime | None,
    until: dt.datetime | None,
    actions: tuple[str, ...],
    form: str,
    out: str,
    force: bool,
    output: str,
) -> None:
    """Write entries of the audit log as JSON lines: OCSF 1.6.0 (ocsf), or the log's own words (jsonl).

    The file appears whole or not at all. The export is itself an entry of the log, recorded before anything is read.
    """
    from cloakhouse.client.control import explained
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages.log_export import Choice

    choice = Choice(since, until, actions, form)
    settings = installed()
    with explained(settings):
        count = _written(settings, choice, out, force)
    if out != STDOUT:
        told(output, {"file": out, "entries": count, "format": form}, f"{out}: {count:,} entries ({form})")


@click.command()
@click.option("--follow", is_flag=True, help="Go on until interrupted.")
@click.option("--once", is_flag=True, help="One batch to each receiver at most.")
@click.option("--status", is_flag=True, help="Show the backlogs and send nothing.")
@output_option
def forward(follow: bool, once: bool, status: bool, output: str) -> None:
    """Send the receivers of the audit log what they lack: files, syslog over TLS, HTTP (CLOAKHOUSE_RECEIVERS).

    At least once, in order, and never past an entry that wasn't acknowledged. Ends with code 6 when a receiver is in
    trouble.
    """
    from cloakhouse.client.control import explained
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages import forwarding

    if follow + once + status > 1:
        raise click.UsageError("--follow, --once and --status exclude one another")
    settings = installed()
    while True:
        with explained(settings):
            if status:
                done = forwarding.waiting(settings)
            else:
                done = forwarding.forward(settings, seconds=0.001 if once else 50.0)
        if not follow or any(one.sent or one.trouble for one in done):
            _tell(done, output)
        if not follow:
            break
        time.sleep(FOLLOW_EVERY_S)
    if any(one.trouble for one in done):
        raise click.exceptions.Exit(UNAVAILABLE)


def _written(settings: Settings, choice: Any, out: str, force: bool) -> int:
    from cloakhouse.keys.files import replacing
    from cloakhouse.stages.log_export import export_log

    if out == STDOUT:
        count = export_log(settings, choice, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return count
    path = Path(out)
    if path.exists() and not force:
        raise ConfigurationError(
            where=path.name,
            expected="the name of a new file",
            found="a file that is there already",
            not_done="nothing was exported",
            remedy="choose another name, or give --force",
            code="file",
        )
    with replacing(path) as stream:
        return export_log(settings, choice, stream)


def _tell(done: Sequence[Forwarded], output: str) -> None:
    if output == "json":
        show.write_json([one.as_dict() for one in done])
    elif done:
        show.write_table(FORWARDED, [one.as_dict() for one in done])
    else:
        show.note("no receiver is configured (CLOAKHOUSE_RECEIVERS, or dags/receivers.yaml)")
