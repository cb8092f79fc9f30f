"""Tokens made at a till or gateway: `cloakhouse keys edge-key`, and there `cloakhouse tokenize`."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import click

from cloakhouse.client import show
from cloakhouse.client.disclosure import Day, reason_option
from cloakhouse.client.ending import Ending
from cloakhouse.client.key_common import installation, say, told
from cloakhouse.client.options import output_option
from cloakhouse.errors import NotFound

if TYPE_CHECKING:
    from cloakhouse.stages.edge_feed import Summary

LEFT_OUT = 4  # exit code where rows were left out
MOST_DAYS = 3_700
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--key", "key_file", required=True, type=FILE, help="The tokenization key file.")
@click.option("--identity", required=True, type=FILE, help="The age identity that opens it, mode 0600.")
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True, help="Form of the feed."
)
@click.option("--delimiter", default=",", show_default=True, help="Between fields (csv).")
@click.option("--keep", metavar="A,B", default="", help="Columns that stay as they are, in clear.")
@click.option("--day", type=Day(), help="Date of the partition the rows will be in. Today (UTC) if not given.")
@click.option("--input", "source", type=FILE, help="Read this file. Standard input if not given.")
@click.option("--out", type=FILE, help="Write this file, at once when all is done. Standard output if not given.")
@output_option
@click.pass_context
def tokenize(
    ctx: click.Context,
    key_file: Path,
    identity: Path,
    form: Literal["csv", "jsonl"],
    delimiter: str,
    keep: str,
    day: dt.date | None,
    source: Path | None,
    out: Path | None,
    output: str,
) -> None:
    """Tokenize a feed here, with a key file.

    The tokens are those that the lake would make. Rows leave as soon as they arrive, in their order. Every column must
    be in the key file or named with --keep. Rows that fail the contract's checks are left out and counted; the exit
    code is then 4. Binary tokens are written as hexadecimal digits. The summary goes to standard error. Whatever
    cuts it short, with --out no file is written.
    """
    from cloakhouse.stages.edge_feed import tokenize_feed
    from cloakhouse.tokens.edge_keys import open_edge_keys

    file = open_edge_keys(key_file, identity)
    kept = [name.strip() for name in keep.split(",") if name.strip()]
    date = day or dt.datetime.now(dt.UTC).date()
    with _input(source) as stream, Ending() as ending, _output(out) as sink:
        waited = cast(BinaryIO, ending.watched(stream))
        summary = tokenize_feed(waited, sink, file, form=form, delimiter=delimiter, keep=kept, day=date)
    _tell(summary, output)
    ctx.exit(LEFT_OUT if summary.left_out else 0)


@click.command("edge-key")
@click.argument("dataset")
@click.option("--columns", required=True, metavar="A,B", help="Columns that the edge tokenizes.")
@click.option("--recipient", required=True, metavar="AGE1...", help="Whose age identity opens the file.")
@reason_option
@click.option("--out", required=True, type=FILE, help="File to write, mode 0600.")
@click.option("--day", "days", type=Day(), multiple=True, help="Day that the edge tokenizes for; repeatable.")
@click.option("--from-day", type=Day(), help="First of several days; with --to-day.")
@click.option("--to-day", type=Day(), help="Last of them.")
@click.option("--allow-reversible", is_flag=True, help="Let the file hold keys that can detokenize.")
@output_option
def edge_key(
    dataset: str,
    columns: str,
    recipient: str,
    reason: str,
    out: Path,
    days: tuple[dt.date, ...],
    from_day: dt.date | None,
    to_day: dt.date | None,
    allow_reversible: bool,
    output: str,
) -> None:
    """Let a till or gateway tokenize by itself.

    The file is sealed to one recipient, and the export is recorded. Whoever opens it can make tokens, and try values
    against them. Days matter for columns whose tokens are bound to a month, quarter or year.
    """
    from cloakhouse.contracts.parser import load_contracts
    from cloakhouse.keys.files import replacing
    from cloakhouse.stages.edge import chosen_columns, export_keys, needed

    settings = installation()
    contract = load_contracts(settings.contracts).get(dataset)
    if contract is None:
        raise _no_contract()
    wanted = [*days, *_span(from_day, to_day)]
    names = [name.strip() for name in columns.split(",") if name.strip()]
    sealed = export_keys(settings, contract, names, recipient, reason, days=wanted, allow_reversible=allow_reversible)
    with replacing(out) as stream:
        stream.write(sealed)
    keys = needed(chosen_columns(contract, names), wanted)
    periods = sorted({use.period for use in keys if use.period})
    facts = {"file": str(out), "dataset": dataset, "columns": names, "periods": periods, "keys": len(keys)}
    bound = f" for {', '.join(periods)}" if periods else ""
    told(output, facts, f"{len(keys)} keys of {dataset} ({', '.join(names)}){bound} sealed for the recipient in {out}")


@contextlib.contextmanager
def _input(path: Path | None) -> Iterator[BinaryIO]:
    from cloakhouse.keys.files import storage_error

    if path is None:
        yield sys.stdin.buffer
        return
    try:
        stream = path.open("rb")
    except OSError as fault:
        raise storage_error(fault, path, "nothing was tokenized") from None
    with stream:
        yield stream


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO]:
    from cloakhouse.keys.files import replacing

    if path is None:
        yield sys.stdout.buffer
        return
    with replacing(path) as stream:
        yield stream


def _tell(summary: Summary, output: str) -> None:
    if output == "json":
        show.note(json.dumps(summary.as_dict(), indent=2))
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in summary.bad.items())
    say(
        f"{summary.rows} {'row' if summary.rows == 1 else 'rows'} tokenized"
        + (f"; {summary.left_out} left out: {reasons}" if reasons else "")
    )


def _span(first: dt.date | None, last: dt.date | None) -> list[dt.date]:
    """Return the days from `first` to `last`. Raises click's UsageError for one alone, or too many."""
    if first is None and last is None:
        return []
    if first is None or last is None or not 0 <= (last - first).days < MOST_DAYS:
        raise click.UsageError(f"--from-day and --to-day go together, in order, at most {MOST_DAYS} days apart")
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]


def _no_contract() -> NotFound:
    return NotFound(
        where="the contracts",
        expected="a contract of that dataset",
        found="none",
        not_done="no key was exported",
        remedy="`cloakhouse contracts` lists the datasets",
        code="dataset",
    )
