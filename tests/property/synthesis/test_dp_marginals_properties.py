"""The bounds behind the guarantee hold for any rows: removing one unit moves nothing further than it is said to."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.synthesis.cells import cells
from cloakhouse.synthesis.dp_marginals.bounding import ONE, clipped_sums, norms, row_weights, weight_of_norm
from cloakhouse.synthesis.dp_marginals.domains import declared, numbers
from cloakhouse.synthesis.dp_marginals.estimate import fitted, raked, simplex
from cloakhouse.synthesis.dp_marginals.sampler import Alias
from cloakhouse.synthesis.dp_marginals.scores import dependence
from cloakhouse.synthesis.protocol import ViewColumn

CELLS = 5
ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, CELLS - 1), st.integers(1, 60)), min_size=1, max_size=25)


def repeated(rows: list[tuple[int, int, int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return unit and cell of each row, sorted by unit, from (unit, cell, how often)."""
    table = np.array(sorted(rows))
    return np.repeat(table[:, 0], table[:, 2]), np.repeat(table[:, 1], table[:, 2])


@settings(max_examples=120, deadline=None)
@given(ROWS, st.integers(1, 90))
def test_a_unit_moves_a_clipped_sum_by_the_clip_norm_at_most(rows: list[tuple[int, int, int]], cap: int) -> None:
    unit, code = repeated(rows)
    candidates = norms(cap)
    whole = clipped_sums(unit, 7, code, CELLS, candidates)
    left = clipped_sums(unit[unit != unit[0]], 7, code[unit != unit[0]], CELLS, candidates)
    for at, clip in enumerate(candidates.tolist()):
        moved = (whole.clipped(candidates, at) - left.clipped(candidates, at)).astype(object)
        assert (moved >= 0).all()
        assert int((moved**2).sum()) <= (clip * ONE) ** 2
    assert int(whole.units.sum() - left.units.sum()) == 1


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_a_unit_within_the_norm_counts_in_full(rows: list[tuple[int, int, int]]) -> None:
    unit, code = repeated(rows)
    candidates = norms(3000)
    exact = np.bincount(code, minlength=CELLS) * ONE
    assert (clipped_sums(unit, 7, code, CELLS, candidates).clipped(candidates, len(candidates) - 1) == exact).all()


def test_many_units_of_few_rows_are_counted_the_same_way() -> None:
    draw = np.random.default_rng(3)
    unit, code = np.sort(draw.integers(0, 40_000, 50_000)), draw.integers(0, 300, 50_000)
    candidates = norms(20)
    sparse = clipped_sums(unit, 40_000, code, 300, candidates).clipped(candidates, len(candidates) - 1)
    assert (sparse == np.bincount(code, minlength=300) * ONE).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**12))
def test_a_weight_is_the_largest_one_that_keeps_the_norm(squared: int) -> None:
    weight = int(weight_of_norm(np.array([squared]))[0])
    assert weight**2 * squared <= ONE**2 < (weight + 1) ** 2 * squared or squared == 1


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.integers(1, 40))
def test_weights_of_a_unit_sum_to_the_cap_at_most(units: list[int], cap: int) -> None:
    unit = np.array(sorted(units))
    total = np.bincount(unit, row_weights(unit, 6, cap), minlength=6)
    assert (total <= cap * ONE).all()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=12, max_size=12),
    st.lists(st.floats(0, 1), min_size=12, max_size=12).filter(lambda shares: sum(shares) > 0.01),
)
def test_a_unit_moves_a_score_by_four_times_its_weight_at_most(counts: list[int], shares: list[float]) -> None:
    before = np.array(counts, np.int64).reshape(3, 2, 2) * ONE
    added = np.floor(np.array(shares) / sum(shares) * ONE).astype(np.int64).reshape(3, 2, 2)
    one, other = dependence(before + added, 1, 0.1), dependence(before, 1, 0.1)
    assert abs(one.value - other.value) <= one.sensitivity == 4 * ONE + 20


@settings(max_examples=100, deadline=None)
@given(st.floats(0.02, 50_000), st.booleans(), st.integers(0, 2**20))
def test_a_number_decodes_into_its_own_cell(maximum: float, whole: bool, seed: int) -> None:
    domain = numbers("n", "int64" if whole else "double", maximum, nullable=True)
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, domain.size, 200)
    values = domain.decode(codes, draw)
    assert (domain.encode(values) == codes).all()
    known = values.drop_null().to_numpy(zero_copy_only=False)
    assert len(known) == 0 or (known.min() >= 0 and known.max() <= maximum + 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=30))
def test_a_value_keeps_its_cell_and_others_are_missing(values: list[int | None]) -> None:
    domain = declared(ViewColumn("v", pa.int64(), True, None), (-1, 3, None, 4, 3))
    codes = domain.encode(pa.array(values, pa.int64()))
    expected = [v if v in (-1, 3, 4) else None for v in values]
    assert domain.decode(codes, np.random.default_rng(1)).to_pylist() == expected


@settings(max_examples=80, deadline=None)
@given(st.floats(1.0, 1e6), st.floats(1.02, 2.0))
def test_cells_rise_and_cover_the_range(maximum: float, growth: float) -> None:
    edges = cells(maximum, growth)
    assert all(a < b for a, b in pairwise(edges))
    assert (edges[0], edges[-1]) == (-0.5, maximum + 0.5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-50, 100), min_size=12, max_size=12), st.floats(0.1, 20))
def test_an_estimate_is_a_distribution_with_its_margins(noisy: list[float], scale: float) -> None:
    rows, columns = simplex(np.array(noisy[:3])), simplex(np.array(noisy[3:7]))
    table = fitted(np.array(noisy).reshape(3, 4), np.outer(rows, columns), scale, rows, columns)
    assert (table >= 0).all()
    assert np.allclose([rows.sum(), columns.sum(), table.sum()], 1)
    assert np.allclose(table.sum(axis=0), columns, atol=1e-6)
    assert np.allclose(raked(table, rows, columns), table, atol=1e-2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=6, max_size=6).filter(lambda found: sum(found[:3]) * sum(found[3:]) > 0))
def test_alias_tables_have_exactly_the_shares(counts: list[int]) -> None:
    table = np.array(counts, np.float64).reshape(2, 3)
    shares = table / table.sum(axis=1, keepdims=True)
    keep, other = Alias(shares).tables
    found = np.zeros(6)
    for at in range(6):
        found[at] += keep[at] / 3
        found[at - at % 3 + other[at]] += (1 - keep[at]) / 3
    assert np.allclose(found, shares.ravel())
