"""`cloakhouse detokenize | link`: behind pseudonyms, by those who may; `cloakhouse audit` shows what they did."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import click

from cloakhouse.client import show
from cloakhouse.client.cells import json_value
from cloakhouse.client.key_common import told
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

reason_option = click.option("--reason", required=True, help="Why, for the record: 10 to 500 characters.")


class Day(click.ParamType[dt.date]):
    """A date as YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.date:
        """Return the date in `value`."""
        try:
            return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)
        except ValueError:
            self.fail("a date as YYYY-MM-DD", param, ctx)


@click.command()
@click.argument("dataset")
@click.argument("column")
@click.argument("tokens", nargs=-1)
@click.option(
    "--tokens-file",
    type=click.File(encoding="utf-8-sig", errors="replace"),
    help="File with a token a line; - for standard input.",
)
@reason_option
@click.option("--day", type=Day(), help="A day of the period of the tokens, for columns bound to one.")
@output_option
def detokenize(
    dataset: str,
    column: str,
    tokens: tuple[str, ...],
    tokens_file: Any,
    reason: str,
    day: dt.date | None,
    output: str,
) -> None:
    """Show the values behind reversible tokens.

    TOKENS of DATASET's COLUMN: binary ones in hexadecimal, others as they are written. For a principal that holds the
    grant on the column's purpose (CLOAKHOUSE_IDENTITY, CLOAKHOUSE_PURPOSE); each call leaves one record, and the
    number of values an hour is limited.
    """
    from cloakhouse.client import disclosing

    if bool(tokens) == (tokens_file is not None):
        raise click.UsageError("give tokens, or --tokens-file")
    given = list(tokens) if tokens_file is None else [line.strip() for line in tokens_file if line.strip()]
    values = disclosing.detokenize(dataset, column, given, reason, day=day).to_pylist()
    pairs = [{"token": token, "value": json_value(value)} for token, value in zip(given, values, strict=True)]
    if output == "json":
        show.write_json(pairs)
    else:
        show.write_table((Heading("token"), Heading("value", column)), pairs)


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--column", required=True, help="Column of tokens in SOURCE.")
@click.option("--domain", required=True, help="What the tokens are of, e.g. customer.")
@click.option("--from", "origin", required=True, metavar="PURPOSE[:PERIOD]", help="What they are bound to.")
@click.option("--to", "goal", required=True, metavar="PURPOSE[:PERIOD]", help="What they shall be bound to.")
@click.option("--form", type=click.Choice(["hex", "base32"]), default="hex", show_default=True, help="Of the tokens.")
@reason_option
@output_option
def link(
    source: Path, target: Path, column: str, domain: str, origin: str, goal: str, form: str, reason: str, output: str
) -> None:
    """Translate tokens of one purpose or period into another's.

    SOURCE and TARGET are CSV files; TARGET has the same rows with other tokens in the column. For a principal that
    holds the grants on both purposes (CLOAKHOUSE_IDENTITY, CLOAKHOUSE_PURPOSE); it leaves one record.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages.link_file import link_file
    from cloakhouse.stages.linkage import Linkage, Scope

    if source.resolve() == target.resolve():
        raise click.UsageError("SOURCE and TARGET are two files")
    linkage = Linkage(domain, Scope.parse(origin), Scope.parse(goal))
    count = link_file(installed(), linkage, reason, source, target, column, form)
    facts = {"tokens": count, "domain": domain, "from": origin, "to": goal, "target": str(target)}
    told(output, facts, f"{count:,} tokens of {domain} linked from {origin} to {goal}: {target}")
