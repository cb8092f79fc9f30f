"""Conversions against formulas written out here: the zCDP curve, and the exact curve of Gaussian noise below it."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from cloakhouse.errors import ContractError
from cloakhouse.privacy.accounting import MAX_DELTA, Guarantee, epsilon_of, guarantee, rho_of, rho_of_pure

PAIRS = [(0.1, 1e-9), (1.0, 1e-6), (3.0, 1e-9), (12.0, 1e-6), (50.0, 9e-5)]


def delta_of_zcdp(rho: float, epsilon: float) -> float:
    """Return arXiv 2004.00010, corollary 13, minimised over orders."""
    low, high = 1e-3, 1e5
    for _ in range(3):
        orders = np.geomspace(low, high, 10_000)
        a = 1 + orders
        logs = orders * (a * rho - epsilon) - np.log(orders) + a * np.log1p(-1 / a)
        best = int(logs.argmin())
        low, high = orders[max(best - 1, 0)], orders[min(best + 1, len(orders) - 1)]
    return float(np.exp(logs.min()))


def delta_of_gaussian(mu: float, epsilon: float) -> float:
    """Return the exact delta of Gaussian noise (Balle & Wang 2018, arXiv 1805.06530, theorem 8)."""

    def below(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    return below(mu / 2 - epsilon / mu) - math.exp(epsilon) * below(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize(("epsilon", "delta"), PAIRS)
def test_rho_is_the_largest_whole_billionth_that_implies_the_pair(epsilon: float, delta: float) -> None:
    rho = rho_of(epsilon, delta)
    assert epsilon_of(rho, delta) <= epsilon < epsilon_of(rho + 2e-9, delta)
    assert rho == round(rho * 1e9) / 1e9
    assert delta_of_zcdp(rho, epsilon) <= delta < delta_of_zcdp(rho + 3e-9, epsilon)
    assert delta_of_gaussian(math.sqrt(2 * rho), epsilon) < delta  # as every guarantee of zCDP must


def test_known_conversions() -> None:
    assert rho_of(3.0, 1e-9) == pytest.approx(0.120582428, abs=2e-9)
    assert rho_of(1.0, 1e-6) == pytest.approx(0.024355970, abs=2e-9)
    assert epsilon_of(0.5, 1e-6) == pytest.approx(5.224, abs=0.01)
    assert epsilon_of(0.5, 1e-6) < 0.5 + 2 * math.sqrt(0.5 * math.log(1e6))  # Bun & Steinke 2016, proposition 1.3


def test_a_tiny_rho_needs_no_epsilon_at_all() -> None:
    assert epsilon_of(1e-12, 9e-5) == 0.0
    assert epsilon_of(1e-12, 1e-9) > 0.0


def test_pure_differential_privacy() -> None:
    for epsilon in (0.1, 1.0, 3, 50.0):
        assert epsilon**2 / 2 <= rho_of_pure(epsilon) <= epsilon**2 / 2 * (1 + 1e-12)


BAD = [0, 0.0, -1.0, math.nan, math.inf, -math.inf, True, "3", None]


@pytest.mark.parametrize("epsilon", [*BAD, 50.000001])
def test_an_epsilon_that_is_none(epsilon: Any) -> None:
    rho_of(1.0, 1e-9)  # remembered, and not taken for True
    for call in (lambda: rho_of(epsilon, 1e-9), lambda: rho_of_pure(epsilon)):
        with pytest.raises(ContractError) as refusal:
            call()
        assert (refusal.value.code, refusal.value.where) == ("contract.privacy", "epsilon")
        assert refusal.value.expected == "a number above 0, at most 50"


@pytest.mark.parametrize("delta", [*BAD, MAX_DELTA, 1.0])
def test_a_delta_that_is_none(delta: Any) -> None:
    for call in (lambda: rho_of(1.0, delta), lambda: epsilon_of(0.1, delta)):
        with pytest.raises(ContractError) as refusal:
            call()
        assert refusal.value.where == "delta"
        assert "1e-9" in refusal.value.remedy


@pytest.mark.parametrize("rho", [*BAD, 50.1])
def test_a_rho_that_is_none(rho: Any) -> None:
    with pytest.raises(ContractError) as refusal:
        epsilon_of(rho, 1e-9)
    assert refusal.value.where == "rho"


def test_an_epsilon_too_small_for_any_noise() -> None:
    with pytest.raises(ContractError) as refusal:
        rho_of(1e-6, 1e-12)
    assert "less than a billionth" in refusal.value.found


def test_a_guarantee_says_what_it_is() -> None:
    found = guarantee(3.0, 1e-9, "household")
    assert found == Guarantee(
        3.0, 1e-9, rho_of(3.0, 1e-9), "household", "add or remove one household with all of its rows"
    )
    assert list(found.as_dict()) == ["epsilon", "delta", "rho", "unit", "neighbours"]
    with pytest.raises(FrozenInstanceError):
        found.epsilon = 1.0  # type: ignore[misc]
    with pytest.raises(ContractError):
        guarantee(3.0, 1e-9, " ")
