"""Parts of the engine by themselves: bins, shrinkage, choices, conditional tables, categories a unit holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.support.marginals import tokens

from cloakhouse.contracts.model import Level
from cloakhouse.errors import StageError
from cloakhouse.synthesis.dp_marginals.bins import coarse, grouped
from cloakhouse.synthesis.dp_marginals.bounding import ONE
from cloakhouse.synthesis.dp_marginals.counting import added
from cloakhouse.synthesis.dp_marginals.domains import Domain, numbers
from cloakhouse.synthesis.dp_marginals.estimate import fitted, raked, shares, shrunk, simplex
from cloakhouse.synthesis.dp_marginals.network import known
from cloakhouse.synthesis.dp_marginals.records import Layer
from cloakhouse.synthesis.dp_marginals.release import quantile_for
from cloakhouse.synthesis.dp_marginals.sampler import Alias
from cloakhouse.synthesis.dp_marginals.scores import Score, against, dependence
from cloakhouse.synthesis.dp_marginals.selection import Edge, cliques, rounds, tree, wider
from cloakhouse.synthesis.dp_marginals.spending import Purse
from cloakhouse.synthesis.dp_marginals.survey import Survey, caps, categories, sizes

SURE = 40.0  # rho so large that the best candidate wins but for one time in 10^8


def test_neighbouring_cells_share_a_bin_of_even_mass() -> None:
    domain = numbers("n", "int64", 8.0, nullable=True)
    found = coarse(domain, np.array([0.5, *[0.0625] * 8, 0.0]), 3)
    assert found.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_the_largest_categories_have_bins_of_their_own() -> None:
    domain = Domain("c", "string", True, "declared", values=tuple("abcde"))
    assert coarse(domain, np.array([0.1, 0.4, 0.05, 0.3, 0.05, 0.1]), 3).tolist() == [2, 0, 2, 1, 2, 3]
    assert coarse(domain, np.zeros(6), 8).tolist() == [0, 1, 2, 3, 4, 5]
    assert grouped(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.7])).tolist() == pytest.approx([0.3, 0.7])


def test_no_cell_above_the_noise_gives_even_shares() -> None:
    assert shares(np.array([-3.0, 1.0])).tolist() == [0.5, 0.5]
    assert simplex(np.array([0.9, 0.3, -1.0])).tolist() == pytest.approx([0.8, 0.2, 0.0])
    assert known(np.array([0.0, 0.0, 1.0]), Domain("c", "string", False, "declared", values=("a", "b"))).tolist() == [
        0.5,
        0.5,
        0.0,
    ]


def test_shrinkage_takes_noise_and_leaves_structure() -> None:
    draw = np.random.default_rng(2)
    first, second = np.full(16, 1 / 16), np.full(16, 1 / 16)
    base = np.outer(first, second)
    shape = np.linspace(-1, 1, 16)
    real = base * (1 + 0.9 * np.outer(shape, shape))
    noisy = 100_000 * real + draw.normal(0, 60, real.shape)
    before, after = (
        np.abs(noisy / noisy.sum() - real).sum(),
        np.abs(fitted(noisy, base, 60, first, second) - real).sum(),
    )
    assert after < before / 2
    assert np.abs(shrunk(base + draw.normal(0, 1e-4, base.shape), base, 1e-4) - base).max() < 1e-4
    assert np.allclose(fitted(-noisy, base, 60, first, second), base)
    assert raked(np.zeros((2, 2)), np.array([1.0, 0.0]), np.array([0.5, 0.5])).tolist() == [[0.5, 0.5], [0.0, 0.0]]


def scored(values: dict[Any, float]) -> dict[Any, Score]:
    return {key: Score(value, 1) for key, value in values.items()}


def test_a_tree_takes_the_highest_scores_and_stops_at_noise() -> None:
    purse = Purse(10 * SURE)
    draw = rounds(purse, "pair", SURE)
    values = {Edge("b", "a"): 9.0, Edge("a", "b"): 9.0, Edge("c", "a"): 2.0, Edge("c", "b"): 5.0, Edge("d", "a"): -4.0}
    edges = tree(("a", "b", "c", "d"), (), scored(values), draw)
    assert {edges[0].child, edges[0].parent} == {"a", "b"}
    assert edges[1:] == [Edge("c", "b")]
    assert [(entry.what, entry.rho) for entry in purse.entries] == [("pair", SURE)] * 3
    assert tree(("d",), (), {}, draw) == []
    assert tree(("x",), ("g",), scored({Edge("x", "g"): 7.0}), draw) == [Edge("x", "g")]
    assert len(purse.entries) == 4


def test_a_round_that_the_purse_has_not_got_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloakhouse.synthesis.dp_marginals.selection.noise.noisy_max", lambda *_: pytest.fail("drawn"))
    with pytest.raises(StageError, match="budget"):
        rounds(Purse(0.5), "pair", 0.6)([Score(1.0, 1)])


def test_cliques_lie_along_the_tree() -> None:
    edges = [Edge("b", "a"), Edge("c", "b"), Edge("d", "a")]
    found = wider(edges, 9)
    assert found == [(Edge("c", "b"), "a"), (Edge("d", "a"), "b")]
    purse = Purse(10 * SURE)
    chosen = cliques({found[0]: Score(50.0, 4), found[1]: Score(-50.0, 4)}, rounds(purse, "clique", SURE))
    assert (chosen, len(purse.entries)) == ({Edge("c", "b"): "a"}, 2)


def test_scores_are_whole_steps_of_two_to_the_minus_twenty_rows() -> None:
    table = np.array([[3, 0], [0, 1]], np.int64) * ONE
    assert against(table, np.full((2, 2), 1.0), 2, 0.5) == Score(3.5 * ONE, 2 * ONE)
    alone = dependence(table[:, None, :], 2, 0.0)  # the product of margins is 9/4, 3/4, 3/4, 1/4
    assert alone == Score(3.0 * ONE, 8 * ONE + 4 + 8)
    assert against(table, np.full((2, 2), 1 / 3), 2, 1e-9).value % 1 == 0
    assert against(table, np.zeros((2, 2)), 2, 1e12).value == -(2.0**53)
    assert dependence(np.zeros((2, 1, 2), np.int64), 2, 0.0).value == 0


def test_clip_norms_rise_with_the_signal_within_their_range() -> None:
    low, middle, high = quantile_for(0.001, 100), quantile_for(0.3, 1600), quantile_for(5.0, 10**5)
    assert (low, high) == (0.5, 0.85)
    assert low < middle < high


def surveyed(values: pa.Array | pa.ChunkedArray, units: list[int], most: int = 3) -> list[bytes]:
    layer = Layer(Level.ROW, ("v",), (), None)
    return [Survey((layer,), (("v", Level.ROW),), most)(pa.table({"v": values, "__unit": tokens(units)}))]


def held(answers: list[bytes]) -> dict[Any, int]:
    values, units = categories(answers, "v")
    return dict(zip(values.to_pylist(), units.tolist(), strict=True))


def test_a_survey_counts_units_by_their_commonest_values() -> None:
    answers = surveyed(pa.array(["x", "x", "y", "z", None, "y"]), [1, 1, 1, 1, 2, 2], most=2)
    assert held(answers) == {"x": 1, "y": 2, "z": 0}
    assert held(answers * 2) == {"x": 2, "y": 4, "z": 0}
    assert {int(cap): int(n) for cap, n in zip(caps(), sizes(answers)["row"], strict=True) if n} == {2: 1, 5: 1}
    assert (added([]), sizes([]), held([])) == ({}, {}, {})


def test_which_values_a_unit_supports_does_not_depend_on_the_unit_before_it() -> None:
    others = [*"abcd"] * 40, [unit for unit in range(40) for _ in "abcd"]
    alone, beside = held(surveyed(pa.array(others[0]), others[1])), {}
    for first in ("dcba", "zzzd", "b"):
        beside = held(surveyed(pa.array([*first, *others[0]]), [99] * len(first) + others[1]))
        assert all(abs(beside.get(value, 0) - alone.get(value, 0)) <= 1 for value in "abcdz")


def test_both_zeros_are_one_category_and_no_number_is_none() -> None:
    assert held(surveyed(pa.array([0.0, -0.0, 0.5, math.nan, math.inf, None]), [1] * 6)) == {0.0: 1, 0.5: 1}
    coded = pa.chunked_array([pa.array(["b", "a"]).dictionary_encode(), pa.array(["a", None]).dictionary_encode()])
    assert held(surveyed(coded, [1, 1, 2, 2])) == {"a": 2, "b": 1}


def test_what_has_no_share_is_never_drawn() -> None:
    found = Alias(np.array([[0.3, 0.0, 0.7], [0.0, 1.0, 0.0]])).draw(
        np.repeat([0, 1], 5000), 10_000, np.random.default_rng(4)
    )
    assert 1 not in found[:5000]
    assert set(found[5000:].tolist()) == {1}
    assert abs((found[:5000] == 2).mean() - 0.7) < 0.05
