"""For any guarantee: conversions there and back never promise more than they keep."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.privacy.accounting import epsilon_of, rho_of
from cloakhouse.privacy.noise import rho_of_gaussian, scale_for

EPSILONS = st.floats(0.01, 50.0)
DELTAS = st.floats(-12, -4.1).map(lambda power: 10.0**power)


@settings(max_examples=12)
@given(EPSILONS, DELTAS)
def test_what_is_spent_never_comes_to_more_than_was_promised(epsilon: float, delta: float) -> None:
    rho = rho_of(epsilon, delta)
    assert 0 < rho < epsilon
    assert epsilon_of(rho, delta) <= epsilon
    assert epsilon_of(min(rho + 2e-9, 50.0), delta) > epsilon


@settings(max_examples=50)
@given(st.floats(1e-9, 40.0), st.floats(0.0, 10.0), DELTAS)
def test_more_rho_is_more_epsilon(rho: float, more: float, delta: float) -> None:
    assert epsilon_of(rho, delta) <= epsilon_of(rho + more, delta)
    assert epsilon_of(rho, delta) >= epsilon_of(rho, min(delta * 2, 9.9e-5))


@settings(max_examples=100)
@given(st.floats(1e-3, 1e6), st.floats(1e-9, 50.0))
def test_a_scale_spends_at_most_what_it_was_made_for(sensitivity: float, rho: float) -> None:
    scale = scale_for(sensitivity, rho)
    assert rho_of_gaussian(sensitivity, scale) <= rho
    assert scale <= sensitivity / math.sqrt(2 * rho) * (1 + 1e-12)
