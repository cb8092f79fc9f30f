from __future__ import annotations

import json
from collections import Counter
from itertools import product

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.quality.utility.auc import auc
from cloakhouse.quality.utility.columns import UtilityColumn, edges, encode
from cloakhouse.quality.utility.correlations import correlations
from cloakhouse.quality.utility.marginals import marginals
from cloakhouse.quality.utility.segments import segmented

ROW = st.tuples(st.sampled_from(["a", "b", "other", None]), st.none() | st.floats(-5, 12), st.booleans())
ROWS = st.lists(ROW, min_size=1, max_size=30)
COLUMNS = (
    UtilityColumn("c", True, values=("a", "b")),
    UtilityColumn("n", False, 10.0),
    UtilityColumn("f", True),
)


def as_table(rows: list[tuple[object, ...]]) -> pa.Table:
    c, n, f = zip(*rows, strict=True)
    return pa.table({"c": pa.array(c, pa.string()), "n": pa.array(n, pa.float64()), "f": pa.array(f, pa.bool_())})


@settings(max_examples=60)
@given(synthetic=ROWS, training=ROWS, holdout=ROWS)
def test_distances_agree_with_counting_in_python(
    synthetic: list[tuple[object, ...]], training: list[tuple[object, ...]], holdout: list[tuple[object, ...]]
) -> None:
    cells = encode((as_table(synthetic), as_table(training), as_table(holdout)), COLUMNS)
    shares = []
    for side in range(3):
        rows = list(zip(*(column.codes[side].tolist() for column in cells), strict=True))
        shares.append({row: count / len(rows) for row, count in Counter(rows).items()})
    three = marginals(cells, seed=1)[2]
    known = set().union(*shares)
    gaps = [sum(abs(shares[at].get(row, 0) - shares[1].get(row, 0)) for row in known) / 2 for at in (0, 2)]
    assert three.mean is not None
    assert np.allclose([three.mean, three.holdout_mean], gaps)


@settings(max_examples=60)
@given(synthetic=ROWS, training=ROWS, factor=st.integers(1, 60))
def test_figures_are_finite_in_range_zero_for_copies_and_independent_of_order(
    synthetic: list[tuple[object, ...]], training: list[tuple[object, ...]], factor: int
) -> None:
    tables = as_table(synthetic), as_table(training * factor), as_table(training[::-1])
    cells = encode(tables, COLUMNS)
    for found in marginals(cells, seed=2):
        assert found.holdout_mean is not None
        assert abs(found.holdout_mean) < 1e-12
        assert found.mean is not None
        assert found.worst is not None
        assert 0 <= found.mean <= found.worst + 1e-12 <= 1 + 2e-12
    errors = correlations(cells)
    assert errors.error is not None
    assert 0 <= errors.error <= 2
    groups = segmented(cells, cells[0], (), seed=2)
    assert json.dumps([errors.as_dict(), groups.as_dict()], allow_nan=False)
    for group in (*groups.groups, *([groups.small] if groups.small else [])):
        assert group.tvd is None or 0 <= group.tvd <= 1 + 1e-12


@given(rows=st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), max_size=14))
def test_auc_agrees_with_all_pairs(rows: list[tuple[bool, int, int]]) -> None:
    pairs = [(a, b) for a, b in product(rows, rows) if a[0] and not b[0]]
    weight = sum(a[2] * b[2] for a, b in pairs)
    won = sum(a[2] * b[2] * ((a[1] > b[1]) + (a[1] == b[1]) / 2) for a, b in pairs)
    columns = [np.array([row[at] for row in rows], kind) for at, kind in enumerate((bool, float, float))]
    found = auc(columns[0], columns[1], columns[2])
    assert (found is None) == (weight == 0)
    assert found is None or abs(found - won / weight) < 1e-9


@given(maximum=st.floats(0.0101, 1e12))
def test_cells_rise_and_keep_zero_and_the_maximum_apart(maximum: float) -> None:
    inner = edges(maximum)
    assert (np.diff(inner) > 0).all()
    assert len(inner) <= 19
    assert np.searchsorted(inner, [0.0, maximum], "right").tolist() == [0, len(inner)]
