"""`cloakhouse diff A B`: what changed between two versions, in columns and in distributions."""

from __future__ import annotations

import click

from cloakhouse.client import show
from cloakhouse.client.completion import dataset_argument
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

HEADINGS = (
    Heading("column", whole=True),
    Heading("change"),
    Heading("drift"),
    Heading("psi", "PSI", right=True),
    Heading("jensen_shannon", "JS distance", right=True),
    Heading("total_variation", "TVD", right=True),
    Heading("missing", "missing A, B", right=True),
)
BINNING = (
    "numbers and times: between the deciles of a sample of A; others: its 50 most frequent values, and the rest; "
    "missing values and NaN apart. PSI below 0.1 is called stable, above 0.25 shifted."
)


@click.command()
@dataset_argument("a")
@dataset_argument("b")
@output_option
def diff(a: str, b: str, output: str) -> None:
    """Compare two versions: columns, and drift of each.

    A and B are datasets as everywhere: NAME, NAME@3, NAME@2026-11-01, NAME@certified. Shown per column: the population
    stability index, the Jensen-Shannon distance and the total variation distance, with shares of missing values.
    """
    from cloakhouse.client.api import connect
    from cloakhouse.client.comparison import compare

    lake = connect()
    first, second = lake.dataset(a), lake.dataset(b)
    columns = [difference.as_dict() for difference in compare(first, second)]
    about = {
        "a": f"{first.name}@{first.version}",
        "b": f"{second.name}@{second.version}",
        "rows_a": first.rows,
        "rows_b": second.rows,
    }
    if output == "json":
        show.write_json({**about, "binning": BINNING, "columns": columns})
        return
    show.write_pairs({"A": f"{about['a']}, {first.rows:,} rows", "B": f"{about['b']}, {second.rows:,} rows"})
    show.write_table(HEADINGS, [_row(column) for column in columns], title="Columns")
    show.note(f"bins: {BINNING}")


def _row(column: dict[str, str | float | None]) -> show.Record:
    change = column["change"]
    if change == "type changed":
        change = f"{column['type_a']} -> {column['type_b']}"
    missing = "" if column["drift"] is None else f"{column['missing_a']:.1%}, {column['missing_b']:.1%}"
    figures = {key: _figure(column[key]) for key in ("psi", "jensen_shannon", "total_variation")}
    return {"column": column["column"], "change": change, "drift": column["drift"] or "", "missing": missing, **figures}


def _figure(value: str | float | None) -> str:
    return "" if value is None else f"{value:.4f}"
