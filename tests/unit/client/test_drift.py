from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.client.api import connect
from cloakhouse.client.comparison import compare
from cloakhouse.client.drift import Sample, bins_of, distances


def test_distances_by_hand() -> None:
    found = distances(np.array([50, 50, 0]), np.array([25, 75, 0]))
    assert found is not None
    assert found.total_variation == pytest.approx(0.25)
    middle = (0.375, 0.625)
    divergence = (
        0.5 * math.log2(0.5 / middle[0])
        + 0.5 * math.log2(0.5 / middle[1])
        + 0.25 * math.log2(0.25 / middle[0])
        + 0.75 * math.log2(0.75 / middle[1])
    ) / 2
    assert found.jensen_shannon == pytest.approx(math.sqrt(divergence))
    p, q = (50.5 / 101, 50.5 / 101), (25.5 / 101, 75.5 / 101)
    assert found.psi == pytest.approx(sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True)))
    assert (found.bins, found.missing, found.verdict) == (2, (0.0, 0.0), "shifted")


def test_the_same_counts_are_no_drift_and_disjoint_ones_are_the_most() -> None:
    same = distances(np.array([5, 7, 1]), np.array([10, 14, 2]))
    assert same is not None
    assert (same.jensen_shannon, same.total_variation, same.verdict) == (0.0, 0.0, "stable")
    assert same.psi == pytest.approx(0.0, abs=0.01)
    apart = distances(np.array([10_000, 0]), np.array([0, 10_000]))
    assert apart is not None
    assert (apart.jensen_shannon, apart.total_variation) == (1.0, 1.0)
    assert apart.missing == (0.0, 1.0)
    assert distances(np.array([0, 0]), np.array([1, 0])) is None


def test_numbers_are_cut_at_deciles_with_missing_values_and_nan_apart() -> None:
    bins = bins_of(pa.array([float(n) for n in range(1, 101)] + [None, math.nan]))
    assert bins.names == 10 + 2
    assert bins.count(pa.array([-1e300, 10.0, 10.5, 91.0, math.inf, math.nan, None, None])).tolist() == [
        2, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2,
    ]  # fmt: skip
    constant = bins_of(pa.array([3, 3, 3]))
    assert constant.count(pa.array([2, 3, 4, None])).tolist() == [2, 1, 0, 1]
    assert bins_of(pa.array([None, None], pa.int64())).count(pa.array([1, None])).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "values",
    [
        [dt.date(2017, 1, 1), dt.date(2017, 6, 1), None],
        [dt.datetime(2017, 1, 1), dt.datetime(2017, 6, 1), None],
        [Decimal("1.10"), Decimal("99.95"), None],
    ],
)
def test_days_moments_and_decimals_are_ordered(values: list[Any]) -> None:
    bins = bins_of(pa.array(values))
    assert bins.count(pa.array(values)).tolist() == [1, 1, 0, 0, 1]


def test_texts_are_counted_by_their_frequent_values() -> None:
    bins = bins_of(pa.array(["b"] * 3 + ["a"] * 2 + [None]))
    assert bins.count(pa.array(["a", "c", "b", "d", None])).tolist() == [1, 1, 2, 1]
    many = bins_of(pa.array([f"{n:03d}" for n in range(60)]))
    assert many.names == 52


def test_a_sample_is_uniform_bounded_and_repeatable() -> None:
    def taken(batches: int) -> list[int]:
        sample = Sample(size=500)
        for batch in range(batches):
            sample.add(pa.array(range(batch * 1_000, (batch + 1) * 1_000)))
        return list(sample.values().to_pylist())

    found = taken(20)
    assert (len(found), len(set(found))) == (500, 500)
    assert found == taken(20)
    counts, _ = np.histogram(found, bins=10, range=(0, 20_000))
    assert counts.min() > 25  # 50 expected; 25 is 3.7 standard deviations below
    assert len(taken(0)) == 0


def test_versions_are_compared_column_by_column(house: Any) -> None:
    def table(shift: float, **more: list[Any]) -> pa.Table:
        rows = range(2_000)
        return pa.table(
            {
                "store_id": [n % 7 for n in rows],
                "value": [float(n % 100) + shift for n in rows],
                "age": [("under 35", "35-54", "55+")[n % 3] for n in rows],
                "day": pa.array([dt.date(2017, 1, 1)] * 2_000),
                **more,
            }
        )

    house.publish("baskets_a", table(0.0, has_meat=[True] * 2_000))
    house.publish("baskets_a", table(30.0, hour=[None] * 2_000, price=["1"] * 2_000), types={"store_id": "string"})
    lake = connect(house.home)
    first, second = lake.dataset("baskets_a@1"), lake.dataset("baskets_a@2")
    found = {difference.column: difference for difference in compare(first, second)}
    assert {name: difference.change for name, difference in found.items()} == {
        "store_id": "type changed",
        "value": "type changed",
        "age": "same",
        "day": "type changed",
        "has_meat": "removed",
        "hour": "added",
        "price": "added",
    }
    again = {difference.column: difference for difference in compare(first, first)}
    assert {difference.distances.verdict for difference in again.values() if difference.distances} == {"stable"}
    house.publish("baskets_a", table(30.0))
    moved = {d.column: d.distances for d in compare(first, lake.dataset("baskets_a@3"))}
    assert moved["age"] is not None
    assert moved["value"] is not None
    assert (moved["age"].verdict, moved["value"].verdict) == ("stable", "shifted")
    assert moved["value"].total_variation == pytest.approx(0.3, abs=0.02)
    assert moved["has_meat"] is None
    assert json_ready(found["hour"].as_dict())


def json_ready(value: dict[str, Any]) -> bool:
    return all(item is None or isinstance(item, str | int | float) for item in value.values())


def test_versions_without_rows_have_no_distances(house: Any) -> None:
    empty = pa.table({"store_id": pa.array([], pa.int64()), "age": pa.array([], pa.string())})
    house.publish("empty_synthetic", empty, parts=1)
    dataset = connect(house.home).dataset("empty_synthetic")
    assert [(d.change, d.distances) for d in compare(dataset, dataset)] == [("same", None), ("same", None)]
