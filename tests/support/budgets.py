"""Small installations whose contracts have privacy budgets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.contracts import feed_text

from cloakhouse.keys.service import service_of
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings

BUDGET = "{unit: household, epsilon: {default: 12, research: 3}, delta: 1.0e-6, renewal: year}"
BUDGETS = {"transactions": BUDGET, "customers": BUDGET.replace("{default: 12, research: 3}", "{default: 6}")}


def write_contracts(folder: Path, budgets: Mapping[str, str] = BUDGETS) -> None:
    """Write a feed contract for each of `budgets`, and `products` without one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, budget in {**budgets, "products": ""}.items():
        text = feed_text(name)
        if budget:
            property_ = f"  - property: privacyBudget\n    value: {budget}\n"
            text = text.replace("  - property: feed\n", property_ + "  - property: feed\n")
        (folder / f"{name}.odcs.yaml").write_text(text)


def installation(folder: Path, budgets: Mapping[str, str] = BUDGETS) -> Settings:
    """Return the settings of an installation in `folder`: contracts, a control database, a keystore."""
    write_contracts(folder / "contracts", budgets)
    environment = {"CLOAKHOUSE_HOME": str(folder / "home"), "CLOAKHOUSE_CONTRACTS": str(folder / "contracts")}
    settings = Settings.from_environment(environment)
    service_of(settings).names()
    Catalogue(settings.database)
    return settings
