"""The command `card`: what a dataset is, who may use it, how private and how good it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from cloakhouse.client import show
from cloakhouse.client.card_lineage import consents
from cloakhouse.client.options import output_option

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("name")
@click.option("--croissant", "croissant_file", type=FILE, help="Write the card as Croissant (JSON-LD) to FILE.")
@click.option("--page", "page_file", type=FILE, help="Write the card as a readable page (HTML) to FILE.")
@output_option
def card(name: str, croissant_file: Path | None, page_file: Path | None, output: str) -> None:
    """Show the card of a dataset.

    Purpose, licence, privacy, utility, provenance, limits, and how it is opened. NAME is its name, for the newest
    version, or NAME@3 for the third. With FILEs the card is written to them and not shown.
    """
    from cloakhouse.client.api import connect
    from cloakhouse.client.card_exports import card_of, croissant_of, page_of

    dataset = connect().dataset(name)
    if croissant_file is not None:
        _write(croissant_file, json.dumps(croissant_of(dataset), indent=2, allow_nan=False) + "\n")
        show.note(f"the card of {name} as Croissant: {croissant_file}")
    if page_file is not None:
        _write(page_file, page_of(dataset))
        show.note(f"the card of {name} as a page: {page_file}")
    if croissant_file is not None or page_file is not None:
        return
    found = card_of(dataset)
    if output == "json":
        show.write_json(found)
        return
    show.write_pairs(_facts(found))
    show.write_pairs({"": "", **_numbered("privacy", found["privacy"]["statement"])})
    show.write_pairs({"": "", **_numbered("utility", list(_utility(found["utility"])))})
    show.write_pairs({"": "", "limits": found.get("limits"), "open": found["open"]["python"]})


def _facts(card: Mapping[str, Any]) -> dict[str, Any]:
    provenance = card["provenance"]
    tags = ", ".join(card["standing"]["tags"])
    return {
        "dataset": f"{card['name']}@{card['version']}",
        "title": card.get("title"),
        "purpose": card.get("purpose"),
        "licence": card["licence"],
        "legal basis": card.get("legal_basis"),
        "owner": card.get("owner"),
        "state": card["standing"]["state"] + (f" ({tags})" if tags else ""),
        "published": card["published"],
        "rows": card["rows"],
        "made by": f"{provenance.get('engine')} ({provenance.get('library')})",
        "made from": ", ".join(f"{n} ({span['count']})" for n, span in sorted(provenance["partitions"].items())),
        "contract": provenance["contract"].get("version"),
        **({"consents": consents(provenance)} if provenance.get("consents") else {}),
    }


def _utility(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the card shows of utility, a line each."""
    from cloakhouse.client.epsilon_use import ORDERS

    yield f"measured on {figures['measured_on']}"
    if "withheld" in figures:
        yield str(figures["withheld"])
    if figures.get("curve"):
        points = ", ".join(f"{point['tvd']:.3f} at {point['epsilon']:g}" for point in figures["curve"])
        yield f"mean distance of pairs by epsilon: {points}"
    for item in figures.get("marginals", ()):
        if item["mean"] is not None:
            yield (
                f"mean distance, {ORDERS.get(item['order'], item['order'])}: {item['mean']:.3f} "
                f"(other real rows {_decimals(item['holdout_mean'])})"
            )
    for task in figures.get("tasks", ()):
        synthetic, real = (_decimals(task[key]) for key in ("synthetic_auc", "training_auc"))
        yield f"AUC of {task['name']}: {synthetic} (trained on real rows {real})"
    if figures.get("standard_error") is not None:
        yield f"standard error of each figure {figures['standard_error']:.6g}"


def _decimals(value: float | None) -> str:
    return "not told" if value is None else f"{value:.3f}"


def _numbered(title: str, lines: list[str]) -> dict[str, Any]:
    """Return pairs with `title` beside the first line and nothing beside the others."""
    return {title if at == 0 else " " * at: line for at, line in enumerate(lines)}


def _write(path: Path, content: str) -> None:
    """Write a whole file or none. Raises StorageError."""
    from cloakhouse.keys.files import replacing

    with replacing(path, mode=0o644) as stream:
        stream.write(content.encode())
