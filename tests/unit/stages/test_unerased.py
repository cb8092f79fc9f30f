"""The argument by which a release under a guarantee may stand: what it bounds, and what it is of."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.stages.unerased import MOST_ADVANTAGE, argument, guarantee_of


def test_one_release_bounds_what_is_known_of_it() -> None:
    found = argument([(0.1, 0.0)], 1)
    assert found.advantage == pytest.approx(math.tanh(0.05))
    assert found.holds
    assert not argument([(0.1, 0.0)], 2).holds
    assert not argument([(3.0, 1e-7)], 1).holds
    assert argument([], 5).advantage == 0.0


def test_releases_and_persons_add_up() -> None:
    assert argument([(0.05, 0.0), (0.05, 0.0)], 1).advantage == pytest.approx(argument([(0.1, 0.0)], 1).advantage)
    assert argument([(0.05, 0.0)], 2).advantage == pytest.approx(argument([(0.1, 0.0)], 1).advantage)


def test_delta_counts_for_every_person() -> None:
    assert argument([(0.0, 0.06)], 1).advantage == pytest.approx(0.06)
    assert argument([(0.0, 0.03)], 3).advantage == pytest.approx(0.09)


@given(st.floats(0, 20), st.floats(0, 1e-4), st.integers(1, 100_000))
def test_more_persons_never_prove_more(epsilon: float, delta: float, persons: int) -> None:
    one, many = argument([(epsilon, delta)], 1), argument([(epsilon, delta)], persons)
    assert 0.0 <= one.advantage <= many.advantage + 1e-12 <= 1.0 + 1e-9
    assert many.holds == (many.advantage <= MOST_ADVANTAGE)


@pytest.mark.parametrize(
    "stated",
    [
        "none: not differentially private",
        None,
        {"epsilon": 1.0, "delta": 0.0, "unit": "basket"},
        {"epsilon": float("nan"), "delta": 0.0, "unit": "household"},
        {"epsilon": 1.0, "unit": "household"},
        {"epsilon": -1.0, "delta": 0.0, "unit": "household"},
        {"epsilon": "1", "delta": 0.0, "unit": "household"},
    ],
)
def test_what_promises_persons_nothing_is_no_guarantee(stated: object) -> None:
    assert guarantee_of(stated, "household") is None


def test_a_guarantee_is_read() -> None:
    assert guarantee_of({"epsilon": 1, "delta": 1e-6, "unit": "household"}, "household") == (1.0, 1e-6)
