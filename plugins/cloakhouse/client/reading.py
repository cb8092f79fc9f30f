"""`cloakhouse datasets`, `describe`, `read` and `evidence`: what is published, and its rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.completion import dataset_argument
from cloakhouse.client.options import output_option, selection_options
from cloakhouse.client.show import Heading
from cloakhouse.privacy.words import gate_in_words, in_words

if TYPE_CHECKING:
    import pyarrow as pa

DATASETS = (
    Heading("name", whole=True),
    Heading("version", right=True),
    Heading("zone"),
    Heading("rows", right=True),
    Heading("published"),
    Heading("tags"),
)
COLUMNS = (Heading("name", "column", whole=True), Heading("type"), Heading("class"), Heading("shown"))
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
    """List what is published, with its versions and tags."""
    from cloakhouse.client.api import connect
    from cloakhouse.client.cells import utc_text

    found: list[dict[str, Any]] = [
        {
            "name": dataset.name,
            "version": dataset.version,
            "zone": dataset.zone,
            "rows": dataset.rows,
            "published": utc_text(dataset.published_at),
            "tags": list(dataset.tags),
        }
        for dataset in connect().datasets()
    ]
    if output == "json":
        show.write_json(found)
        return
    rows: list[show.Record] = [{**item, "tags": ", ".join(item["tags"])} for item in found]
    show.write_table(DATASETS, rows)
    if not found:
        show.note("nothing is published yet; `cloakhouse run` takes a feed all the way")


@click.command()
@dataset_argument()
@click.option(
    "--page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page on what its epsilon means to FILE"
)
@output_option
def describe(name: str, page: Path | None, output: str) -> None:
    """Tell what is known of a dataset.

    NAME stands for one version, as NAME@3, NAME@2026-11-01 (a day) and NAME@certified (a tag) do.
    """
    from cloakhouse.client.api import connect

    facts = connect().dataset(name).describe()
    if page is not None:
        _write_page(page, facts["card"])
        show.note(f"what the epsilon of {name} means: {page}")
        return
    if output == "json":
        show.write_json(facts)
        return
    card = facts["card"]
    plain = ("name", "version", "zone", "rows", "published", "engine", "parents", "evidence", "release")
    show.write_pairs(
        {
            **{key: facts[key] for key in plain},
            "tags": ", ".join(facts["tags"]),
            "contract": facts["contract"]["version"],
            "title": card["title"],
            "owner": card["owner"],
            "purpose": card["purpose"],
            "legal basis": card["legal_basis"],
            "unit of privacy": card["privacy"]["unit_of_privacy"],
            "guarantee": in_words(card["privacy"]["guarantee"]),
            "limits": card["limits"],
        }
    )
    show.write_table(COLUMNS, facts["columns"], title="Columns")
    lines = [*gate_in_words(facts["gate"]), f"each figure: cloakhouse evidence {name}"]
    show.write_pairs({"gate": lines[0], **{" " * number: line for number, line in enumerate(lines[1:], start=1)}})


@click.command()
@dataset_argument()
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Rows to read, from the first")
@selection_options
@output_option
def read(name: str, limit: int, columns: str | None, where: tuple[str, ...], output: str) -> None:
    """Read rows of a dataset.

    NAME stands for one version, as NAME@3, NAME@2026-11-01 (a day) and NAME@certified (a tag) do.
    """
    from cloakhouse.client.api import connect
    from cloakhouse.client.selecting import chosen_columns, conditions

    dataset = connect().dataset(name)
    table = dataset.to_arrow(chosen_columns(columns), limit, where=conditions(dataset, where))
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
@dataset_argument()
@output_option
def evidence(name: str, output: str) -> None:
    """Show the checks that a dataset passed.

    Gate figures and suite results, without values. NAME stands for one version, as NAME@3 does.
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
            "guarantee": in_words(content["privacy_guarantee"]),
            "evidence": path,
        }
    )
    show.write_table(GATE, _gate(content["gate"]), title="Gate")
    checks = [{**check, "columns": ", ".join(check["columns"])} for check in content["quality"]["expectations"]]
    show.write_table(CHECKS, [{k: "" if v is None else v for k, v in check.items()} for check in checks], "Checks")


def _write_page(path: Path, card: dict[str, Any]) -> None:
    """Write the page of a dataset. Raises StorageError."""
    from cloakhouse.client.epsilon_page import CurvePoint, epsilon_page
    from cloakhouse.keys.files import replacing

    curve = [CurvePoint(point["epsilon"], point["tvd"]) for point in card.get("curve", [])]
    with replacing(path, mode=0o644) as stream:
        stream.write(epsilon_page(card, None, curve).encode())


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
