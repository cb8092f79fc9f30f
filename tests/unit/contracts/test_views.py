"""What a contract says about the view, the guarantee and the budget, as the stages read it."""

from __future__ import annotations

import pytest
from tests.support.contracts import SHIPPED

from cloakhouse.contracts.model import Contract, Level, Privacy, PrivacyBudget, Task
from cloakhouse.contracts.parser import load_contracts, parse_contract
from cloakhouse.errors import ContractError

PRIVATE = (SHIPPED / "baskets_private.odcs.yaml").read_text()
MADE = "{epsilon: 3, delta: 1.0e-7, consumer: model training}"


def edited(*changes: tuple[str, str]) -> Contract:
    text = PRIVATE
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parse_contract(text, "test")


def test_the_shipped_private_baskets() -> None:
    contracts = load_contracts(SHIPPED)
    synthesis = contracts["baskets_private"].synthesis
    assert synthesis is not None
    assert synthesis.engine == "dp-marginals"
    assert synthesis.privacy == Privacy(3.0, 1e-7, "model training")
    assert synthesis.max_training_rows == 10_000_000  # all are counted
    assert synthesis.tasks[0] == Task("large_basket", "value", 20.0)
    assert synthesis.tasks[1] == Task("fresh_produce", "has_produce", None, "true")
    assert synthesis.segments == ("month", "weekday")
    assert contracts["transactions"].privacy_budget == PrivacyBudget("household", 1e-6, "year", {"default": 12.0})
    assert contracts["products"].privacy_budget is None


def test_declared_caps_of_rows_and_groups() -> None:
    privacy = edited((MADE, MADE[:-1] + ", maxRows: 40, maxGroups: 8}")).synthesis.privacy  # type: ignore[union-attr]
    assert privacy == Privacy(3.0, 1e-7, "model training", 40, 8)


def test_a_view_of_lines_with_levels_numbers_and_an_order() -> None:
    contract = edited(
        (
            "        groupBy: basket_id\n",
            "        groupBy: basket_id\n        rows: lines\n        order: transaction_timestamp\n",
        ),
        ("hour: {hour: transaction_timestamp}", "hour: {first: quantity, level: group, values: [1, 2]}"),
        ("{month: transaction_timestamp}", "{number: unit}"),
        ("{weekday: transaction_timestamp}", "{number: group}"),
        ("{count: product_id, cap: 100}", "{first: quantity, level: unit}"),
    )
    assert contract.synthesis is not None
    view = contract.synthesis.view
    assert view.lines
    assert view.order == "transaction_timestamp"
    measures = {m.name: m for m in view.measures}
    assert (measures["hour"].level, measures["hour"].values) == (Level.GROUP, (1, 2))
    assert (measures["month"].kind, measures["month"].level) == ("number", Level.UNIT)
    assert (measures["weekday"].kind, measures["weekday"].level) == ("number", Level.GROUP)
    assert measures["lines"].level is Level.UNIT
    assert measures["units"].level is Level.ROW


def test_the_newest_partitions_alone() -> None:
    group = "        groupBy: basket_id\n"
    assert edited().synthesis.view.newest is None  # type: ignore[union-attr]
    assert edited((group, f"{group}        newest: 4\n")).synthesis.view.newest == 4  # type: ignore[union-attr]
    for bad in ("0", "100001", "1.5", "all"):
        with pytest.raises(ContractError):
            edited((group, f"{group}        newest: {bad}\n"))


def test_parameters_and_thresholds() -> None:
    contract = edited(
        ("      seed: 2017\n", "      seed: 2017\n      parameters: {bins: 16}\n"),
        ("      maxCopyExcess: 0.01\n", "      maxCopyExcess: 0.01\n      risks: {copies: 0.5}\n"),
    )
    assert contract.synthesis is not None
    assert contract.gate is not None
    assert contract.synthesis.parameters == {"bins": 16}
    assert contract.gate.risks == {"copies": 0.5}
