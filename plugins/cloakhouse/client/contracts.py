"""Commands for data contracts: `contracts`, `contracts --treatments`, `contracts check FILE`."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import click

from cloakhouse.client import show
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.contracts.model import Contract
from cloakhouse.errors import NotFound
from cloakhouse.settings import Settings

IDENTITY = (Heading("name", whole=True), Heading("version"), Heading("kind"), Heading("columns", right=True))
TREATMENTS = (
    Heading("name", "treatment", whole=True),
    Heading("summary"),
    Heading("protects", "protects against"),
    Heading("keeps"),
    Heading("types"),
    Heading("parameters"),
)


@click.group(invoke_without_command=True)
@click.option("--treatments", is_flag=True, help="List what a contract may have done to a column.")
@output_option
@click.pass_context
def contracts(ctx: click.Context, treatments: bool, output: str) -> None:
    """List the data contracts in force.

    With how many of their columns get each treatment.
    """
    if ctx.invoked_subcommand is not None:
        return
    if treatments:
        _write(TREATMENTS, _treatments(), output)
        return
    from cloakhouse.contracts.parser import load_contracts
    from cloakhouse.contracts.treatments import REGISTRY

    folder = Settings.from_environment().contracts
    if not folder.is_dir():
        raise _absent(folder, "a folder of contracts", "set CLOAKHOUSE_CONTRACTS to the folder of the contracts")
    found = [_summary(contract) for contract in load_contracts(folder).values()]
    if output == "json":
        show.write_json(found)
        return
    counts = tuple(Heading(name, re.sub("(-| )", r"\1\n", name), right=True) for name in REGISTRY)
    show.write_table((*IDENTITY, *counts), [{**item, **item["treatments"]} for item in found])


@contracts.command()
@click.argument("file", type=click.Path(path_type=Path))
@output_option
def check(file: Path, output: str) -> None:
    """Check one contract by itself.

    References between contracts are checked by `cloakhouse contracts`.
    """
    from cloakhouse.contracts.parser import load_contract

    if not file.is_file():
        raise _absent(file, "the file of a contract", "correct the path")
    contract = load_contract(file)
    facts = {**_summary(contract), "digest": contract.digest}
    if output == "json":
        show.write_json(facts)
        return
    used = [f"{count} {name}" for name, count in facts["treatments"].items() if count]
    show.write_pairs({**facts, "treatments": ", ".join(used)})


def _summary(contract: Contract) -> dict[str, Any]:
    from cloakhouse.contracts.treatments import REGISTRY

    counts = Counter(column.treatment.name for column in contract.columns)
    return {
        "name": contract.name,
        "version": contract.version,
        "kind": contract.kind.value,
        "columns": len(contract.columns),
        "treatments": {name: counts[name] for name in REGISTRY},
    }


def _treatments() -> list[dict[str, Any]]:
    from cloakhouse.contracts.treatments import REGISTRY

    return [
        {
            "name": name,
            "summary": spec.summary,
            "protects": spec.protects,
            "keeps": spec.keeps,
            "types": sorted(spec.types),
            "parameters": list(spec.parameters),
        }
        for name, spec in REGISTRY.items()
    ]


def _write(headings: tuple[Heading, ...], found: list[dict[str, Any]], output: str) -> None:
    if output == "json":
        show.write_json(found)
        return
    joined = [{k: ", ".join(v) if isinstance(v, list) else v for k, v in item.items()} for item in found]
    show.write_table(headings, joined)


def _absent(path: Path, expected: str, remedy: str) -> NotFound:
    return NotFound(where=str(path), expected=expected, found="none", not_done="nothing was read", remedy=remedy)
