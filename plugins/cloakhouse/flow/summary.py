"""The summary at the end of a local run, for people: what happened to the data, what was published, where to look."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.privacy.words import gate_in_words, in_words
from cloakhouse.settings import Settings
from cloakhouse.stages.consent_counts import counts
from cloakhouse.stages.version_checks import open_release

if TYPE_CHECKING:
    from rich.console import Console

    from cloakhouse.flow.local_run import RunReport


def print_summary(console: Console, settings: Settings, contracts: dict[str, Contract], report: RunReport) -> None:
    """Print the summary of `report`. Counts are of the whole lake; `new` is what this run added."""
    catalogue = Catalogue(settings.database)
    console.print()
    _rows(console, catalogue, contracts, report)
    _consents(console, settings, contracts)
    _treatments(console, contracts)
    _published(console, settings)
    _times(console, report)
    _ending(console, settings, report)


def _table(console: Console, title: str, *columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    table.pad_edge, table.collapse_padding = False, True  # so that eight-digit counts fit a screen of 80 columns
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def _rows(console: Console, catalogue: Catalogue, contracts: dict[str, Contract], report: RunReport) -> None:
    table = _table(console, "Rows", "feed", "landed", "withheld", "quarantined", "protected", "parts", "new")
    reasons: Counter[str] = Counter()
    for event in report.events:
        if event.get("reasons"):
            reasons.update(json.loads(event["reasons"]))
    for name, contract in contracts.items():
        if contract.kind is not Kind.FEED:
            continue
        landed = sum(revisions[-1].rows for revisions in catalogue.deliveries(name).values())
        protected = catalogue.protected(name).values()
        new = sum(e.get("rows", 0) for e in report.events if (e["stage"], e["dataset"]) == ("pseudonymize", name))
        table.add_row(
            name,
            f"{landed:,}",
            f"{sum(p.withheld for p in protected):,}",
            f"{sum(p.quarantined for p in protected):,}",
            f"{sum(p.rows for p in protected):,}",
            f"{len(protected):,}",
            f"{new:,}",
        )
    console.print(table)
    if reasons:
        text = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        console.print(f"  quarantined by reason: {text}")


def _consents(console: Console, settings: Settings, contracts: dict[str, Contract]) -> None:
    """Print how many persons allow each purpose under whose law, and how many datasets ask for it."""
    found = counts(settings) if any(c.rights.consent for c in contracts.values()) else []
    if not found:
        return
    asking = Counter(c.rights.consent.purpose for c in contracts.values() if c.rights.consent)
    table = _table(console, "Consent", "purpose", "law", "persons", "allow it", "datasets that ask")
    table.columns[1].justify = "left"
    for one in found:
        asked = f"{asking[one.purpose]:,}"
        table.add_row(one.purpose, one.jurisdiction, f"{one.persons:,}", f"{one.allowed:,}", asked)
    console.print(table)


def _treatments(console: Console, contracts: dict[str, Contract]) -> None:
    table = _table(console, "What was done to the columns", "feed", "treatment", "columns")
    table.columns[1].justify = table.columns[2].justify = "left"
    for name, contract in contracts.items():
        by_treatment: dict[str, list[str]] = {}
        for column in contract.columns:
            if contract.kind is Kind.FEED and column.treatment.name != "keep":
                by_treatment.setdefault(column.treatment.name, []).append(column.name)
        for treatment, columns in sorted(by_treatment.items()):
            table.add_row(name, treatment, ", ".join(columns))
    console.print(table)


def _published(console: Console, settings: Settings) -> None:
    console.print("[bold]Published[/]")
    heads = VersionRegister(settings.database).heads()
    for version in heads:
        card = open_release(settings, version).card
        quality, privacy = card["quality"], card["privacy"]
        console.print(f"  [bold]{version.dataset}@{version.version}[/], {version.rows:,} rows")
        console.print(f"    {_sign(quality['passed'])} validation: {quality['checks']} checks of {quality['suite']}")
        passed = all(figure["passed"] for figure in privacy["gate"])
        first, *more = gate_in_words(privacy["gate"])
        console.print(f"    {_sign(passed)} gate: {first}")
        for line in more:
            console.print(f"         {line}")
        console.print(f"         guarantee per {privacy['unit_of_privacy']}: {in_words(privacy['guarantee'])}")
    if not heads:
        console.print("  nothing is published yet")


def _sign(passed: bool) -> str:
    return "[green]ok  [/]" if passed else "[bold red]FAIL[/]"


def _times(console: Console, report: RunReport) -> None:
    table = _table(console, "Time", "DAG run", "outcome", "seconds")
    for dag_id, (succeeded, seconds) in report.dags.items():
        table.add_row(dag_id, "success" if succeeded else "FAILED", f"{seconds:.1f}")
    table.add_row("all, with sample and start", "", f"{time.monotonic() - report.started:.1f}")
    console.print(table)


def _ending(console: Console, settings: Settings, report: RunReport) -> None:
    if not report.succeeded:
        console.print("[bold red]Some DAG runs failed; the refusals above say why, and what to do.[/]")
    console.print(f"everything is under {settings.home}; what the engines printed: {report.log}")
    console.print("next:  .venv/bin/cloakhouse datasets")
    console.print("       .venv/bin/cloakhouse describe baskets_private")
    console.print("       .venv/bin/cloakhouse read baskets_private --limit 5")
    console.print("       .venv/bin/cloakhouse describe baskets_private --page baskets_private.html")
    console.print("       .venv/bin/cloakhouse budget show")
    console.print("       .venv/bin/cloakhouse audit verify")
    console.print("       .venv/bin/cloakhouse report baskets_private --out baskets_private-report.html")
    console.print("       .venv/bin/cloakhouse auditor")
    console.print("       make console")
