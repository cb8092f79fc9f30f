"""The gate fails closed: what is missing or no number fails; thresholds are those of the contract or the platform."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from tests.support.contracts import SHIPPED

from cloakhouse.contracts.model import Contract, Gate
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import ContractError
from cloakhouse.privacy.attacks.battery import figure_names, threshold_of
from cloakhouse.privacy.attacks.population import Risk
from cloakhouse.stages.gate import Figure, attack_columns, check_risks, risk_figures, sentence, table

MEMBER = "membership, rows: area under the curve"


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contracts(SHIPPED)["baskets_private"]


@pytest.fixture(scope="module")
def gate(contract: Contract) -> Gate:
    assert contract.gate is not None
    return contract.gate


def risk(name: str, value: float | None = 0.0, bound: float | None = 0.0) -> Risk:
    return Risk(name, value, bound, rows=1000, units=500, note="")


def risks(contract: Contract) -> list[Risk]:
    """Return a harmless result of every attack."""
    return [risk(name) for name in figure_names(attack_columns(contract))]


def failing(contract: Contract, gate: Gate, found: list[Risk]) -> set[str]:
    figures = risk_figures(gate, attack_columns(contract), found)
    assert [figure.name for figure in figures] == list(figure_names(attack_columns(contract)))
    return {figure.name for figure in figures if not figure.passed}


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at_most", [True, False])
def test_what_is_no_finite_number_passes_in_no_direction(value: float | None, at_most: bool) -> None:
    figure = Figure("x", value, 0.5, at_most)
    assert not figure.passed
    assert figure.as_dict() == {"name": "x", "value": None, "threshold": 0.5, "at_most": at_most, "passed": False}
    assert sentence(figure).startswith("x missing (")


def test_thresholds_are_inclusive() -> None:
    assert [Figure("x", v, 0.5, at_most=True).passed for v in (0.4, 0.5, 0.5000001)] == [True, True, False]
    assert [Figure("x", v, 0.5, at_most=False).passed for v in (0.4, 0.5, 0.6)] == [False, True, True]
    assert not Figure("x", 0.0, math.nan, at_most=True).passed
    assert not Figure("x", 0.0, math.nan, at_most=False).passed


def test_evidence_is_json_without_constants_that_json_does_not_have() -> None:
    figures = [Figure("x", math.nan, -math.inf, at_most=True), Figure("y", 1.0, 2.0, at_most=True)]
    assert json.loads(json.dumps(table(figures), allow_nan=False))[0]["threshold"] is None


def test_every_attack_has_to_be_there(contract: Contract, gate: Gate) -> None:
    found = risks(contract)
    assert failing(contract, gate, found) == set()
    assert failing(contract, gate, []) == set(figure_names(attack_columns(contract)))
    assert failing(contract, gate, found[1:]) == {found[0].name}
    assert "inference of value, households: risk" in {r.name for r in found}


@pytest.mark.parametrize(
    ("value", "bound"),
    [(None, 0.0), (0.0, None), (math.nan, 0.0), (0.0, math.nan), (math.inf, 0.0), (0.0, -math.inf), (0.0, math.inf)],
)
def test_an_attack_without_a_result_is_a_missing_figure(
    contract: Contract, gate: Gate, value: float | None, bound: float | None
) -> None:
    found = [r for r in risks(contract) if r.name != MEMBER]
    assert failing(contract, gate, [*found, risk(MEMBER, value, bound)]) == {MEMBER}


def test_the_bound_is_compared_and_not_the_estimate(contract: Contract, gate: Gate) -> None:
    limit = threshold_of(MEMBER)
    assert limit is not None
    found = [r for r in risks(contract) if r.name != MEMBER]
    assert failing(contract, gate, [*found, risk(MEMBER, limit - 0.1, limit + 0.001)]) == {MEMBER}
    assert failing(contract, gate, [*found, risk(MEMBER, limit - 0.1, limit)]) == set()


def test_distance_to_the_closest_record_alone_passes_nothing(contract: Contract, gate: Gate) -> None:
    own = [risk("distance to closest record, overfitting", 0.0, 0.0), risk("DCR", 1.0, 1.0)]
    assert failing(contract, gate, own) == set(figure_names(attack_columns(contract)))
    with pytest.raises(ContractError) as caught:
        check_risks("x", replace(gate, risks={"distance to closest record*": 1.0}), attack_columns(contract))
    assert caught.value.code == "contract.risk"


def test_a_contract_s_threshold_counts_by_name_before_pattern_and_only_where_it_is_meant(
    contract: Contract, gate: Gate
) -> None:
    own = replace(gate, risks={"inference of *": 0.01, "inference of value, rows: risk": 0.02})
    check_risks("x", own, attack_columns(contract))
    limits = {f.name: f.threshold for f in risk_figures(own, attack_columns(contract), [])}
    assert limits["inference of value, rows: risk"] == 0.02
    assert limits["inference of value, households: risk"] == limits["inference of lines, rows: risk"] == 0.01
    assert limits[MEMBER] == threshold_of(MEMBER)
    strict = [r if r.name != MEMBER else risk(MEMBER, 0.5, 0.011) for r in risks(contract)]
    assert failing(contract, replace(gate, risks={MEMBER: 0.01}), strict) == {MEMBER}


@pytest.mark.parametrize("name", ["membership", "Membership*", "inference of store, rows: risk", "", "copies*excess"])
def test_a_threshold_of_no_attack_is_refused(contract: Contract, gate: Gate, name: str) -> None:
    with pytest.raises(ContractError) as caught:
        check_risks("x", replace(gate, risks={name: 0.1}), attack_columns(contract))
    assert caught.value.code == "contract.risk"
    assert MEMBER in caught.value.expected


def test_a_figure_that_nobody_set_a_threshold_for_fails(
    contract: Contract, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloakhouse.stages.gate.figure_names", lambda columns: ("a new attack",))
    [figure] = risk_figures(gate, attack_columns(contract), [risk("a new attack", -5.0, -5.0)])
    assert (figure.threshold, figure.passed) == (-math.inf, False)


def test_attacks_see_every_column_but_the_engine_s_own_numbers(contract: Contract) -> None:
    columns = {column.name: column for column in attack_columns(contract)}
    assert list(columns) == [column.name for column in contract.columns]
    assert [name for name, column in columns.items() if not column.sensitive] == ["month", "weekday", "hour"]
    assert (columns["value"].maximum, columns["value"].categorical) == (500.0, False)
    assert columns["has_meat"].categorical
