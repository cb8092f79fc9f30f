"""`cloakhouse erase`: erasure of the persons whom a file names, and what became of earlier requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloakhouse.client import show
from cloakhouse.client.erasures import certificate, goes_on, list_erasures, resume, show_erasure, verify
from cloakhouse.client.options import output_option, subject_file_options
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    from cloakhouse.settings import Settings
    from cloakhouse.stages.erasure_request import Chosen
    from cloakhouse.stages.subject_file import Tolerance

FILE = click.Path(dir_okay=False, path_type=Path)
AFFECTED = (
    Heading("dataset", whole=True),
    Heading("zone"),
    Heading("name", whole=True),
    Heading("rows", right=True),
    Heading("kept", right=True),
    Heading("engine"),
    Heading("refit"),
)


@click.group(invoke_without_command=True)
@click.option("--subject-file", "file", type=FILE, help="CSV or JSONL, a person a line, by any column that names one.")
@click.option("--reason", help="Why, for the audit log and the certificate: 10 to 500 characters.")
@subject_file_options
@click.option("--also-unknown", is_flag=True, help="Give persons whom the lake doesn't know a tombstone, too.")
@click.option("--dry-run", is_flag=True, help="Count what would go, place by place, and change nothing.")
@click.option("--request-only", is_flag=True, help="Leave the work to the DAG erase_subjects.")
@output_option
@click.pass_context
def erase(
    ctx: click.Context,
    file: Path | None,
    reason: str | None,
    skip_unreadable: bool,
    all_matches: bool,
    column: str | None,
    also_unknown: bool,
    dry_run: bool,
    request_only: bool,
    output: str,
) -> None:
    """Erase persons: everywhere, in all versions, with a certificate.

    The file names them by a column of the customer master, or by a token of the lake (columns `token` and `purpose`).
    Runs use these persons no longer from the moment of the request on. Killed, the work goes on with `erase resume`.
    """
    if ctx.invoked_subcommand is not None:
        return
    if file is None or (reason is None and not dry_run):
        raise click.UsageError(
            "give --subject-file and --reason, or a command: resume, list, show, certificate, verify"
        )
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages.erasure_request import nobody, request
    from cloakhouse.stages.subject_file import Tolerance

    settings, tolerance = installed(), Tolerance(skip_unreadable, all_matches, also_unknown, column)
    if dry_run:
        _preview(settings, file, tolerance, output)
        return
    erasure, chosen = request(settings, file, reason or "", tolerance)
    _tell(chosen)
    if erasure is None:
        raise nobody(file, chosen)
    show.note(f"requested: {erasure.batch}, {erasure.subjects:,} persons")
    if request_only:
        facts = {"batch": erasure.batch, "state": erasure.state.value, **chosen.as_dict()}
        show.write_json(facts) if output == "json" else show.write_pairs({"batch": erasure.batch, **chosen.counts})
        return
    goes_on(settings, [erasure.batch], output, chosen.as_dict())


for _command in (resume, list_erasures, show_erasure, certificate, verify):
    erase.add_command(_command)


def _preview(settings: Settings, file: Path, tolerance: Tolerance, output: str) -> None:
    from cloakhouse.stages.erasure_preview import preview
    from cloakhouse.stages.erasure_request import choose

    chosen = choose(settings, file, tolerance)
    places = [vars(one) for one in preview(settings, chosen.batch())] if len(chosen.persons) else []
    if output == "json":
        show.write_json({**chosen.as_dict(), "affected": places})
        return
    _tell(chosen)
    show.write_table(AFFECTED, places)
    show.note("nothing was changed")


def _tell(chosen: Chosen) -> None:
    """Say on standard error what the file holds, and which of its lines were left out."""
    show.note(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in chosen.counts.items()))
    for name, lines in chosen.lines.items():
        numbers = ", ".join(map(str, lines.first))
        show.note(f"{name.replace('_', ' ')}: {lines.count:,}, line {numbers}" + (", ..." if lines.count > 5 else ""))
