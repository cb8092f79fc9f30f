"""Noise and selection. Tests of randomness fail by chance with a probability below 1e-6 each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.privacy import noise
from cloakhouse.privacy._opendp import gumbel_max, private_quantile, thresholded
from cloakhouse.privacy.noise import common_keys, gaussian, noisy_max, quantile, rho_of_gaussian, scale_for, selection

DRAWS = 20_000
SIGMAS = 5.1  # a normal variable is further off with a probability of 3.4e-7
CHI_SQUARE = 70.0  # 18 degrees of freedom exceed it with a probability of 5e-8


def pmf(scale: float) -> dict[int, float]:
    """Return the discrete Gaussian's probabilities (arXiv 2004.00010, definition 1)."""
    reach = math.ceil(40 * scale) + 1
    weights = {x: math.exp(-x * x / (2 * scale * scale)) for x in range(-reach, reach + 1)}
    total = math.fsum(weights.values())
    return {x: weight / total for x, weight in weights.items()}


@pytest.fixture(scope="module")
def draws() -> npt.NDArray[np.int64]:
    return gaussian(np.zeros(DRAWS, dtype=np.int64), 3.0)


def test_mean_and_variance(draws: npt.NDArray[np.int64]) -> None:
    variance = math.fsum(x * x * p for x, p in pmf(3.0).items())
    fourth = math.fsum(x**4 * p for x, p in pmf(3.0).items())
    assert abs(draws.mean()) < SIGMAS * math.sqrt(variance / DRAWS)
    assert abs((draws.astype(float) ** 2).mean() - variance) < SIGMAS * math.sqrt((fourth - variance**2) / DRAWS)


def test_the_distribution_is_the_published_one(draws: npt.NDArray[np.int64]) -> None:
    """Chi-square over -8 or less, -7, ..., 9, 10 or more."""
    probabilities = np.zeros(19)
    for x, p in pmf(3.0).items():
        probabilities[min(max(x, -8), 10) + 8] += p
    counts = np.bincount(np.clip(draws, -8, 10) + 8, minlength=19)
    expected = probabilities * DRAWS
    assert expected.min() > 5
    assert float(((counts - expected) ** 2 / expected).sum()) < CHI_SQUARE


def test_each_call_draws_anew_around_the_values() -> None:
    values = np.arange(40, dtype=np.int64) * 10**6
    first, second = gaussian(values, 1000.0), gaussian(values, 1000.0)
    assert (first != second).any()
    assert np.abs(first - values).max() < 10_000
    assert values[1] == 10**6  # the input is left alone


def test_shapes_and_empty_arrays() -> None:
    table = np.zeros((3, 4, 2), dtype=np.int64)
    assert gaussian(table, 1.0).shape == (3, 4, 2)
    assert gaussian(table[:, ::2, 1], 1e-3).tolist() == [[0, 0]] * 3
    empty = gaussian(np.zeros(0, dtype=np.int64), 1.0)
    assert (empty.shape, empty.dtype) == ((0,), np.int64)


def test_noise_that_would_leave_int64_is_clamped() -> None:
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    found = gaussian(np.array([low, high] * 50, dtype=np.int64), 1e6)
    assert low in found
    assert high in found


@pytest.mark.parametrize("sensitivity", [1.0, math.sqrt(20), 1e-3, 12345.678])
@pytest.mark.parametrize("rho", [1e-6, 0.02, 0.5, 50.0])
def test_the_scale_spends_what_it_may_and_no_more(sensitivity: float, rho: float) -> None:
    scale = scale_for(sensitivity, rho)
    assert rho * (1 - 1e-12) <= rho_of_gaussian(sensitivity, scale) <= rho
    assert rho_of_gaussian(sensitivity, scale * (1 - 1e-9)) > rho
    assert scale == pytest.approx(sensitivity / math.sqrt(2 * rho), rel=1e-14)


