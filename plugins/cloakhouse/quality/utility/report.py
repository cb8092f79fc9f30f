"""Utility as one result: everything that the evidence tells of how good the synthetic rows are, without a value.

1. all columns become cells, the same on the three sides; what doesn't fit is refused before anything is measured;
2. marginals, correlations, SDMetrics' report;
3. tasks, each with one model trained on synthetic and one on training rows;
4. segments, with the models of step 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Task
from cloakhouse.errors import ContractError
from cloakhouse.privacy._codes import Codes, column_codes
from cloakhouse.quality.utility.columns import WHERE, UtilityColumn, encode
from cloakhouse.quality.utility.correlations import Correlations, correlations
from cloakhouse.quality.utility.marginals import Marginals, marginals
from cloakhouse.quality.utility.sdmetrics_report import QualityReport, quality_report
from cloakhouse.quality.utility.segments import Segmented, segmented
from cloakhouse.quality.utility.tasks import TaskUtility, score, task_utility

Report = Callable[[int, int, str], None]
UNIT = "utility figures"


@dataclass(frozen=True)
class Utility:
    """How much of the real rows the synthetic ones keep.

    Attributes:
        synthetic_rows, training_rows, holdout_rows: what was looked at.
        marginals: of one, two and three columns.
        correlations, quality, tasks, segments: see their classes.
        seed: of what was drawn.
    """

    synthetic_rows: int
    training_rows: int
    holdout_rows: int
    marginals: tuple[Marginals, ...]
    correlations: Correlations
    quality: QualityReport
    tasks: tuple[TaskUtility, ...]
    segments: tuple[Segmented, ...]
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON: names of columns and tasks, public labels, numbers; no value of the data."""
        return {
            "rows": {"synthetic": self.synthetic_rows, "training": self.training_rows, "holdout": self.holdout_rows},
            "marginals": [item.as_dict() for item in self.marginals],
            "correlations": self.correlations.as_dict(),
            "quality_report": self.quality.as_dict(),
            "tasks": [item.as_dict() for item in self.tasks],
            "segments": [item.as_dict() for item in self.segments],
            "seed": self.seed,
        }


def utility(
    synthetic: pa.Table,
    training: pa.Table,
    holdout: pa.Table,
    columns: Sequence[UtilityColumn],
    tasks: Sequence[Task],
    segments: Sequence[str],
    *,
    seed: int,
    report: Report,
    holdout_units: pa.ChunkedArray | pa.Array | None = None,
) -> Utility:
    """Return the utility of the `synthetic` rows, beside what the hold-out would reach.

    `holdout_units`: the unit of privacy of each hold-out row, of any type, for bounds on the tasks' losses; None: no
    bounds. `report(done, total, unit)` is called after each figure. Other columns of the tables are not looked at.
    Repeats for the same `seed`. Raises ContractError when columns, tasks, segments or units don't fit the tables,
    ValidationRefused when a table has no rows.
    """
    tables = (synthetic, training, holdout)
    cells = encode(tables, columns)
    units = _units(holdout_units, holdout.num_rows)
    by_name = {column.column.name: column for column in cells}
    _check(by_name.keys(), tasks, segments)
    done, total = 0, 3 + len(tasks) + len(segments)

    def step() -> None:
        nonlocal done
        done += 1
        report(done, total, UNIT)

    distances = marginals(cells, seed=seed)
    step()
    errors = correlations(cells)
    step()
    quality = quality_report(synthetic, training, cells, seed=seed)
    step()
    scores, lost, groups = [], [], []
    for task in tasks:
        scores.append(score(tables, cells, task, seed=seed))
        lost.append(task_utility(scores[-1], units, seed=seed))
        step()
    for name in segments:
        groups.append(segmented(cells, by_name[name], scores, seed=seed))
        step()
    return Utility(
        synthetic_rows=synthetic.num_rows,
        training_rows=training.num_rows,
        holdout_rows=holdout.num_rows,
        marginals=distances,
        correlations=errors,
        quality=quality,
        tasks=tuple(lost),
        segments=tuple(groups),
        seed=seed,
    )


def _check(known: Any, tasks: Sequence[Task], segments: Sequence[str]) -> None:
    absent = sorted({*segments, *(task.target for task in tasks)} - set(known))
    if absent or len({task.name for task in tasks}) < len(tasks):
        raise ContractError(
            where=WHERE,
            expected="tasks of different names; targets and segments that are columns of the dataset",
            found=f"{absent} not among the columns" if absent else "a name of a task repeated",
            not_done="utility was not measured",
            remedy="correct `tasks` and `segments` in the contract",
        )


def _units(units: pa.ChunkedArray | pa.Array | None, rows: int) -> Codes | None:
    if units is None:
        return None
    if len(units) != rows or units.null_count:
        raise ContractError(
            where=WHERE,
            expected=f"the unit of privacy of each of {rows} hold-out rows",
            found=f"{len(units)} units, {units.null_count} of them missing",
            not_done="utility was not measured",
            remedy="pass the column of units that belongs to the hold-out",
        )
    return column_codes(units if isinstance(units, pa.ChunkedArray) else pa.chunked_array([units]))
