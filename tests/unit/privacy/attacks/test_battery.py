from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import CloakhouseError, ContractError, StageError
from cloakhouse.privacy.attacks import AttackColumn, Population, Risk
from cloakhouse.privacy.attacks.battery import THRESHOLDS, attack, blocked, figure_names, threshold_of

COLUMNS = (
    AttackColumn("kind", True, None),
    AttackColumn("size", False, 100.0),
    AttackColumn("note", True, None, False),
)


def table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    size = pa.array(rng.random(rows) * 100, mask=rng.random(rows) < 0.1)
    return pa.table({"kind": rng.integers(0, 5, rows), "size": size, "note": pa.nulls(rows, pa.string())})


def side(households: int, seed: int) -> Population:
    return Population(table(households * 2, seed), np.repeat(np.arange(households) * 3 + 1, 2))


TRAINING, HOLDOUT, RELEASE = side(500, 1), side(400, 2), table(300, 3)


def test_figures_are_repeatable_and_hold_no_value() -> None:
    found = attack(RELEASE, TRAINING, HOLDOUT, COLUMNS, seed=4)
    assert found == attack(RELEASE, TRAINING, HOLDOUT, COLUMNS, seed=4)
    assert found != attack(RELEASE, TRAINING, HOLDOUT, COLUMNS, seed=5)
    assert tuple(risk.name for risk in found) == figure_names(COLUMNS)
    assert json.loads(json.dumps(found[0].as_dict()))["units"] == 900
    assert not [risk.name for risk in found if "note" in risk.name]  # not sensitive


@pytest.mark.parametrize("rows", [1, 2, 300])
def test_constant_and_all_null_columns_are_attacked_all_the_same(rows: int) -> None:
    columns = (AttackColumn("kind", True, None), AttackColumn("none", False, 5.0))

    def constant(count: int) -> pa.Table:
        return pa.table({"kind": np.ones(count, np.int64), "none": pa.nulls(count, pa.float64())})

    sides = [Population(constant(400), np.arange(400)) for _ in range(2)]
    found = attack(constant(rows), sides[0], sides[1], columns, seed=1)
    assert {risk.name: risk.value for risk in found}["inference of kind, rows: risk"] == 0.0
    tiny = [name for name in figure_names(columns) if name.endswith("copies, share of the release: excess")]
    assert blocked(found, columns) == (() if rows == 300 else tuple(tiny))  # a few rows prove nothing


@pytest.mark.parametrize(
    ("release", "training", "holdout", "columns", "error", "word"),
    [
        (RELEASE, TRAINING, side(399, 2), COLUMNS, StageError, "1 more hold-out"),
        (RELEASE, side(1, 2), HOLDOUT, COLUMNS, StageError, "399 more training"),
        (RELEASE.slice(0, 0), TRAINING, HOLDOUT, COLUMNS, StageError, "synthetic table"),
        (RELEASE, TRAINING, Population(table(0, 1), np.zeros(0, np.int64)), COLUMNS, StageError, "hold-out table"),
        (RELEASE.drop_columns(["kind"]), TRAINING, HOLDOUT, COLUMNS, ContractError, "kind"),
        (RELEASE.set_column(0, "kind", pa.array(["x"] * 300)), TRAINING, HOLDOUT, COLUMNS, ContractError, "int64"),
        (RELEASE, TRAINING, HOLDOUT, COLUMNS[:1], ContractError, "two columns"),
        (RELEASE, TRAINING, HOLDOUT, (*COLUMNS, COLUMNS[0]), ContractError, "named once"),
        (RELEASE, TRAINING, HOLDOUT, (AttackColumn("note", False, 1.0), *COLUMNS[:2]), ContractError, "numbers"),
        (RELEASE, TRAINING, HOLDOUT, (AttackColumn("size", False, 0.0), COLUMNS[0]), ContractError, "maximum"),
        (RELEASE, Population(TRAINING.table, np.arange(3)), HOLDOUT, COLUMNS, ContractError, "household number"),
        (RELEASE, Population(TRAINING.table, TRAINING.units - 2), HOLDOUT, COLUMNS, ContractError, "0 or more"),
    ],
)
def test_refused(
    release: pa.Table,
    training: Population,
    holdout: Population,
    columns: tuple[AttackColumn, ...],
    error: type[CloakhouseError],
    word: str,
) -> None:
    with pytest.raises(error) as refused:
        attack(release, training, holdout, columns, seed=1)
    assert word in str(refused.value)


def figures() -> list[Risk]:
    return [Risk(name, 0.0, 0.0, 10, 10, "") for name in figure_names(COLUMNS)]


def test_a_figure_that_is_missing_unknown_or_not_a_number_blocks() -> None:
    good = figures()
    assert blocked(good, COLUMNS) == ()
    assert blocked(good[1:], COLUMNS) == (good[0].name,)
    for value, bound in ((None, None), (0.0, None), (None, 0.0), (0.0, float("nan")), (float("nan"), 0.0)):
        assert blocked([Risk(good[0].name, value, bound, 1, 1, ""), *good[1:]], COLUMNS) == (good[0].name,)
    assert blocked([*good, Risk("unheard of", 0.0, 0.0, 1, 1, "")], COLUMNS) == ("unheard of",)
    assert blocked([], COLUMNS) == figure_names(COLUMNS)


def test_the_bound_decides_and_a_contract_may_set_its_own_threshold() -> None:
    name = "linkability, rows: risk"
    good = [risk for risk in figures() if risk.name != name]
    for bound, expected in ((THRESHOLDS["linkability, *: risk"], ()), (0.21, (name,))):
        assert blocked([*good, Risk(name, -1.0, bound, 1, 1, "")], COLUMNS) == expected
    stricter = {name: 0.01, **THRESHOLDS}
    assert threshold_of(name, stricter) == 0.01
    assert threshold_of("linkability, households: risk", stricter) == 0.2
    assert threshold_of("distance to closest record") is None
