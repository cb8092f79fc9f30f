"""Commands for data contracts: `contracts`, `contracts --treatments`, `contracts check`, `contracts treatments`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from cloakhouse.client import show
from cloakhouse.client.failures import OUTPUT
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.contracts.model import Contract
from cloakhouse.errors import NotFound
from cloakhouse.settings import Settings

IDENTITY = (Heading("name", whole=True), Heading("version"), Heading("kind"))
PARAMETERS = (Heading("name", "parameter", whole=True), Heading("required"), Heading("value"), Heading("meaning"))
NARROW = {"generalize": "general-\nize", "reversible token": "revers-\nible\ntoken", "substitute": "substi-\ntute"}
TREATMENTS = (
    Heading("name", "treatment", whole=True),
    Heading("summary"),
    Heading("protects", "protects against"),
    Heading("keeps"),
    Heading("types"),
    Heading("parameters"),
)


def _remember(ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Tell errors in the form of the answer."""
    ctx.meta[OUTPUT] = value
    return value


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

    folder = Settings.from_environment().contracts
    if not folder.is_dir():
        raise _absent(folder, "a folder of contracts", "set CLOAKHOUSE_CONTRACTS to the folder of the contracts")
    found = [_summary(contract) for contract in load_contracts(folder).values()]
    if output == "json":
        show.write_json(found)
        return
    _write_counts(found)


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
    show.write_pairs({**facts, "treatments": _listed(facts["treatments"])})


@contracts.command("treatments")
@click.argument("name", required=False)
@click.option(
    "--output",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    is_eager=True,
    callback=_remember,
    help="Form of the answer; markdown is that of docs/treatments.md.",
)
def explain(name: str | None, output: str) -> None:
    """Explain the treatments, or one of them.

    With parameters, and examples that are treated under keys which anyone can derive.
    """
    from cloakhouse.client import treatments_page
    from cloakhouse.contracts.treatments import REGISTRY

    if name is not None and name not in REGISTRY:
        raise NotFound(
            where="treatment",
            expected="one of " + ", ".join(REGISTRY),
            found="another name",
            not_done="nothing was explained",
            remedy="choose one of these; quote a name of two words",
        )
    if output == "markdown":
        click.echo((treatments_page.section(name) if name else treatments_page.page()).rstrip("\n"))
    elif output == "json":
        show.write_json([treatments_page.facts(each) for each in ([name] if name else REGISTRY)])
    elif name:
        _write_one(treatments_page.facts(name))
    else:
        _write(TREATMENTS, _treatments(), output)


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


def _write_counts(found: list[dict[str, Any]]) -> None:
    """Write how many columns of each contract get each treatment that is used, side by side if they fit."""
    rows = [{**item, **item["treatments"]} for item in found]
    used = [name for name in rows[0]["treatments"] if any(row[name] for row in rows)] if rows else []
    counts = [Heading(name, _narrow(name), right=True) for name in used]
    if show.how_many_fit((*IDENTITY, *counts), rows) == len(IDENTITY) + len(used):
        show.write_table((*IDENTITY, *counts), rows)
    else:
        listed = [{**item, "treatments": _listed(item["treatments"])} for item in found]
        show.write_table((*IDENTITY, Heading("treatments")), listed)


def _narrow(name: str) -> str:
    return NARROW.get(name) or name.replace("-", "-\n").replace(" ", "\n")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


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


def _write_one(facts: dict[str, Any]) -> None:
    """Write what is known of one treatment: its text, its parameters, and every example as a table."""
    about = {"what it does": facts["summary"], "protects against": facts["protects"], "keeps": facts["keeps"]}
    show.write_pairs({"treatment": facts["name"], **about, "types": ", ".join(facts["types"])})
    if facts["parameters"]:
        show.write_table(PARAMETERS, facts["parameters"], "parameters")
    for example in facts["examples"]:
        headings = tuple(Heading(key) for key in example["rows"][0])
        show.write_table(headings, example["rows"], f"{example['shows']}:\n\n{example['contract'].rstrip()}")


def _absent(path: Path, expected: str, remedy: str) -> NotFound:
    return NotFound(where=str(path), expected=expected, found="none", not_done="nothing was read", remedy=remedy)
