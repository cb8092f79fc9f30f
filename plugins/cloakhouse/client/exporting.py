"""`cloakhouse export NAME FILE`: a released dataset as a plain file, for tools that can't read the lake."""

from __future__ import annotations

from pathlib import Path

import click

from cloakhouse.client import show
from cloakhouse.client.completion import dataset_argument
from cloakhouse.client.options import output_option, selection_options


@click.command()
@dataset_argument()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@selection_options
@click.option("--limit", type=click.IntRange(min=0), help="Rows to write, from the first. All if not given.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@output_option
def export(
    name: str, file: Path, columns: str | None, where: tuple[str, ...], limit: int | None, force: bool, output: str
) -> None:
    """Write a dataset to a plain file.

    FILE ends with .parquet, .csv or .arrow, which says its form. It is in plaintext, readable by you alone (mode 0600),
    and nothing of it is protected once it is outside of the lake: only released data can be exported. It appears
    whole or not at all, and replaces no other without --force.
    """
    from cloakhouse.client.api import connect
    from cloakhouse.client.plain_files import write_plain
    from cloakhouse.client.selecting import chosen_columns, conditions

    dataset = connect().dataset(name)
    rows = write_plain(
        dataset, file, columns=chosen_columns(columns), where=conditions(dataset, where), limit=limit, force=force
    )
    size = file.stat().st_size
    if output == "json":
        about = {"name": dataset.name, "version": dataset.version, "file": str(file), "rows": rows, "bytes": size}
        show.write_json({**about, "plaintext": True})
        return
    show.note(
        f"{file}: {rows:,} rows of {dataset.name}@{dataset.version}, {size:,} bytes in plaintext, outside of the lake: "
        "whoever can open the file can read it"
    )
