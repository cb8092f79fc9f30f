"""Every query that is counted, on random small views: without any one unit, it moves no further than it is charged for.

The views have ties, nulls, both zeros, values outside of their domain, and units far above the cap, in two shards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.marginals import tokens

from cloakhouse.contracts.model import Level
from cloakhouse.synthesis.dp_marginals.arrays import Arrays
from cloakhouse.synthesis.dp_marginals.bounding import ONE, Sums, norms
from cloakhouse.synthesis.dp_marginals.counting import (
    Binned,
    Cliques,
    Marginal,
    Pairs,
    Singles,
    added,
    pairs_of,
    scored,
)
from cloakhouse.synthesis.dp_marginals.domains import Domain, declared, numbers
from cloakhouse.synthesis.dp_marginals.records import Layer
from cloakhouse.synthesis.dp_marginals.scores import Score, against, dependence
from cloakhouse.synthesis.dp_marginals.survey import MOST_CATEGORIES, Survey, categories, sizes
from cloakhouse.synthesis.protocol import ViewColumn

UNITS = 4
FLAT = (Layer(Level.ROW, ("n", "c", "v"), (), None),)
DEEP = (
    Layer(Level.UNIT, ("v", "#groups"), (), "#groups"),
    Layer(Level.GROUP, ("c", "#rows"), ("v", "#groups"), "#rows"),
    Layer(Level.ROW, ("n",), ("v", "#groups", "c", "#rows"), None),
)
CAPS = {Level.UNIT: 1, Level.GROUP: 3, Level.ROW: 5}
DOMAINS: dict[str, Domain] = {
    "n": numbers("n", "double", 3.0, nullable=True),
    "c": declared(ViewColumn("c", pa.string(), True, None), ("a", "b")),
    "v": declared(ViewColumn("v", pa.int64(), True, None), (0, 1)),
    "#groups": numbers("#groups", "int64", 3.0, nullable=False),
    "#rows": numbers("#rows", "int64", 5.0, nullable=False),
}
NUMBERS = [0.0, -0.0, 1.5, 3.0, 9.0, -1.0, math.nan, math.inf, None]
ROW = st.tuples(
    st.integers(0, UNITS - 1),
    st.integers(0, 2),
    st.sampled_from(NUMBERS),
    st.sampled_from(["a", "b", "c", "d", "e", None]),
    st.sampled_from([0, 1, 2, None]),
    st.integers(1, 9),
)
HELD = st.lists(  # of each unit: many values of one row each, so that ties decide
    st.lists(st.tuples(st.sampled_from([*"abcde", None]), st.sampled_from(NUMBERS)), min_size=1, max_size=7),
    min_size=1,
    max_size=UNITS,
)
VIEWS = st.lists(ROW, min_size=1, max_size=14)
Views = list[tuple[int, int, float | None, str | None, int | None, int]]


def tables(rows: Views, without: int | None) -> list[pa.Table]:
    """Return two shards of whole units, the rows of a unit together: each row as often as its last field says."""
    found = []
    for shard in (0, 1):
        kept = [r for unit in range(UNITS) if unit % 2 == shard and unit != without for r in rows if r[0] == unit]
        long = sorted((r for r in kept for _ in range(r[5])), key=lambda r: r[:2])
        unit, group, n, c, v, _ = zip(*long, strict=True) if long else ((),) * 6
        columns = {"n": pa.array(n, pa.float64()), "c": pa.array(c, pa.string()), "v": pa.array(v, pa.int64())}
        ends = {"__unit": tokens(unit), "__group": tokens(10 * u + g for u, g in zip(unit, group, strict=True))}
        found.append(pa.table({**columns, **ends}))
    return found


def neighbours(rows: Views, count: Callable[[list[pa.Table]], Any]) -> list[tuple[Any, Any]]:
    """Return `count` of the view and of the view without each of its units."""
    whole = count(tables(rows, None))
    return [(whole, count(tables(rows, unit))) for unit in {row[0] for row in rows}]


def mapped(task: Callable[[pa.Table], bytes], shards: list[pa.Table]) -> list[bytes]:
    """Return `task` of every shard."""
    return [task(shard) for shard in shards]


def answers(task: Callable[[pa.Table], bytes], shards: list[pa.Table]) -> Arrays:
    """Return the sums over `shards`."""
    return added(mapped(task, shards))


def binned(layers: tuple[Layer, ...]) -> dict[Level, Binned]:
    """Return every cell as its own bin, two cells to a wide one."""
    return {
        layer.level: Binned(
            layer,
            CAPS[layer.level],
            {name: np.arange(DOMAINS[name].size) for name in layer.columns},
            {name: np.arange(DOMAINS[name].size) // 2 for name in layer.columns},
        )
        for layer in layers
    }


def supported(found: list[bytes], name: str) -> dict[Any, int]:
    """Return how many units support each value of a column."""
    values, units = categories(found, name)
    return dict(zip(values.to_pylist(), units.tolist(), strict=True))


def within_clip(before: Arrays, after: Arrays, name: str, cap: int) -> None:
    """Assert the bound of every clip norm, and that a unit has one norm."""
    candidates = norms(cap)
    whole, left = (Sums(*(a[f"{name}/{f}"] for f in ("units", "inside", "beyond"))) for a in (before, after))
    assert np.abs(whole.units - left.units).sum() == 1
    for at, clip in enumerate(candidates.tolist()):
        moved = (whole.clipped(candidates, at) - left.clipped(candidates, at)).astype(object)
        assert int((moved**2).sum()) <= (clip * ONE) ** 2


def bounded(scores: list[Score], claim: float) -> None:
    """Assert that neighbours' scores are charged alike, as claimed, and move no further than that."""
    one, other = scores
    assert one.sensitivity == other.sensitivity <= claim
    assert abs(one.value - other.value) <= one.sensitivity


