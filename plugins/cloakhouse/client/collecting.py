"""`cloakhouse collect`: files that no version needs are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import dry_run_option, say
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    from cloakhouse.stages.collect import Collected

PILES = (
    Heading("path", "folder or model"),
    Heading("why"),
    Heading("files", right=True),
    Heading("bytes", right=True),
)


@click.command()
@click.argument("datasets", metavar="[NAME]...", nargs=-1)
@click.option(
    "--grace",
    "hours",
    type=click.FloatRange(min=0, max=24 * 365),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="How long readers have who opened a version before it was withdrawn or expired.",
)
@dry_run_option
@output_option
def collect(datasets: tuple[str, ...], hours: float, dry_run: bool, output: str) -> None:
    """Remove files that nothing needs any more.

    Those that no version, tag, hold or unfinished run needs, of the datasets NAME..., or of all. Releases and evidence
    stay. A dataset with a damaged release is left, and the command ends with that refusal's code.
    """
    import datetime as dt

    from cloakhouse.client.disclosing import installed
    from cloakhouse.client.names import parse_name
    from cloakhouse.stages import collect as stage

    names = [str(parse_name(text)) for text in datasets] or None
    done = stage.collect(installed(), dry_run=dry_run, grace=dt.timedelta(hours=hours), datasets=names)
    if output == "json":
        show.write_json({"dry_run": dry_run, **done.as_dict()})
    else:
        _tell(done, dry_run)
    for problem in done.failed.values():
        raise problem


def _tell(done: Collected, dry_run: bool) -> None:
    if done.piles:
        show.write_table(PILES, [vars(pile) for pile in done.piles])
    verb = "would go" if dry_run else "removed"
    say(f"{done.files:,} files {verb}, {done.bytes:,} bytes" if done.files else "nothing to remove")
    if done.versions:
        say(f"collected: {', '.join(done.versions)}")
    for name, why in done.left.items():
        say(f"{name}: files that no release lists were left, because {why}")
