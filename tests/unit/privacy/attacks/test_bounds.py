from __future__ import annotations

import numpy as np
import pytest

from cloakhouse.privacy.attacks.bounds import (
    Share,
    area,
    by_household,
    dense,
    detection,
    excess,
    gap,
    risk,
    share,
)


def test_rows_of_one_household_count_as_often_as_they_differ() -> None:
    units = np.repeat(np.arange(50), 4)
    alike = share(np.repeat(np.arange(50) < 10, 4), units)  # whole households succeed
    assert alike.value == 0.2
    assert alike.size == pytest.approx(49)
    independent = share(np.random.default_rng(1).random(20_000) < 0.2, np.repeat(np.arange(5_000), 4))
    assert independent.size == pytest.approx(20_000, rel=0.1)
    assert share(np.zeros(200, bool), units) == Share(0.0, 50)
    assert share(np.ones(200, bool), units) == Share(1.0, 50)
    assert share(np.full(200, 0.5), units) == Share(0.5, 50)


def test_the_published_score_limits() -> None:
    # Newcombe 1998, table I, 81 of 263: 95 % two-sided limits 0.2553, 0.3662; here 90 % two-sided
    limits = Share(81 / 263, 263)
    assert (limits.low, limits.high) == (pytest.approx(0.2634, abs=5e-4), pytest.approx(0.3567, abs=5e-4))


def test_excess_and_risk() -> None:
    training, holdout = Share(0.3, 500), Share(0.1, 500)
    found = excess(training, holdout)
    assert found.value == pytest.approx(0.2)
    assert found.bound == pytest.approx(0.2 + np.hypot(training.high - 0.3, 0.1 - holdout.low))
    left = risk(training, holdout)
    assert left.value == pytest.approx(0.2 / 0.9)
    assert left.bound == pytest.approx(found.bound / 0.9)
    assert risk(Share(1.0, 400), Share(0.99, 400)).value == pytest.approx(0.02)  # of a half, not of a hundredth
    assert excess(Share(1.0, 9), Share(0.0, 9)).bound == 1.0


def test_area_equals_the_share_of_pairs() -> None:
    rng = np.random.default_rng(2)
    mine, theirs = rng.integers(0, 9, 300) + 1.0, rng.integers(0, 9, 200).astype(float)
    pairs = (mine[:, None] > theirs).mean() + (mine[:, None] == theirs).mean() / 2
    single = area(mine, np.arange(300), theirs, np.arange(200))
    assert single.value == pytest.approx(pairs)
    repeated = area(
        np.repeat(mine, 5), np.repeat(np.arange(300), 5), np.repeat(theirs, 5), np.repeat(np.arange(200), 5)
    )
    assert repeated.value == pytest.approx(pairs)
    assert repeated.bound == pytest.approx(single.bound)  # copies of a row are no more households
    naive = area(np.repeat(mine, 5), np.arange(1_500), np.repeat(theirs, 5), np.arange(1_000))
    assert naive.bound < repeated.bound


def test_detection_at_a_false_positive_rate() -> None:
    theirs = np.arange(1_000) / 1_000
    owners = np.arange(1_000)
    mine = np.r_[np.full(300, 2.0), np.arange(700) / 700]
    found = detection(mine, owners, theirs, owners, 0.02, 1)
    assert found.value == pytest.approx(0.3 + 0.7 * 0.02 - 0.02, abs=0.002)
    assert found.value < found.bound < found.value + 0.05
    tied = detection(np.zeros(1_000), owners, np.zeros(1_000), owners, 0.02, 1)
    assert tied.value == pytest.approx(0.0, abs=0.02)
    assert detection(-mine - 5, owners, theirs, owners, 0.02, 1).value == pytest.approx(-0.02)
    assert found == detection(mine, owners, theirs, owners, 0.02, 1)


def test_gap_takes_the_third_largest_for_its_bound() -> None:
    found = gap(np.array([1.0, 9.0]), np.array([1.0, 4.0, 5.0, 3.0]))
    assert (found.value, found.bound) == (4.0, 6.0)


def test_households_by_number() -> None:
    assert dense(np.array([7, 2, 7])).tolist() == [1, 0, 1]
    assert by_household(np.array([1.0, 0.0, 0.0]), np.array([7, 2, 7])).tolist() == [0.0, 0.5]
