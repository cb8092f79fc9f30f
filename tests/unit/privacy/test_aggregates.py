"""Sums over public cells: what a unit adds, how far it can move the result, and the noise on top."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cloakhouse.errors import ContractError
from cloakhouse.privacy import aggregates
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.privacy.aggregates import Contributions, contributions

RHO = rho_of(1.0, 1e-6)


def given(*rows: tuple[int, int, int], count: int = 4) -> Contributions:
    """Return contributions of (unit, cell, hundredths)."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return contributions(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy(), count)


def test_a_vector_within_the_norm_stays_as_it_is() -> None:
    found = given((7, 0, 300), (7, 1, -400), (3, 1, 500))
    assert found.units.tolist() == [3, 7, 7]
    assert aggregates.clipped(found, 500).tolist() == [500, 300, -400]
    assert aggregates.sums(found, 500).tolist() == [300, 100, 0, 0]
    assert aggregates.norms(found).tolist() == [5.0, 5.0]


def test_a_longer_vector_is_shortened_towards_zero_as_a_whole() -> None:
    shortened = aggregates.clipped(given((1, 0, 3000), (1, 3, -4000)), 500)
    assert shortened.tolist() == [299, -399]  # 300 and -400 less the rounding in floating point, towards zero


def test_values_beyond_what_a_cell_can_hold_are_cut_and_stay_within_the_norm() -> None:
    found = given((1, 0, 2**62), (1, 1, -(2**62)), (2, 0, 2**62))
    bound = aggregates.hundredths(aggregates.MAX_CLIP)
    shortened = aggregates.clipped(found, bound)
    assert sum(int(v) ** 2 for v in shortened[:2]) <= bound**2
    assert int(shortened[2]) <= bound


def test_a_vector_that_is_too_long_after_all_counts_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "norms", lambda found: np.zeros(2))  # a floating-point norm that went wrong
    assert aggregates.clipped(given((1, 0, 600), (2, 0, 500), (2, 1, 1), (2, 2, 0)), 500).tolist() == [0, 0, 0, 0]


def test_nobody_gives_noise_alone() -> None:
    found = given()
    released = aggregates.release(found, 1.0, RHO)
    assert released.values.shape == (4,)
    assert aggregates.bought_clip(found, RHO, RHO) in aggregates.CANDIDATES
    assert abs(aggregates.bought_total(found, 1.0, RHO)) < 200


def test_the_interval_holds_the_sum_as_often_as_it_says() -> None:
    cells = 4000
    found = given(*((unit, cell, 700) for unit in range(3) for cell in range(0, cells, 7)), count=cells)
    released = aggregates.release(found, 1e6, RHO)
    truth = aggregates.sums(found, 10**8) / aggregates.PARTS
    inside = int(((released.low <= truth) & (truth <= released.high)).sum())
    spread = math.sqrt(cells * 0.95 * 0.05)
    assert abs(inside - 0.95 * cells) < 6 * spread  # fails with a probability below 1e-8
    assert released.standard_error == pytest.approx(1e6 / math.sqrt(2 * RHO), rel=1e-6)
    assert np.std(released.values - truth) == pytest.approx(released.standard_error, rel=0.07)  # 6 standard errors
    assert not np.array_equal(released.values, aggregates.release(found, 1e6, RHO).values)


def test_the_noise_is_the_same_for_one_cell_and_for_many() -> None:
    assert aggregates.standard_error(500, RHO) == pytest.approx(500 / math.sqrt(2 * RHO), rel=1e-6)
    assert aggregates.relative_error(10.0, 20, 400.0) == 0.5
    assert aggregates.relative_error(10.0, 20, 0.0) == aggregates.relative_error(10.0, 20, -5.0) == math.inf


def test_a_bought_norm_leaves_few_units_above_and_a_bought_total_is_near() -> None:
    units, cells = 3000, 16
    rng = np.random.Generator(np.random.Philox(7))
    spent = rng.lognormal(5, 0.7, units)
    found = given(
        *(
            (u, int(c), round(100 * v))
            for u, (c, v) in enumerate(zip(rng.integers(0, cells, units), spent, strict=True))
        ),
        count=cells,
    )
    clip = aggregates.bought_clip(found, 0.05, 0.5)
    above = int((spent > clip).sum())
    assert 5 < above < 300  # 42 are wanted; a candidate this far off has a chance below 1e-6
    total = aggregates.bought_total(found, clip, 0.05)
    error = clip * math.sqrt(aggregates.touched(cells)) / math.sqrt(2 * 0.05)
    assert abs(total - np.minimum(spent, clip).sum()) < 6 * error


@pytest.mark.parametrize("clip", [0.0, -1.0, 0.001, math.nan, math.inf, 1e9])
def test_a_clip_norm_out_of_range_is_refused(clip: float) -> None:
    with pytest.raises(ContractError, match="clip norm"):
        aggregates.release(given((1, 0, 1)), clip, RHO)


@pytest.mark.parametrize("count", [0, -1, aggregates.MAX_CELLS + 1])
def test_no_cells_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(ContractError, match="breakdown"):
        given((1, 0, 1), count=count)


@pytest.mark.parametrize("rho", [0.0, -0.1, math.nan, math.inf])
def test_a_rho_out_of_range_is_refused(rho: float) -> None:
    with pytest.raises(ContractError):
        aggregates.release(given((1, 0, 1)), 1.0, rho)