@settings(max_examples=100, deadline=None)
@given(HELD)
def test_surveys(held: list[list[tuple[str | None, float | None]]]) -> None:
    rows: Views = [(unit, at % 3, n, c, at % 2, 1) for unit, all_ in enumerate(held) for at, (c, n) in enumerate(all_)]
    for layers, level in ((FLAT, Level.ROW), (DEEP, Level.GROUP)):
        task = Survey(layers, tuple((name, level) for name in ("n", "c", "v")))
        for before, after in neighbours(rows, partial(mapped, task)):
            whole, left = sizes(before), sizes(after)
            assert whole.keys() == left.keys()
            assert all(np.abs(whole[name] - left[name]).sum() == 1 for name in whole)
            for name in ("n", "c", "v"):
                one, other = (supported(found, name) for found in (before, after))
                moved = [abs(one.get(key, 0) - other.get(key, 0)) for key in {*one, *other}]
                assert max(moved, default=0) <= 1
                assert sum(moved) <= MOST_CATEGORIES


@settings(max_examples=30, deadline=None)
@given(VIEWS)
def test_sums_and_totals(rows: Views) -> None:
    for layers in (FLAT, DEEP):
        task = Singles(layers, DOMAINS, CAPS)
        for before, after in neighbours(rows, partial(answers, task)):
            for layer in layers:
                level, cap = layer.level, CAPS[layer.level]
                bounds = {"units": 1, "records": cap, "weight": scored(cap) * ONE}
                for kind, bound in bounds.items():
                    assert 0 < before[f"{level}/{kind}"][0] - after[f"{level}/{kind}"][0] <= bound
                for name in layer.columns:
                    within_clip(before, after, f"{level}/{name}", cap)


@settings(max_examples=30, deadline=None)
@given(VIEWS)
def test_scores_of_pairs(rows: Views) -> None:
    for layers in (FLAT, DEEP):
        task = Pairs(layers, DOMAINS, binned(layers))
        for before, after in neighbours(rows, partial(answers, task)):
            for layer in layers:
                for marginal in pairs_of(layer):
                    tables_ = [found[f"{layer.level}/{marginal.name}"] for found in (before, after)]
                    weight = scored(CAPS[layer.level])
                    assert np.abs(tables_[0] - tables_[1]).sum() <= weight * ONE
                    base = np.full(tables_[0].shape, 11.3 / tables_[0].size)
                    bounded([against(table, base, weight, 0.7) for table in tables_], weight * ONE)
                    bounded([dependence(table[:, None, :], weight, 0.7) for table in tables_], 4.01 * weight * ONE)


@settings(max_examples=20, deadline=None)
@given(VIEWS)
def test_cliques(rows: Views) -> None:
    for layers in (FLAT, DEEP):
        known = binned(layers)
        wanted = {
            layer.level: tuple(Marginal(c, thinned=True) for c in list(combinations(layer.columns, 3))[:3])
            for layer in layers
        }
        task = Cliques(layers, DOMAINS, known, {layer.level: () for layer in layers}, wanted)
        for before, after in neighbours(rows, partial(answers, task)):
            for layer in layers:
                for marginal in wanted[layer.level]:
                    name, cap = f"{layer.level}/{marginal.name}", CAPS[layer.level]
                    within_clip(before, after, name, cap)
                    shape = known[layer.level].shape(marginal)
                    cubes = [found[f"{name}/weighted"].reshape(shape) for found in (before, after)]
                    assert np.abs(cubes[0] - cubes[1]).sum() <= scored(cap) * ONE
                    bounded([dependence(cube, scored(cap), 0.7) for cube in cubes], 4.01 * scored(cap) * ONE)
