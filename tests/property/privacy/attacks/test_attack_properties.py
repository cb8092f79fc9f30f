from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.privacy.attacks import AttackColumn
from cloakhouse.privacy.attacks.bounds import Share, excess, risk, share
from cloakhouse.privacy.attacks.encoding import distance, encode, nearest
from cloakhouse.privacy.attacks.near import NEAR, count_near, places
from cloakhouse.privacy.attacks.sampling import folds, generator
from cloakhouse.privacy.diversity import entropy_l_diversity, l_diversity, t_closeness

COLUMNS = (AttackColumn("kind", True, None), AttackColumn("size", False, 50.0))
CELLS = st.tuples(st.sampled_from(["a", "b", None]), st.one_of(st.none(), st.floats(0, 50)))
ROWS = st.lists(CELLS, min_size=1, max_size=20)
SHARES = st.builds(Share, st.floats(0, 1), st.floats(1, 1e5))


def table(rows: list[tuple[object, object]]) -> pa.Table:
    kind, size = zip(*rows, strict=True)
    return pa.table({"kind": pa.array(kind, pa.string()), "size": pa.array(size, pa.float64())})


@settings(max_examples=60)
@given(left=ROWS, right=ROWS)
def test_the_nearest_of_few_categories_is_the_nearest(
    left: list[tuple[object, object]], right: list[tuple[object, object]]
) -> None:
    points, among = encode([table(left), table(right)], COLUMNS).parts
    _, gaps = nearest(points, among)
    every = [distance(points.take(np.full(len(right), at)), among).min() for at in range(len(left))]
    assert np.allclose(gaps, every, atol=2e-3)


@settings(max_examples=60)
@given(left=ROWS, right=ROWS)
def test_near_rows_are_counted_as_by_hand(
    left: list[tuple[object, object]], right: list[tuple[object, object]]
) -> None:
    def apart(one: tuple[object, object], two: tuple[object, object]) -> float:
        if one[0] != two[0] or (one[1] is None) != (two[1] is None):
            return 9.0
        return 0.0 if one[1] is None else abs(np.log1p(one[1]) - np.log1p(two[1]))  # type: ignore[call-overload]

    points, among = places(encode([table(left), table(right)], COLUMNS))
    found = count_near(among.tree(), points)
    for count, row in zip(found, left, strict=True):
        gaps = [apart(row, other) for other in right]
        assert sum(gap < NEAR - 1e-4 for gap in gaps) <= count <= sum(gap < NEAR + 1e-4 for gap in gaps)


@given(training=SHARES, holdout=SHARES)
def test_bounds_lie_above_estimates_and_within_one(training: Share, holdout: Share) -> None:
    for found in (excess(training, holdout), risk(training, holdout)):
        assert -2 <= found.value <= found.bound + 1e-12
        assert found.bound <= 1
    assert training.low <= training.value + 1e-12
    assert training.high >= training.value - 1e-12


@given(marks=st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=60))
def test_a_share_is_worth_no_more_than_its_rows(marks: list[tuple[bool, int]]) -> None:
    success, units = (np.array(values) for values in zip(*marks, strict=True))
    found = share(success.astype(bool), units.astype(np.int64))
    assert found.value == np.mean(success)
    assert 0 < found.size <= len(marks)


@given(mine=st.integers(1, 30), theirs=st.integers(4, 30), seed=st.integers(0, 99))
def test_folds_attack_each_row_once_without_its_household_as_reference(mine: int, theirs: int, seed: int) -> None:
    owners, others = np.arange(mine * 2) % mine, np.arange(theirs * 2) % theirs
    plan = list(folds(owners, others, generator(seed)))
    assert sorted(row for left, _, _ in plan for row in left) == list(range(mine * 2))
    assert sorted(row for _, right, _ in plan for row in right) == list(range(theirs * 2))
    for _, right, reference in plan:
        assert not set(others[right]) & set(others[reference])


@given(rows=ROWS)
def test_diversity_measures_agree(rows: list[tuple[object, object]]) -> None:
    whole = table(rows)
    distinct = l_diversity(whole, ["kind"], "size")
    assert 1 <= entropy_l_diversity(whole, ["kind"], "size") <= distinct + 1e-9
    equal, ordered = (t_closeness(whole, ["kind"], "size", ordered=how) for how in (False, True))
    assert 0 <= ordered <= equal + 1e-9 <= 1 + 2e-9  # ranks are at most one apart
    assert t_closeness(whole.set_column(0, "kind", pa.array([1] * len(rows))), ["kind"], "size") < 1e-12