def test_rho_is_never_below_the_truth() -> None:
    assert rho_of_gaussian(1.0, 2.0) == 0.125
    assert rho_of_gaussian(3.0, 7.0) >= 9 / 98
    with pytest.raises(ContractError, match="too small for the sensitivity"):
        rho_of_gaussian(1.0, 1e-200)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_numbers_that_are_none(bad: float) -> None:
    zeros, reals = np.zeros(3, dtype=np.int64), np.zeros(3)
    calls: list[Callable[[], Any]] = [
        lambda: gaussian(zeros, bad),
        lambda: rho_of_gaussian(bad, 1.0),
        lambda: rho_of_gaussian(1.0, bad),
        lambda: scale_for(bad, 0.1),
        lambda: scale_for(1.0, bad),
        lambda: noisy_max(reals, bad, 0.1),
        lambda: noisy_max(reals, 1.0, bad),
        lambda: quantile(reals, np.arange(3.0), 0.5, bad),
        lambda: common_keys(zeros, 1, bad, 1e-9),
        lambda: common_keys(zeros, 1, 0.1, bad),
        lambda: common_keys(zeros, bad, 0.1, 1e-9),  # type: ignore[arg-type]
        lambda: common_keys(zeros, int(bad) if math.isfinite(bad) else 2**40, 0.1, 1e-9),
    ]
    for call in calls:
        with pytest.raises(ContractError) as refusal:
            call()
        assert refusal.value.code == "contract.privacy"


def test_noise_too_wide_for_int64_is_refused() -> None:
    with pytest.raises(ContractError, match="at most"):
        gaussian(np.zeros(1, dtype=np.int64), 1e16)
    with pytest.raises(ContractError, match="at most"):
        scale_for(1e16, 0.1)


def test_data_that_is_not_what_it_must_be() -> None:
    ints, reals = np.zeros(3, dtype=np.int64), np.zeros(3)
    gap = np.array([1.0, math.nan, math.inf])
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: gaussian(reals, 1.0), "one of float64"),  # type: ignore[arg-type]
        (lambda: gaussian(ints.astype(np.int32), 1.0), "one of int32"),  # type: ignore[arg-type]
        (lambda: noisy_max(ints, 1.0, 0.1), "one of int64"),  # type: ignore[arg-type]
        (lambda: noisy_max(gap, 1.0, 0.1), "2 of 3 not finite"),
        (lambda: noisy_max(np.zeros(0), 1.0, 0.1), "none"),
        (lambda: noisy_max(np.zeros((2, 2)), 1.0, 0.1), "an array of 2 dimensions"),
        (lambda: quantile(gap, reals[:1], 0.5, 0.1), "2 of 3 not finite"),
        (lambda: common_keys(ints - 1, 1, 0.1, 1e-9), "3 below 0"),
        (lambda: common_keys(reals, 1, 0.1, 1e-9), "one of float64"),  # type: ignore[arg-type]
    ]
    for call, found in calls:
        with pytest.raises(TreatmentError) as refusal:
            call()
        assert refusal.value.found == found


def test_the_best_is_chosen_with_the_predicted_probability() -> None:
    sensitivity, rho, times = 2.0, 0.08, 4_000
    scores = np.array([0.0, 5.0, -3.0, 7.0])
    scale = sensitivity / math.sqrt(2 * rho)
    weights = np.exp(scores / scale)
    chosen = np.bincount([noisy_max(scores, sensitivity, rho) for _ in range(times)], minlength=4)
    for count, p in zip(chosen, weights / weights.sum(), strict=True):
        assert abs(count - times * p) < SIGMAS * math.sqrt(times * p * (1 - p)) + 1


def test_choosing_spends_no_more_than_it_may() -> None:
    for sensitivity, rho in ((1.0, 0.1), (0.3, 1e-4), (17.0, 2.0)):
        scale = sensitivity / math.sqrt(2 * rho)
        assert gumbel_max(scale * (1 + 1e-12)).map(sensitivity) <= rho
        assert gumbel_max(scale).map(sensitivity) == pytest.approx((2 * sensitivity / scale) ** 2 / 8)
    assert noisy_max(np.array([3.0]), 1.0, 1e-6) == 0
    assert {noisy_max(np.array([0.0, 1e4, 0.0]), 1.0, 0.1) for _ in range(20)} == {1}


def test_quantiles() -> None:
    values, candidates = np.arange(1.0, 10_001.0), np.arange(0.0, 12_000.0, 100.0)
    for q, expected in ((0.0, 0.0), (0.5, 5_000.0), (0.95, 9_500.0)):
        assert abs(quantile(values[::-1], candidates, q, 50.0) - expected) <= 100
    assert len({quantile(np.zeros(0), candidates, 0.5, 0.1) for _ in range(30)}) > 5
    assert quantile(values, np.array([7.0]), 0.5, 1e-6) == 7.0


