"""Tasks and the whole result: what models lose, what is told when nothing can be trained, and that no value leaks."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.contracts.model import Task
from cloakhouse.errors import ContractError
from cloakhouse.quality.utility import sdmetrics_report, tasks
from cloakhouse.quality.utility.auc import auc
from cloakhouse.quality.utility.columns import UtilityColumn, encode
from cloakhouse.quality.utility.report import Utility, utility
from cloakhouse.quality.utility.tasks import score, task_utility

COLUMNS = (
    UtilityColumn("spend", False, 100.0),
    UtilityColumn("lines", False, 50.0),
    UtilityColumn("shop", True),
    UtilityColumn("member", True, values=(True, False)),
)
TASKS = (Task("big", "spend", above=40.0), Task("members", "member", equals="true"), Task("never", "spend", above=1e6))
SHOPS = np.array(["Aldgate", "Bow", "Camden", "Dalston"])


def rows(number: int, seed: int, broken: bool = False) -> pa.Table:
    """Return baskets whose spend follows from the lines, unless `broken`; Dalston has a basket in fifty."""
    rng = np.random.default_rng(seed)
    lines = rng.integers(1, 50, number)
    spend = np.clip(lines * 2 + rng.normal(0, 8, number), 0, 100)
    return pa.table(
        {
            "spend": np.random.default_rng(0).permutation(spend) if broken else spend,
            "lines": lines,
            "shop": SHOPS[rng.choice(4, number, p=[0.4, 0.3, 0.28, 0.02])],
            "member": rng.random(number) < lines / 50,
        }
    )


def measured(synthetic: pa.Table, **options: object) -> Utility:
    return utility(
        synthetic,
        rows(3_000, 1),
        rows(3_000, 2),
        COLUMNS,
        TASKS,
        ["shop", "member"],
        seed=5,
        report=lambda done, total, unit: None,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def good() -> Utility:
    return measured(rows(3_000, 3), holdout_units=pa.array(np.repeat(np.arange(300), 10)))


@pytest.fixture(scope="module")
def bad() -> Utility:
    return measured(rows(3_000, 3, broken=True))


def test_rows_of_the_same_source_lose_nothing_and_broken_ones_do(good: Utility, bad: Utility) -> None:
    assert good.tasks[0].training_auc == bad.tasks[0].training_auc
    assert good.tasks[0].training_auc is not None
    assert good.tasks[0].training_auc > 0.95
    assert good.tasks[0].loss is not None
    assert abs(good.tasks[0].loss) < 0.02
    assert bad.tasks[0].loss is not None
    assert bad.tasks[0].loss > 0.3
    assert bad.marginals[0].mean == pytest.approx(good.marginals[0].mean)
    assert good.marginals[1].mean is not None
    assert bad.marginals[1].worst_columns == ("spend", "lines")
    assert bad.correlations.pearson_error is not None
    assert bad.correlations.pearson_error > 0.8
    assert good.quality.score is not None
    assert bad.quality.score is not None
    assert good.quality.score > bad.quality.score + 0.05


def test_the_loss_is_bounded_by_units_if_they_are_known(good: Utility, bad: Utility) -> None:
    assert good.tasks[0].loss_upper_bound is not None
    assert good.tasks[0].loss is not None
    assert good.tasks[0].loss < good.tasks[0].loss_upper_bound < good.tasks[0].loss + 0.02
    assert bad.tasks[0].loss_upper_bound is None
    assert bad.tasks[0].reason is None


def test_a_task_of_one_class_has_a_reason_and_no_figure(good: Utility) -> None:
    never = good.tasks[2]
    assert (never.synthetic_auc, never.training_auc, never.loss, never.loss_upper_bound) == (None, None, None, None)
    assert never.reason == "one class only in the rows: hold-out, synthetic, training"


def test_segments_show_the_loss_where_it_is(good: Utility, bad: Utility) -> None:
    shops, members = bad.segments
    assert [group.holdout_rows for group in shops.groups] == sorted(group.holdout_rows for group in shops.groups)
    assert shops.groups[0].holdout_rows < 100  # Dalston, of which nobody says so
    assert {group.label for group in shops.groups} == {None}
    assert {group.label for group in members.groups} == {"True", "False"}
    assert shops.worst_losses["big"] is not None
    assert shops.worst_losses["big"] > 0.3
    assert shops.worst_losses["never"] is None
    assert good.segments[0].worst_losses["big"] is not None
    assert good.segments[0].worst_losses["big"] < 0.05


def test_the_result_is_json_without_values_of_the_data(good: Utility) -> None:
    text = json.dumps(good.as_dict(), allow_nan=False)
    assert not any(shop in text for shop in SHOPS)
    assert good.as_dict()["rows"] == {"synthetic": 3_000, "training": 3_000, "holdout": 3_000}
    assert [item["order"] for item in good.as_dict()["marginals"]] == [1, 2, 3]


def test_a_row_is_enough_and_progress_is_told() -> None:
    one, told = rows(1, 9), []
    found = utility(
        one,
        one,
        one,
        COLUMNS,
        TASKS,
        ["shop"],
        seed=1,
        report=lambda *step: told.append(step),
        holdout_units=pa.array([1]),
    )
    assert [step[:2] for step in told] == [(at, 7) for at in range(1, 8)]
    assert {task.loss for task in found.tasks} == {None}
    assert found.segments[0].small_groups == 1
    assert json.dumps(found.as_dict(), allow_nan=False)


def test_settings_that_do_not_fit_are_refused() -> None:
    table = rows(30, 1)

    def run(tasks: list[Task], segments: list[str], units: pa.Array | None = None) -> None:
        utility(table, table, table, COLUMNS, tasks, segments, seed=1, report=print, holdout_units=units)

    for wrong in (
        [Task("t", "absent", above=1.0)],
        [Task("t", "spend")],
        [Task("t", "spend", above=1.0, equals="2")],
        [Task("t", "shop", above=1.0)],
        [Task("t", "spend", equals="secret")],
        [Task("t", "spend", above=1.0), Task("t", "lines", above=1.0)],
    ):
        with pytest.raises(ContractError) as refused:
            run(wrong, [])
        assert "secret" not in str(refused.value)
    with pytest.raises(ContractError):
        run([], ["absent"])
    for units in (pa.array([1, 2]), pa.array([None] * 30, pa.int64())):
        with pytest.raises(ContractError):
            run([], [], units)


def all_null(number: int) -> pa.Table:
    numbers = np.linspace(-1, 1, number)
    return pa.table(
        {
            "y": pa.array([f"{value > 0}" for value in numbers]).dictionary_encode(),
            "x": np.where(numbers > 0, 1e308, -1e308),
            "none": pa.array([None] * number, pa.float64()),
        }
    )


def test_features_without_a_number_and_huge_ones_are_taken() -> None:
    table = all_null(200)
    tables = (table, table, table)
    columns = [UtilityColumn("y", True), UtilityColumn("x", False), UtilityColumn("none", False, 5.0)]
    cells = encode(tables, columns)
    found = score(tables, cells, Task("t", "y", equals="True"), seed=1)
    assert task_utility(found, None, seed=1).synthetic_auc == 1.0
    alone = score(tables, cells[:1], Task("t", "y", equals="True"), seed=1)
    assert task_utility(alone, None, seed=1).reason == "no other column"


def test_rows_of_training_and_test_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MOST_TRAINED", 50)
    monkeypatch.setattr(tasks, "MOST_TESTED", 40)
    table = all_null(200)
    cells = encode((table, table, table), [UtilityColumn("y", True), UtilityColumn("x", False)])
    found = score((table, table, table), cells, Task("t", "y", equals="True"), seed=1)
    assert len(found.rows) == len(found.truth) == 40
    units = np.arange(200)
    assert task_utility(found, units, seed=1).loss_upper_bound == 0.0
    few = task_utility(found, units // 100, seed=1)
    assert (few.loss_upper_bound, few.reason) == (None, "no bound: fewer than 20 units, or one class only")


def test_auc_by_hand() -> None:
    truth = np.array([True, False, True, False])
    assert auc(truth, np.array([0.9, 0.1, 0.8, 0.2])) == 1.0
    assert auc(truth, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert auc(truth, np.array([0.3, 0.4, 0.5, 0.1])) == 0.75
    assert auc(truth, np.array([0.3, 0.4, 0.5, 0.1]), np.array([3.0, 1.0, 1.0, 1.0])) == 0.625
    assert auc(truth[:1], np.array([1.0])) is None
    assert auc(truth[:0], np.array([])) is None


def test_a_report_that_fails_tells_only_the_class_of_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr(sdmetrics_report, "_scores", fails)
    table = rows(10, 1)
    wide = pa.table({"shop": [f"s{at}" for at in range(600)]})
    found = sdmetrics_report.quality_report(table, table, encode((table, table, table), COLUMNS), seed=1)
    assert (found.score, found.reason) == (None, "ValueError")
    assert found.as_dict()["left_out"] == []
    cells = encode((wide, wide, wide), [UtilityColumn("shop", True)])
    assert sdmetrics_report.quality_report(wide, wide, cells, seed=1).left_out == ("shop",)


def test_the_report_takes_dictionaries_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"shop": pa.array(["a", "b"] * 10).dictionary_encode(), "n": range(20)})
    cells = encode((table, table, table), [UtilityColumn("shop", True), UtilityColumn("n", False)])
    found = sdmetrics_report.quality_report(table, table, cells, seed=1)
    assert (found.column_shapes, found.reason) == (1.0, None)
    assert found.score == pytest.approx(1.0)
    assert capfd.readouterr() == ("", "")
