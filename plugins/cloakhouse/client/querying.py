"""`cloakhouse query`: sums and counts of protected data, with noise that protects each unit of privacy.

    cloakhouse query --epsilon 1 --from transactions --sum sales_value --by week --by department --clip 1000

The answer is published as a version of `queries`; the same query on the same inputs finds it again and spends nothing.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.disclosure import Day
from cloakhouse.client.failures import OUTPUT
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    from cloakhouse.contracts.model import Query

ESTIMATE = (Heading("name", "account", whole=True), Heading("left", right=True), Heading("asked", right=True))


def _remember(ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Tell errors in the form of the answer."""
    ctx.meta[OUTPUT] = "json" if value == "json" else "table"
    return value


@click.command()
@click.option("--from", "source", required=True, metavar="DATASET", help="Protected dataset that is asked.")
@click.option("--sum", "summed", metavar="COLUMN", help="Sum this column.")
@click.option("--count", is_flag=True, help="Count rows.")
@click.option("--count-distinct", "distinct", metavar="COLUMN", help="Count different values, e.g. basket_id.")
@click.option(
    "--by",
    "by",
    multiple=True,
    metavar="COLUMN|KIND[:COLUMN]",
    help="A column with public values; day, week or month (of the delivery, or of a column of dates); "
    "size:GROUP in rows, with --bins; pairs:COLUMN, of values that a group holds both of. May be repeated.",
)
@click.option("--values", multiple=True, metavar="COLUMN=A,B", help="All values of a column, declared as public.")
@click.option("--bins", metavar="1,2,5", help="Where the bins of sizes begin.")
@click.option("--unit", metavar="COLUMN", help="Column of the unit of privacy; its token column if not given.")
@click.option("--since", type=Day(), help="First day. The feed's first partition if not given.")
@click.option("--until", type=Day(), help="Last day. The newest partition if not given.")
@click.option("--epsilon", type=float, required=True, help="What it may cost: noise grows as it shrinks.")
@click.option("--delta", type=float, default=1e-6, show_default=True, help="Of approximate differential privacy.")
@click.option("--consumer", default="default", show_default=True, help="Whose privacy budget is charged.")
@click.option("--clip", type=float, help="What one unit counts at most over all cells. Bought with 10 % if not given.")
@click.option("--expected", type=float, help="Public guess of the total. Bought with 5 % if none is known.")
@click.option("--max-relative-error", type=float, default=0.5, show_default=True, help="Noise over the mean cell.")
@click.option("--reason", default="", help="Why, for the record: 10 to 500 characters.")
@click.option("--dry-run", is_flag=True, help="Tell the expected error, the cost and what is left; answer nothing.")
@click.option(
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    is_eager=True,
    callback=_remember,
    help="Form of the answer.",
)
def query(output: str, dry_run: bool, reason: str, **asked: Any) -> None:
    """Ask for sums or counts of protected data, with noise.

    Every household (unit of privacy) is protected by epsilon and delta, which are taken from the privacy budget of
    the datasets that are asked. A breakdown too fine to mean anything at that epsilon is refused. For those who may
    read the protected data; each answer leaves an audit event and is published in the zone `aggregates`.
    """
    from cloakhouse.client import asking

    if dry_run:
        _write_estimate(asking.estimate(_query(**asked)), output)
        return
    dataset, again = asking.ask(_query(**asked), reason)
    facts = asking.facts(dataset, again=again)
    table = dataset.to_arrow()
    if output == "json":
        from cloakhouse.client.reading import _json_rows

        show.write_json({**facts, "rows": _json_rows(table)})
    elif output == "csv":
        _write_csv(table)
    else:
        from cloakhouse.client.reading import _is_number, _json_rows

        show.write_table([Heading(f.name, right=_is_number(f.type)) for f in table.schema], _json_rows(table))
        show.write_pairs(facts)


def _query(
    source: str,
    summed: str | None,
    count: bool,
    distinct: str | None,
    by: tuple[str, ...],
    values: tuple[str, ...],
    bins: str | None,
    **rest: Any,
) -> Query:
    """Return the query that the options ask for. Raises UsageError, and as `asking.query_of`."""
    from cloakhouse.client.asking import query_of

    chosen = [kind for kind, given in (("sum", summed), ("count", count), ("count distinct", distinct)) if given]
    if len(chosen) != 1:
        raise click.UsageError("give one of --sum, --count and --count-distinct")
    declared: dict[str, list[str]] = {}
    for text in values:
        column, sign, listed = text.partition("=")
        if not sign or not column or column in declared:
            raise click.UsageError("--values is COLUMN=A,B, once for a column")
        [declared[column]] = csv.reader(io.StringIO(listed)) if listed else [[]]
    edges = None if bins is None else _edges(bins)
    return query_of(source, chosen[0], summed or distinct, by, declared, edges, **rest)


def _edges(bins: str) -> tuple[int, ...]:
    parts = [part.strip() for part in bins.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise click.UsageError("--bins is a list of whole numbers, e.g. 1,2,5,10")
    return tuple(map(int, parts))


def _write_estimate(facts: dict[str, Any], output: str) -> None:
    if output == "json":
        show.write_json(facts)
    elif output == "csv":
        raise click.UsageError("--dry-run answers as a table or as json")
    else:
        accounts = facts.pop("accounts")
        refused = facts.pop("refused")
        show.write_pairs({name: "not known without data" if v is None else v for name, v in facts.items()})
        show.note(refused or "nothing that is known without data speaks against it")
        show.write_table(ESTIMATE, accounts, title="Privacy budget (rho of zCDP)")


def _write_csv(table: Any) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.column_names)
    columns = [column.to_pylist() for column in table.columns]
    writer.writerows(
        [v.isoformat() if isinstance(v, dt.date) else v for v in row] for row in zip(*columns, strict=True)
    )
    click.echo(buffer.getvalue(), nl=False)
