"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cloakhouse.client.failures import OUTPUT

Command = TypeVar("Command", bound=Callable[..., Any])
FIRST_SEED = 2017
WEEKS_HELP = "Weeks of 2017 to take: 7, or 1-4. All 53 if not given."


def output_option(command: Command) -> Command:
    """Add `--output table|json`; errors are told in the same form."""

    def remember(ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
        ctx.meta[OUTPUT] = value
        return value

    return click.option(
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        is_eager=True,
        callback=remember,
        help="Form of the answer.",
    )(command)


def selection_options(command: Command) -> Command:
    """Add `--columns` and `--where`, which choose columns and rows of a dataset."""
    where = click.option(
        "--where",
        multiple=True,
        metavar="CONDITION",
        help="Rows to take, e.g. \"value > 20 and age in ('35-54', '55+')\". May be repeated: all must hold.",
    )
    columns = click.option("--columns", metavar="A,B", help="Columns to take, in this order. All if not given.")
    return columns(where(command))


def subject_file_options(command: Command) -> Command:
    """Add what commands take that read a file of persons."""
    skip = click.option("--skip-unreadable", is_flag=True, help="Pass over lines that name nobody; they are counted.")
    matches = click.option("--all-matches", is_flag=True, help="Take all persons who have had an identifier.")
    column = click.option("--column", metavar="NAME", help="What the lines are, where the file's first doesn't say it.")
    return skip(matches(column(command)))


def feed_options(command: Command) -> Command:
    """Add `--weeks` and `--seed`, which say what sample feed to make."""
    seed = click.option("--seed", type=click.IntRange(min=0), default=FIRST_SEED, show_default=True, help="Seed.")
    return click.option("--weeks", metavar="A-B", help=WEEKS_HELP)(seed(command))


def chosen_weeks(text: str | None) -> range:
    """Return the weeks that `text` names, all for None. Raises ConfigurationError for another form."""
    from cloakhouse.sample import ALL_WEEKS, parse_weeks

    return ALL_WEEKS if text is None else parse_weeks(text)
