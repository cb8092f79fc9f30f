"""Commands that do work: `sample`, `run`, `console`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.options import chosen_weeks, feed_options, output_option
from cloakhouse.client.show import Heading
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from cloakhouse.sample import FeedSummary

FEED = (
    Heading("dataset"),
    Heading("files", right=True),
    Heading("rows", right=True),
    Heading("bytes", right=True),
    Heading("bad_rows", "bad rows", right=True),
    Heading("real_columns", "real columns", right=True),
    Heading("generated_columns", "generated columns", right=True),
)


@click.command()
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write into.")
@feed_options
@click.option("--times", type=int, default=1, show_default=True, help="So many times as many people, for load tests.")
@click.option("--one-store", type=float, default=0.0, help="Share of all lines that one store has (0.5 is half).")
@output_option
def sample(out: Path, weeks: str | None, seed: int, times: int, one_store: float, output: str) -> None:
    """Write a till feed to try the platform on.

    Its receipts are real, its people are generated.
    """
    from cloakhouse.sample import ABOUT_NAME, Growth, write_feed, write_scaled_feed

    chosen, grown = chosen_weeks(weeks), times != 1 or one_store
    if not grown:
        summary = write_feed(out, weeks=chosen, seed=seed, progress=_progress)
    else:
        summary = write_scaled_feed(out, Growth(times, one_store), weeks=chosen, seed=seed, progress=_progress)
    found = _by_dataset(summary)
    if output == "json":
        show.write_json(found)
    else:
        show.write_table(FEED, found)
    if not grown:
        show.note(f"which columns are real and which generated: {out / ABOUT_NAME}")


@click.command()
@feed_options
@click.option("--no-sample", is_flag=True, help="Make no sample feed: take what is in the inbox.")
@click.option("--supersede", is_flag=True, help="Take other content of a landed partition as a correction.")
def run(weeks: str | None, seed: int, no_sample: bool, supersede: bool) -> None:
    """Take a feed all the way on this machine.

    Land, pseudonymize, synthesize, validate, publish.
    """
    from cloakhouse.flow.local_run import run as run_here

    chosen_weeks(weeks)
    _finish(run_here(Settings.from_environment(), weeks, seed, sample=not no_sample, supersede=supersede))


@click.command()
@click.option("--port", type=click.IntRange(1, 65_535), default=8080, show_default=True, help="Port to listen on.")
def console(port: int) -> None:
    """Start Airflow with its UI, for this machine only."""
    from cloakhouse.flow.console import serve

    _finish(serve(Settings.from_environment(), port))


def _finish(code: int) -> None:
    click.get_current_context().exit(code)


def _progress(name: str, done: int, total: int) -> None:
    """Tell of one more file: in place on a terminal, else a line each."""
    line = f"{done}/{total} {name}"
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{line}" + ("\n" if done == total else ""), err=True, nl=False)
    else:
        show.note(line)


def _by_dataset(summary: FeedSummary) -> list[dict[str, Any]]:
    """Return per dataset what was written, with how many of its columns are real."""
    from cloakhouse.sample import CUSTOMER_COLUMNS, PRODUCT_COLUMNS, TRANSACTION_COLUMNS
    from cloakhouse.sample.columns import DEMOGRAPHIC_COLUMNS, REAL_TRANSACTION_COLUMNS

    columns = {
        "products": (len(PRODUCT_COLUMNS), len(PRODUCT_COLUMNS)),
        "customers": (1 + len(DEMOGRAPHIC_COLUMNS), len(CUSTOMER_COLUMNS)),
        "transactions": (len(REAL_TRANSACTION_COLUMNS), len(TRANSACTION_COLUMNS)),
    }
    found = []
    for dataset, (real, total) in columns.items():
        files = [file for file in summary.files if file.dataset == dataset]
        found.append(
            {
                "dataset": dataset,
                "files": len(files),
                "rows": sum(file.rows for file in files),
                "bytes": sum(file.bytes for file in files),
                "bad_rows": sum(sum(file.bad_rows.values()) for file in files),
                "real_columns": real,
                "generated_columns": total - real,
            }
        )
    return found