def test_weights_say_what_is_drawn_without_values_and_little_with_many() -> None:
    candidates, weights = np.array([1.0, 2.0, 4.0, 8.0]), np.array([8.0, 4.0, 2.0, 1.0])
    drawn = [quantile(np.zeros(0), candidates, 0.5, 0.1, weights) for _ in range(1500)]
    shares = np.array([drawn.count(candidate) for candidate in candidates]) / len(drawn)
    assert np.abs(shares - weights / weights.sum()).max() < 0.06
    values = np.repeat(candidates, [100, 100, 100, 700])
    assert {quantile(values, candidates, 0.5, 1.0, weights) for _ in range(20)} == {8.0}


@pytest.mark.parametrize("q", [0.0, 0.3, 0.9, 1.0])
def test_one_value_more_changes_no_score_by_more_than_the_sensitivity(q: float) -> None:
    candidates, draw = np.arange(12.0), np.random.default_rng(5)
    values = draw.integers(0, 12, 60).astype(np.float64)
    scores = noise._off(values, candidates, q)
    for more in (-1.0, 0.0, 5.0, 5.5, 11.0, 40.0):
        assert np.abs(noise._off(np.append(values, more), candidates, q) - scores).max() <= max(q, 1 - q) + 1e-12


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_weights_that_can_not_be_used(bad: float) -> None:
    with pytest.raises(ContractError, match="the weights"):
        quantile(np.arange(3.0), np.arange(3.0), 0.5, 0.1, np.array([1.0, bad, 1.0]))


def test_a_quantile_spends_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []

    def remembered(candidates: tuple[float, ...], q: float, scale: float) -> Any:
        made.append(private_quantile(candidates, q, scale).map(1))
        return private_quantile(candidates, q, scale)

    monkeypatch.setattr(noise, "private_quantile", remembered)
    for q in (0.0, 0.5, 0.9, 1.0):
        quantile(np.arange(10.0), np.arange(4.0), q, 0.03)
        assert 0.03 * (1 - 1e-9) <= made[-1] <= 0.03


@pytest.mark.parametrize(
    "candidates", [np.zeros(0), np.array([1.0, 1.0]), np.array([2.0, 1.0]), np.array([0.0, math.nan])]
)
def test_candidates_that_are_none(candidates: npt.NDArray[np.float64]) -> None:
    with pytest.raises(ContractError, match="the candidates"):
        quantile(np.arange(3.0), candidates, 0.5, 0.1)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_that_is_none(q: float) -> None:
    with pytest.raises(ContractError, match="the quantile"):
        quantile(np.arange(3.0), np.arange(3.0), q, 0.1)


@pytest.mark.parametrize(("most", "rho", "delta"), [(1, 0.5, 1e-5), (1, 20.0, 1e-9), (3, 10.0, 1e-6), (20, 0.05, 1e-9)])
def test_keys_of_one_unit_stay_below_delta(most: int, rho: float, delta: float) -> None:
    """By the exact tail: small scales show whether a count that equals the threshold was forgotten."""
    scale, threshold = selection(most, rho, delta)
    assert rho_of_gaussian(math.sqrt(most), scale) <= rho * (1 + 1e-12)
    told = math.fsum(p for x, p in pmf(scale).items() if 1 + x > threshold)
    assert -math.expm1(most * math.log1p(-told)) <= delta
    assert thresholded(scale, threshold - 1).map((most, math.sqrt(most), 1.0))[1] > delta or threshold == 2


def test_a_count_at_the_threshold_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "selection", lambda *_: (1e-9, 3))
    mask, noisy = common_keys(np.array([0, 2, 3, 4, 5]), 1, 0.1, 1e-9)
    assert mask.tolist() == [False, False, False, True, True]
    assert noisy.tolist() == [0, 0, 0, 4, 5]


def test_common_keys_are_told_with_noise_and_rare_ones_are_not() -> None:
    counts = np.array([10_000] * 50 + [1] * 50 + [0] * 50, dtype=np.int64)
    mask, noisy = common_keys(counts, 4, 0.05, 1e-9)
    assert mask.tolist() == [True] * 50 + [False] * 100
    assert (noisy[:50] != counts[:50]).any()
    assert not noisy[50:].any()
    none, nothing = common_keys(np.zeros(0, dtype=np.int64), 1, 0.1, 1e-9)
    assert (none.shape, nothing.shape, none.dtype) == ((0,), (0,), np.bool_)
