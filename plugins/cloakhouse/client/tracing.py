"""`cloakhouse lineage NAME`: what a version was made from, each manifest compared with its digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.completion import dataset_argument
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import IntegrityError

if TYPE_CHECKING:
    from cloakhouse.client.lineage import Node

HEADINGS = (
    Heading("what", whole=True),
    Heading("rows", right=True),
    Heading("check"),
    Heading("sha256", "SHA-256"),
    Heading("more"),
)
DIGITS = 12  # of a digest in a table


@click.command()
@dataset_argument()
@output_option
@click.pass_context
def lineage(ctx: click.Context, name: str, output: str) -> None:
    """Show what a version was made from.

    From its signed release down to the deliveries: synthesis, protected partitions, contracts, code and run. Every
    manifest is compared with the digest that the one above it holds. Exit code 4 if one is missing or changed.
    """
    from cloakhouse.client.api import connect
    from cloakhouse.client.lineage import Check

    root = connect().dataset(name).lineage()
    nodes = list(root.walk())
    broken = sum(node.check is Check.BROKEN for _, node in nodes)
    if output == "json":
        show.write_json(root.as_dict())
    else:
        show.write_table(HEADINGS, [_row(depth, node) for depth, node in nodes])
        show.write_pairs({"": "", **_about(root)})
    if broken:
        show.note(f"{broken} of {len(nodes)} manifests are missing or changed")
        ctx.exit(IntegrityError.exit_code)


def _row(depth: int, node: Node) -> show.Record:
    facts = node.facts
    contract = facts.get("contract") or {}
    more = [
        str(facts.get("engine", "")),
        f"contract {contract['version']}" if "version" in contract else "",
        f"revision {facts['revision']}" if "revision" in facts else "",
    ]
    return {
        "what": " " * depth + ("<- " if depth else "") + f"{node.kind} {node.name}",
        "rows": facts.get("rows", ""),
        "check": node.check.value,
        "sha256": node.manifest.sha256[:DIGITS],
        "more": ", ".join(part for part in more if part),
    }


def _about(root: Node) -> dict[str, Any]:
    run = ", ".join(f"{key} {value}" for key, value in root.facts["run"].items() if value)
    return {
        "release": root.manifest.path,
        "run": run or "outside of Airflow",
        "code": ", ".join(f"{key} {value}" for key, value in root.facts["code"].items()),
        "contract": root.facts["contract"].get("digest", ""),
    }
