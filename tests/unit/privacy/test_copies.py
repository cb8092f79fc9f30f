from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError
from cloakhouse.privacy.copies import copy_excess, copy_matches, excess_of_matches, match_mask


def marks(both: int, training: int, holdout: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Return paired marks with the given numbers of rows."""
    first = np.repeat([True, True, False, False], [both, training, holdout, neither])
    second = np.repeat([True, False, True, False], [both, training, holdout, neither])
    return first, second


def test_all_columns_must_match_and_null_equals_null() -> None:
    reference = pa.table({"a": [1, 2, None], "b": ["x", "y", None]})
    synthetic = pa.table({"b": ["x", "x", None, "y"], "a": [1, 2, None, None], "c": [0, 0, 0, 0]})
    assert match_mask(synthetic, reference, ["a", "b"]).to_pylist() == [True, False, True, False]


def test_floats_are_compared_by_their_bits() -> None:
    other_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
    reference = pa.table({"v": pa.array([0.1 + 0.2, 0.0, float("nan")])})
    synthetic = pa.table({"v": pa.array([0.3, 0.30000000000000004, -0.0, 0.0, float("nan"), other_nan])})
    assert match_mask(synthetic, reference, ["v"]).to_pylist() == [False, True, False, True, True, False]


def test_encodings_of_text_are_one_type_but_numbers_are_not() -> None:
    reference = pa.table({"s": pa.array(["x", "y"]).dictionary_encode()})
    assert match_mask(pa.table({"s": pa.array(["y"], pa.large_string())}), reference, ["s"]).to_pylist() == [True]
    with pytest.raises(ContractError) as refused:
        match_mask(pa.table({"n": [1.0]}), pa.table({"n": [1]}), ["n"])
    assert refused.value.where.endswith("column n")


def test_empty_sides() -> None:
    table, empty = pa.table({"a": [1]}), pa.table({"a": pa.array([], pa.int64())})
    assert match_mask(empty, table, ["a"]).to_pylist() == []
    assert match_mask(table, empty, ["a"]).to_pylist() == [False]
    assert match_mask(empty, empty, ["a"]).to_pylist() == []
    for sides in ((empty, table, table), (table, empty, table), (table, table, empty)):
        with pytest.raises(ContractError):
            copy_excess(*sides, ["a"])


def test_a_planted_leak_shows_and_chance_matches_cancel() -> None:
    rng = np.random.default_rng(7)
    domain = rng.random(4_000)
    training, holdout = pa.table({"v": domain[:2_000]}), pa.table({"v": domain[2_000:]})
    fresh = rng.random(1_900)
    leaky = pa.table({"v": np.concatenate([fresh, domain[:100]])})
    excess = copy_excess(leaky, training, holdout, ["v"])
    assert (excess.training_share, excess.holdout_share, excess.excess) == (0.05, 0.0, 0.05)
    assert 0.05 < excess.upper_bound < 0.07
    assert (excess.synthetic_rows, excess.reference_rows) == (2_000, 2_000)
    balanced = pa.table({"v": np.concatenate([fresh, domain[:50], domain[2_000:2_050]])})
    assert copy_excess(balanced, training, holdout, ["v"]).excess == 0.0


def test_the_larger_side_is_subsampled_by_seed() -> None:
    training = pa.table({"v": np.arange(10_000)})
    holdout = pa.table({"v": np.arange(20_000, 21_000)})
    first = copy_excess(training, training, holdout, ["v"], seed=1)
    assert (first.training_share, first.reference_rows) == (0.1, 1_000)
    matches = copy_matches(training, training, holdout, ["v"], seed=1)
    assert matches.equals(copy_matches(training, training, holdout, ["v"], seed=1))
    assert not matches.equals(copy_matches(training, training, holdout, ["v"], seed=2))
    assert matches.schema.names == ["matches_training", "matches_holdout"]


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((1, 1, 7, 12), -0.507, -0.026),  # airway hyper-responsiveness, Bentur et al. 2009
    ],
)
def test_bound_agrees_with_newcombe_method_10(cells: tuple[int, int, int, int], low: float, high: float) -> None:
    training, holdout = marks(*cells)
    digits = 4 if abs(low * 1000) % 1 else 3
    assert excess_of_matches(training, holdout, confidence=0.975).upper_bound == pytest.approx(
        high, abs=0.6 * 10**-digits
    )
    assert -excess_of_matches(holdout, training, confidence=0.975).upper_bound == pytest.approx(
        low, abs=0.6 * 10**-digits
    )


def test_no_match_at_all_still_has_a_positive_bound() -> None:
    nothing = np.zeros(268, dtype=bool)
    assert excess_of_matches(nothing, nothing).upper_bound == pytest.approx(0.01, abs=5e-5)
    assert excess_of_matches(nothing, nothing).upper_bound <= 0.01
    assert excess_of_matches(nothing[1:], nothing[1:]).upper_bound > 0.01


@pytest.mark.parametrize(("p", "q", "rows"), [(0.02, 0.02, 1_000), (0.2, 0.1, 300), (0.005, 0.004, 2_000)])
def test_the_bound_covers_the_true_excess(p: float, q: float, rows: int) -> None:
    rng = np.random.default_rng(11)
    held = [excess_of_matches(rng.random(rows) < p, rng.random(rows) < q).upper_bound >= p - q for _ in range(2_000)]
    assert np.mean(held) > 0.93


@pytest.mark.parametrize("confidence", [0.5, 1.0, 95.0])
def test_bad_confidence_or_lengths_are_refused(confidence: float) -> None:
    some = np.array([True])
    with pytest.raises(ContractError):
        excess_of_matches(some, some, confidence=confidence)
    with pytest.raises(ContractError):
        excess_of_matches(some, np.array([True, False]))


def test_result_is_frozen_and_flat() -> None:
    excess = excess_of_matches(np.array([True, False]), np.array([False, False]), reference_rows=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        excess.excess = 0.0  # type: ignore[misc]
    assert set(excess.as_dict()) == {field.name for field in dataclasses.fields(excess)}
