"""Commands for what is published: `datasets`, `describe`, `read`, `evidence`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    import pyarrow as pa

DATASETS = (
    Heading("name", whole=True),
    Heading("version", right=True),
    Heading("zone"),
    Heading("rows", right=True),
    Heading("published"),
)
COLUMNS = (Heading("name", "column", whole=True), Heading("type"), Heading("class"))
GATE = (
    Heading("name", "gate figure"),
    Heading("value", right=True),
    Heading("threshold", right=True),
    Heading("passed"),
)
CHECKS = (
    Heading("type", "check", whole=True),
    Heading("columns"),
    Heading("success", "passed"),
    Heading("observed_value", "observed", right=True),
    Heading("element_count", "rows", right=True),
    Heading("unexpected_count", "failed rows", right=True),
)
JSON_ROWS = 10_000  # rows made into Python objects at a time


@click.command()
@output_option
def datasets(output: str) -> None:
    """List what is published, in its newest versions."""
    from cloakhouse.client.api import connect
    from cloakhouse.client.cells import utc_text

    found: list[show.Record] = [
        {"name": d.name, "version": d.version, "zone": d.zone, "rows": d.rows, "published": utc_text(d.published_at)}
        for d in connect().datasets()
    ]
    if output == "json":
        show.write_json(found)
        return
    show.write_table(DATASETS, found)
    if not found:
        show.note("nothing is published yet; `cloakhouse run` takes a feed all the way")


@click.command()
@click.argument("name")
@output_option
def describe(name: str, output: str) -> None:
    """Tell what is known of a dataset.

    NAME is its name, for the newest version, or NAME@3 for the third.
    """
    from cloakhouse.client.api import connect

    facts = connect().dataset(name).describe()
    if output == "json":
        show.write_json(facts)
        return
    card = facts["card"]
    plain = ("name", "version", "zone", "rows", "published", "engine", "parents", "evidence")
    show.write_pairs(
        {
            **{key: facts[key] for key in plain},
            "contract": facts["contract"]["version"],
            "title": card["title"],
            "owner": card["owner"],
            "purpose": card["purpose"],
            "legal basis": card["legal_basis"],
            "unit of privacy": card["privacy"]["unit_of_privacy"],
            "guarantee": card["privacy"]["guarantee"],
            "limits": card["limits"],
        }
    )
    show.write_table(COLUMNS, facts["columns"], title="Columns")
    show.write_table(GATE, _gate(facts["gate"]), title="Gate")


@click.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Rows to read, from the first")
@click.option("--columns", metavar="A,B", help="Columns to read, in this order. All if not given.")
@output_option
def read(name: str, limit: int, columns: str | None, output: str) -> None:
    """Read rows of a dataset.

    NAME is its name, for the newest version, or NAME@3 for the third.
    """
    from cloakhouse.client.api import connect

    chosen = None if columns is None else [part.strip() for part in columns.split(",")]
    table = connect().dataset(name).to_arrow(chosen, limit)
    if output == "json":
        show.write_json_rows(row for batch in table.to_batches(JSON_ROWS) for row in _json_rows(batch))
        return
    rows = _json_rows(table)
    headings = [Heading(field.name, right=_is_number(field.type)) for field in table.schema]
    fit = show.how_many_fit(headings, rows)
    show.write_table(headings[:fit], rows)
    if fit < len(headings):
        hidden = ", ".join(heading.key for heading in headings[fit:])
        show.note(f"no room for: {hidden} (choose with --columns, or take --output json)")


@click.command()
@click.argument("name")
@output_option
def evidence(name: str, output: str) -> None:
    """Show the checks that a dataset passed.

    Gate figures and suite results, without values. NAME is its name, or NAME@3 for the third version.
    """
    from cloakhouse.client.api import connect

    dataset = connect().dataset(name)
    content = dataset.evidence()
    path = dataset.describe()["evidence"]
    if output == "json":
        about = {"name": dataset.name, "version": dataset.version, "evidence": path}
        show.write_json(about | {k: v for k, v in content.items() if k not in ("format", "kind", "dataset")})
        return
    show.write_pairs(
        {
            "dataset": f"{dataset.name}@{dataset.version}",
            "contract": content["contract"]["version"],
            "suite": content["suite"]["name"],
            "passed": content["passed"],
            "guarantee": content["privacy_guarantee"],
            "evidence": path,
        }
    )
    show.write_table(GATE, _gate(content["gate"]), title="Gate")
    checks = [{**check, "columns": ", ".join(check["columns"])} for check in content["quality"]["expectations"]]
    show.write_table(CHECKS, [{k: "" if v is None else v for k, v in check.items()} for check in checks], "Checks")


def _gate(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures with thresholds as people write them: `<= 0.01`."""
    return [
        {**figure, "threshold": f"{'<=' if figure['at_most'] else '>='} {figure['threshold']:.10g}"}
        for figure in figures
    ]


def _json_rows(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    from cloakhouse.client.cells import json_value

    return [{name: json_value(value) for name, value in row.items()} for row in rows.to_pylist()]


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
