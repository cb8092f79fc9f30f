"""The gate computed again from evidence: agreement, and everything that must not pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.released import PLAIN, PRIVATE, recorded

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.privacy.accounting import epsilon_of, rho_of
from cloakhouse.settings import Settings
from cloakhouse.stages.gate import RHO_COMMITTED, RHO_OF_MODEL
from cloakhouse.stages.gate_check import implies, recomputed
from cloakhouse.stages.guarantees import CLOSE, LIKELY
from cloakhouse.stages.remaking import CLOSE as REMAKING

CONTRACTS = load_contracts(Settings.from_environment({}).contracts)
Change = Callable[[dict[str, Any]], object]


def gate(name: str = PRIVATE, change: Change | None = None, contract: Contract | None = None) -> Any:
    evidence = recorded(name, "validation")
    if change:
        change(evidence)
    return recomputed(contract or CONTRACTS[name], evidence, recorded(name, "synthesis"))


@pytest.mark.parametrize(("name", "figures"), [(PRIVATE, 46), (PLAIN, 37)])
def test_real_evidence_comes_to_what_it_states(name: str, figures: int) -> None:
    found = gate(name)
    assert (found.passed, found.agrees, found.stated, len(found.figures)) == (True, True, True, figures)
    assert (found.checks, found.checks_passed, found.differences) == (14, 14, ())


def test_thresholds_of_the_guarantee_are_those_of_the_validation() -> None:
    stated = {item["name"]: item["threshold"] for item in recorded(PRIVATE, "validation")["gate"]}
    assert stated["noise in the model, likelihood at the declared scale"] == LIKELY
    assert stated["tables that do not follow from the noise, difference"] == CLOSE == REMAKING


def _figure(name: str, **changes: Any) -> Change:
    def change(evidence: dict[str, Any]) -> None:
        for item in evidence["gate"]:
            if item["name"] == name:
                item.update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        (lambda e: e["risks"][0].update(bound=0.5), "exact copies, share of the release: excess"),
        (lambda e: e["risks"].pop(0), "exact copies, share of the release: excess"),
        (lambda e: e["risks"][0].update(bound=True), "exact copies, share of the release: excess"),
        (lambda e: e["risks"][0].update(value=None), "exact copies, share of the release: excess"),
        (lambda e: e["risks"][0].update(bound="0"), "exact copies, share of the release: excess"),
        (lambda e: e["copies"].update(upper_bound=0.5), "excess of exact copies, upper 95 % bound"),
        (lambda e: e.update(copies=None), "excess of exact copies, upper 95 % bound"),
        (lambda e: e["anonymity"].update(k=1), "k-anonymity of customers"),
        (_figure(RHO_OF_MODEL, threshold=9.0), RHO_OF_MODEL),
        (_figure(RHO_OF_MODEL, threshold=None), RHO_COMMITTED),
        (_figure("rows that the model does not give", value=3.0), "rows that the model does not give"),
        (lambda e: e["gate"].append(dict(e["gate"][-1])), RHO_COMMITTED),
    ],
)
def test_what_was_changed_fails(change: Change, differing: str) -> None:
    found = gate(PRIVATE, change)
    assert not found.passed
    assert differing in found.differences
    assert "verdict" in found.differences


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e["quality"]["expectations"][3].update(success=False),
        lambda e: e["quality"]["expectations"][3].update(success=1),
        lambda e: e["quality"].update(expectations=[]),
        lambda e: e.pop("quality"),
    ],
)
def test_a_check_that_did_not_hold_fails_the_gate(change: Change) -> None:
    found = gate(PRIVATE, change)
    assert (found.passed, found.differences) == (False, ("verdict",))


def test_a_verdict_that_figures_contradict_is_told() -> None:
    found = gate(PRIVATE, lambda e: e.update(passed=False))
    assert (found.passed, found.stated, found.agrees) == (True, False, False)


def test_thresholds_are_the_contract_s_and_not_the_evidence_s() -> None:
    from dataclasses import replace

    contract = CONTRACTS[PRIVATE]
    assert contract.gate is not None
    found = gate(PRIVATE, contract=replace(contract, gate=replace(contract.gate, min_k=12)))
    assert found.differences == ("k-anonymity of customers", "verdict")


def test_a_feed_has_no_gate() -> None:
    assert not recomputed(CONTRACTS["customers"], recorded(PLAIN, "validation"), {}).passed


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-9), (3.0, 1e-7), (8.0, 1e-6), (20.0, 1e-5)])
def test_the_formula_of_zcdp_agrees_with_the_library(epsilon: float, delta: float) -> None:
    rho = rho_of(epsilon, delta)
    assert implies(rho, epsilon, delta)
    assert not implies(rho * 1.001, epsilon, delta)
    assert math.isclose(epsilon_of(rho, delta), epsilon, rel_tol=1e-4)


@pytest.mark.parametrize("numbers", [(0.0, 1.0, 1e-6), (0.1, 0.0, 1e-6), (0.1, 1.0, 0.0), (math.nan, 1.0, 1e-6)])
def test_numbers_that_promise_nothing_imply_nothing(numbers: tuple[float, float, float]) -> None:
    assert not implies(*numbers)
