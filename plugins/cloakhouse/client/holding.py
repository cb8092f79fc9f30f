"""`cloakhouse legal-hold place | lift | list`: holds on persons, which go before every erasure that is not done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cloakhouse.client import show
from cloakhouse.client.cells import utc_text
from cloakhouse.client.key_common import told
from cloakhouse.client.options import output_option, subject_file_options
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    from cloakhouse.stages.subject_holding import Held

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(dir_okay=False, path_type=Path)
HOLDS = (
    Heading("placed", "placed (UTC)"),
    Heading("persons", right=True),
    Heading("standing", right=True),
    Heading("actor"),
    Heading("reason"),
)


def _change_options(command: Command) -> Command:
    file = click.option("--subject-file", "file", type=FILE, required=True, help="As for `cloakhouse erase`.")
    reason = click.option(
        "--reason", required=True, help="The duty to keep the data, or its end: 10 to 500 characters."
    )
    return file(reason(subject_file_options(command)))


@click.group("legal-hold")
def legal_hold() -> None:
    """Hold persons, whose data must be kept.

    A hold goes before every erasure that is not done: whatever of the person is not cut yet stays. (Versions of
    datasets are held with `cloakhouse hold`.)
    """


@legal_hold.command()
@_change_options
@output_option
def place(file: Path, reason: str, output: str, **tolerance: Any) -> None:
    """Hold the persons whom a file names.

    Persons whom the lake doesn't know yet can be held as well, by the subject's own column.
    """
    from cloakhouse.stages.subject_holding import place as placed

    _tell(_do(placed, file, reason, tolerance), output, "under a hold, {} of them newly")


@legal_hold.command()
@_change_options
@output_option
def lift(file: Path, reason: str, output: str, **tolerance: Any) -> None:
    """Lift every hold on the persons whom a file names.

    An erasure that passed them by is not taken up again: request it anew.
    """
    from cloakhouse.stages.subject_holding import lift as lifted

    _tell(_do(lifted, file, reason, tolerance), output, "under no hold, {} of them since now")


@legal_hold.command("list")
@output_option
def list_holds(output: str) -> None:
    """List what was placed, the newest first: persons are counted, never named."""
    from cloakhouse.client.disclosing import installed
    from cloakhouse.ledger.subject_holds import SubjectHolds

    holds = [{**vars(one), "placed": utc_text(one.placed_at)} for one in SubjectHolds(installed().database).all()]
    records = [{heading.key: hold[heading.key] for heading in HOLDS} for hold in holds]
    if output == "json":
        show.write_json(records)
    else:
        show.write_table(HOLDS, records)


def _do(change: Callable[..., Held], file: Path, reason: str, tolerance: dict[str, Any]) -> Held:
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages.subject_file import Tolerance

    return change(installed(), file, reason, Tolerance(**tolerance))


def _tell(done: Held, output: str, sentence: str) -> None:
    told(
        output,
        vars(done),
        f"{done.persons:,} {'person' if done.persons == 1 else 'persons'} " + sentence.format(f"{done.changed:,}"),
    )
    if done.missed:
        show.note(
            f"NOT FOUND: {done.missed:,} lines name nobody whom a customer master has; name them by its own column"
        )
