"""`cloakhouse retention plan | run | check`: what expires when, its deletion, and columns that are kept for nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import current_settings, dry_run_option, say
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloakhouse.stages.retention import Kept
    from cloakhouse.stages.retention_plan import Item

ITEMS = (
    Heading("day", "due", whole=True),
    Heading("dataset", whole=True),
    Heading("zone"),
    Heading("name", "what"),
    Heading("rows", right=True),
    Heading("told", "state"),
)
COLUMNS = (Heading("dataset", whole=True), Heading("column", whole=True), Heading("uses"))


@click.group()
def retention() -> None:
    """Keep data no longer than contracts say."""


@retention.command()
@click.option(
    "--days", type=click.IntRange(0, 36_500), default=30, show_default=True, help="Also what expires within these days."
)
@output_option
def plan(days: int, output: str) -> None:
    """List what is due, and what expires next, by day.

    Reads lists and manifests alone: whether a hold on a person keeps something, `run --dry-run` tells.
    """
    import datetime as dt

    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages import retention_plan

    found = retention_plan.plan(installed(), dt.datetime.now(dt.UTC), days)
    if output == "json":
        by_day = Counter(item.due.date().isoformat() for item in found)
        show.write_json({"days": days, "by_day": by_day, "items": [item.as_dict() for item in found]})
        return
    if found:
        show.write_table(ITEMS, _rows(found))
    say(f"{len(found)} expire within {days} days" if found else f"nothing expires within {days} days")


@retention.command()
@dry_run_option
@output_option
def run(dry_run: bool, output: str) -> None:
    """Delete what is due, as the DAG `keep_retention` does every night.

    What holds rows of a person who is held waits, and is listed. A dataset that fails keeps no other waiting; the
    command ends with that failure's code.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages import retention as stage

    done = stage.keep(installed(), dry_run=dry_run)
    if output == "json":
        show.write_json({"dry_run": dry_run, **done.as_dict()})
    else:
        _tell(done, dry_run)
    for problem in done.failed.values():
        raise problem


@retention.command()
@output_option
def check(output: str) -> None:
    """Check contracts: each kept column has a use, and each zone its days.

    Exit code 2 when a column is kept that no declared purpose uses, or a zone has no retention.
    """
    from cloakhouse.contracts.parser import load_contracts
    from cloakhouse.contracts.uses import kept_columns
    from cloakhouse.stages.retention_plan import undeclared

    contracts = load_contracts(current_settings().contracts)
    columns, zones = kept_columns(contracts), undeclared(contracts)
    unused = [kept for kept in columns if not kept.uses]
    if output == "json":
        listed = [{"dataset": k.dataset, "column": k.column, "uses": list(k.uses)} for k in columns]
        show.write_json({"columns": listed, "unused": len(unused), "without_retention": [list(zone) for zone in zones]})
    else:
        show.write_table(COLUMNS, [{**vars(k), "uses": ", ".join(k.uses) or "none"} for k in columns])
        for dataset, zone in zones:
            say(f"{dataset}: nothing says how long its {zone} zone is kept")
    if unused or zones:
        raise _kept_for_nothing([f"{k.dataset}.{k.column}" for k in unused] + [f"{d}/{z}" for d, z in zones])


def _tell(done: Kept, dry_run: bool) -> None:
    for title, items in (("gone", done.gone), ("held", done.held), ("kept", done.kept)):
        if items:
            show.write_table(ITEMS, _rows(items, "waits for a hold on a person" if title == "held" else ""))
    verb = "would go" if dry_run else "deleted"
    say(f"{len(done.gone)} {verb}" if done.gone else "nothing is due")
    if done.shredded:
        count = sum(one.versions for one in done.shredded)
        say(f"{count} versions of {len(done.shredded)} dataset keys destroyed: no copy of what they wrapped opens")


def _rows(items: Iterable[Item], told: str = "") -> list[dict[str, Any]]:
    return [
        {
            **vars(item),
            "day": item.due.date().isoformat(),
            "told": told or item.state.value + (f": {item.why}" if item.why else ""),
        }
        for item in items
    ]


def _kept_for_nothing(names: list[str]) -> ContractError:
    return ContractError(
        where=", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else ""),
        expected="a declared use of each kept column, and days for each zone",
        found=f"{len(names)} without",
        not_done="nothing; this is a finding about the contracts",
        remedy="drop the column, or state what it is kept for by `keptFor`; add the zone to `retentionDays`",
        code="minimisation",
    )
