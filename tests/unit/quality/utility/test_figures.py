"""Marginals, correlations and segments, on tables small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.quality.utility import marginals as module
from cloakhouse.quality.utility.columns import Cells, UtilityColumn, encode
from cloakhouse.quality.utility.correlations import correlations, cramers_v, pearson
from cloakhouse.quality.utility.marginals import distance, marginals, subsets
from cloakhouse.quality.utility.segments import segmented

AB = UtilityColumn("a", True, values=("x", "y")), UtilityColumn("b", True, values=("x", "y"))


def table(**columns: object) -> pa.Table:
    return pa.table(columns)


def pairs(synthetic: str, training: str, holdout: str) -> tuple[Cells, ...]:
    """Return columns a and b of rows written like `xy yx`."""
    sides = [
        table(a=[r[0] for r in rows.split()], b=[r[1] for r in rows.split()]) for rows in (synthetic, training, holdout)
    ]
    return encode((sides[0], sides[1], sides[2]), AB)


def test_distances_by_hand() -> None:
    one, two, three = marginals(pairs("xx xx yy yy", "xx xy yx yy", "xx xx xy yx yy yy"), seed=1)
    assert (one.order, one.tested, one.mean, one.worst, one.holdout_mean) == (1, 2, 0.0, 0.0, 0.0)
    assert (two.tested, two.mean, two.worst, two.worst_columns) == (1, 0.5, 0.5, ("a", "b"))
    assert two.holdout_at_worst == pytest.approx(1 / 6)
    assert (three.tested, three.mean, three.worst_columns) == (0, None, ())
    assert two.as_dict()["worst_columns"] == ["a", "b"]


def test_the_worst_column_is_named_beside_the_hold_out_there() -> None:
    (one, *_) = marginals(pairs("xx xx", "xy xy", "xx xy"), seed=1)
    assert (one.mean, one.worst, one.worst_columns, one.holdout_at_worst) == (0.5, 1.0, ("b",), 0.5)
    assert one.holdout_mean == 0.25


def test_counting_only_what_occurs_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = pairs("xx xy xx", "xx xy yx yy", "yy yx")
    groups = [segmented(columns, columns[0], (), seed=1)]
    dense, errors = marginals(columns, seed=1), correlations(columns)
    monkeypatch.setattr(module, "DENSE", 0)
    assert marginals(columns, seed=1) == dense
    assert [segmented(columns, columns[0], (), seed=1)] == groups
    assert correlations(columns) == errors


def test_triples_are_chosen_by_the_seed_and_bounded() -> None:
    few = subsets(20, 3, 60, seed=4)
    assert len(set(few)) == 60
    assert all(a < b < c < 20 for a, b, c in few)
    assert few == subsets(20, 3, 60, seed=4) != subsets(20, 3, 60, seed=5)
    assert subsets(3, 2, 60, seed=4) == [(0, 1), (0, 2), (1, 2)]
    assert subsets(2, 3, 60, seed=4) == []


def test_distance_is_one_for_disjoint_and_zero_for_equal_shares() -> None:
    assert distance(np.array([0, 0]), np.array([1]), 2) == 1.0
    assert distance(np.array([0, 1, 0, 1]), np.array([1, 0]), 2) == 0.0


def test_pearson_leaves_out_what_is_missing_and_survives_large_numbers() -> None:
    nan = float("nan")
    assert pearson(np.array([1.0, 2.0, 3.0, nan]), np.array([2.0, 4.0, 6.0, 0.0])) == pytest.approx(1.0)
    assert pearson(np.array([1e308, -1e308]), np.array([-1.0, 1.0])) == pytest.approx(-1.0)
    assert pearson(np.array([1.0, 1.0]), np.array([1.0, 2.0])) == 0.0
    assert pearson(np.array([nan]), np.array([1.0])) == 0.0


def test_cramers_v_is_one_for_copies_and_zero_for_independence_and_constants() -> None:
    left = np.repeat(np.arange(4), 100)
    right = np.tile(np.arange(4), 100)
    assert cramers_v(left * 4 + left, 16, left, left) == pytest.approx(1.0)
    assert cramers_v(left * 4 + right, 16, left, right) == 0.0
    assert cramers_v(left * 4, 16, left, np.zeros(400, np.int64)) == 0.0
    plain = np.array([0] * 30 + [1] * 10 + [0] * 10 + [1] * 30)
    groups = np.repeat([0, 1], 40)  # chi-square 20 of 80 rows: phi^2 0.25, less 1/79, over 2 - 1/79 - 1
    assert cramers_v(groups * 2 + plain, 4, groups, plain) == pytest.approx(((0.25 - 1 / 79) / (1 - 1 / 79)) ** 0.5)


def test_a_synthetic_column_that_lost_its_spread_shows_in_the_correlations() -> None:
    numbers = np.arange(100.0)
    training = table(n=numbers, m=numbers, c=["x", "y"] * 50)
    synthetic = table(n=np.zeros(100), m=numbers, c=["x", "y"] * 50)
    columns = [UtilityColumn("n", False, 100.0), UtilityColumn("m", False, 100.0), UtilityColumn("c", True)]
    found = correlations(encode((synthetic, training, training), columns))
    assert (found.pearson_pairs, found.other_pairs) == (1, 2)
    assert found.pearson_error == pytest.approx(1.0)
    assert (found.holdout_error, found.holdout_pearson_error, found.holdout_other_error) == (0.0, 0.0, 0.0)
    one = correlations(encode((training, training, training), columns[:1]))
    assert (one.error, one.pearson_error, one.as_dict()["other_pairs"]) == (None, None, 0)


def grouped(values: tuple[str, ...] | None, synthetic: dict[str, int], real: dict[str, int]):  # type: ignore[no-untyped-def]
    """Return segments by `g` of rows whose column v is 0 in synthetic rows of group b and 1 everywhere else."""

    def rows(counts: dict[str, int], broken: bool) -> pa.Table:
        names = [name for name, count in counts.items() for _ in range(count)]
        return table(g=names, v=[0 if broken and name == "b" else 1 for name in names], w=[1] * len(names))

    columns = [UtilityColumn("g", True, values=values), UtilityColumn("v", False, 3.0), UtilityColumn("w", False, 3.0)]
    cells = encode((rows(synthetic, True), rows(real, False), rows(real, False)), columns)
    return segmented(cells, cells[0], (), seed=1)


def test_a_loss_of_the_smallest_group_comes_first() -> None:
    found = grouped(("a", "b"), {"a": 300, "b": 10}, {"a": 500, "b": 50})
    assert [(g.label, g.holdout_rows, g.tvd, g.pair_tvd, g.holdout_tvd) for g in found.groups] == [
        ("b", 50, 0.5, 1.0, 0.0),
        ("a", 500, 0.0, 0.0, 0.0),
    ]
    assert (found.small_groups, found.small, found.left_out) == (0, None, 0)
    assert (found.worst_tvd, found.worst_excess) == (0.5, 0.5)
    assert found.groups[0].synthetic_share == pytest.approx(10 / 310)
    assert found.groups[0].training_share == pytest.approx(50 / 550)


def test_a_group_without_synthetic_rows_is_lost_whole() -> None:
    found = grouped(("a", "b"), {"a": 300}, {"a": 500, "b": 50})
    assert (found.groups[0].label, found.groups[0].tvd, found.groups[0].holdout_tvd) == ("b", 1.0, 0.0)


def test_small_groups_are_measured_together_and_only_if_they_are_enough() -> None:
    few = {f"s{i}": 10 for i in range(3)}
    found = grouped(None, {"a": 60, **few}, {"a": 60, **few})
    assert (len(found.groups), found.small_groups) == (1, 3)
    assert found.groups[0].label is None
    assert found.small is not None
    assert (found.small.label, found.small.holdout_rows, found.small.tvd) == (None, 30, None)
    more = {f"s{i}": 10 for i in range(5)}
    enough = grouped(tuple(more), {"a": 60, **more}, {"a": 60, **more})
    assert enough.small is not None
    assert (enough.small_groups, enough.small.label, enough.small.holdout_rows, enough.small.tvd) == (5, None, 50, 0.0)


def test_only_so_many_groups_are_listed_and_the_worst_is_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloakhouse.quality.utility.segments.MOST_LISTED", 1)
    found = grouped(("a", "b"), {"a": 60, "b": 70}, {"a": 60, "b": 70})
    assert ([g.label for g in found.groups], found.left_out, found.worst_tvd) == (["a"], 1, 0.5)
    assert found.as_dict()["groups"][0]["holdout_rows"] == 60


def test_a_column_alone_has_segments_without_distances() -> None:
    names = table(g=["a"] * 60)
    cells = encode((names, names, names), [UtilityColumn("g", True)])
    found = segmented(cells, cells[0], (), seed=1)
    assert (found.groups[0].tvd, found.worst_tvd, found.worst_losses) == (None, None, {})
