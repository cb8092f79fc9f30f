from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError
from cloakhouse.privacy.diversity import entropy_l_diversity, l_diversity, t_closeness

# Li, Li & Venkatasubramanian 2007, tables 3 and 5: salaries and diseases of nine patients
SALARIES = pa.table(
    {
        "zip": ["476", "476", "476", "4790", "4790", "4790", "476b", "476b", "476b"],
        "salary": [3, 4, 5, 6, 11, 8, 7, 9, 10],
    }
)
CLOSER = pa.table({"zip": [1, 1, 1, 2, 2, 2, 3, 3, 3], "salary": [3, 5, 9, 6, 11, 8, 4, 7, 10]})
PATIENTS = pa.table({"zip": ["a", "a", "a", "b", "b", None], "disease": ["flu", "flu", "ulcer", "flu", None, "ulcer"]})


def test_the_published_example_of_ordered_closeness() -> None:
    assert t_closeness(SALARIES, ["zip"], "salary", ordered=True) == pytest.approx(0.375)
    assert t_closeness(CLOSER, ["zip"], "salary", ordered=True) == pytest.approx(0.167, abs=1e-3)


def test_distinct_values_count_and_null_is_one() -> None:
    assert l_diversity(PATIENTS, ["zip"], "disease") == 1  # the class of null
    assert l_diversity(PATIENTS.slice(0, 5), ["zip"], "disease") == 2
    assert entropy_l_diversity(PATIENTS, ["zip"], "disease") == pytest.approx(1.0)
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert entropy_l_diversity(PATIENTS.slice(0, 3), ["zip"], "disease") == pytest.approx(math.exp(entropy))


def test_equal_distances_count_values_that_a_class_lacks() -> None:
    # overall: flu 3/6, ulcer 2/6, null 1/6; the class of null holds ulcer only
    assert t_closeness(PATIENTS, ["zip"], "disease") == pytest.approx(4 / 6)
    assert t_closeness(PATIENTS.slice(0, 3), ["zip"], "disease") == 0.0


def test_blocks_of_classes_give_the_same_distance() -> None:
    rng = np.random.default_rng(3)
    table = pa.table({"who": rng.integers(0, 60, 4_000), "value": rng.permutation(4_000) % 3_000})
    found = t_closeness(table, ["who"], "value", ordered=True)
    overall = np.bincount(table["value"].to_numpy(), minlength=3_000) / 4_000
    distances = []
    for who in range(60):
        share = np.bincount(table["value"].to_numpy()[table["who"].to_numpy() == who], minlength=3_000)
        distances.append(np.abs(np.cumsum(share / share.sum() - overall)).sum() / 2_999)
    assert found == pytest.approx(max(distances))


@pytest.mark.parametrize("ordered", [True, False])
def test_degenerate_tables(ordered: bool) -> None:
    empty = PATIENTS.slice(0, 0)
    assert (l_diversity(empty, ["zip"], "disease"), entropy_l_diversity(empty, ["zip"], "disease")) == (0, 0.0)
    assert t_closeness(empty, ["zip"], "disease", ordered=ordered) == 0.0
    constant = pa.table({"zip": [1, 2], "disease": pa.nulls(2, pa.string())})
    assert l_diversity(constant, ["zip"], "disease") == 1
    assert t_closeness(constant, ["zip"], "disease", ordered=ordered) == 0.0


@pytest.mark.parametrize("names", [[], ["zip", "disease"], ["absent"]])
def test_refused(names: list[str]) -> None:
    with pytest.raises(ContractError) as refused:
        l_diversity(PATIENTS, names, "disease")
    assert "flu" not in str(refused.value)
