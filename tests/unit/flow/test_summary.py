"""The summary of a local run: whole words on a screen of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from rich.console import Console

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.flow.local_run import RunReport
from cloakhouse.flow.summary import _rows
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings

LANDED = 12_595_732
NEW = {"stage": "pseudonymize", "dataset": "transactions", "rows": 11_126_598}


class Full:
    """A catalogue of a feed that has been run for years."""

    def deliveries(self, _dataset: str) -> Mapping[str, Any]:
        return {"2016-12-26": [SimpleNamespace(rows=LANDED)]}

    def protected(self, _dataset: str) -> Mapping[str, Any]:
        return {"2016-12-26": SimpleNamespace(withheld=1_234_567, quarantined=234_567, rows=11_126_598)}


def test_no_heading_and_no_number_of_the_rows_is_broken_on_a_narrow_screen() -> None:
    console = Console(width=80, record=True, color_system=None)
    report = cast(RunReport, SimpleNamespace(events=[NEW]))
    _rows(console, cast(Catalogue, Full()), load_contracts(Settings.from_environment({}).contracts), report)
    lines = [line.split() for line in console.export_text().splitlines()]
    heading = next(words for words in lines if words[:1] == ["feed"])
    assert {"landed", "withheld", "quarantined", "protected"} <= set(heading)
    rows = [words for words in lines if words[:1] == ["transactions"]]
    assert rows == [["transactions", f"{LANDED:,}", "1,234,567", "234,567", "11,126,598", "1", "11,126,598"]]
    assert all(len(words) == len(heading) for words in lines if words[:1] in (["customers"], ["products"]))
