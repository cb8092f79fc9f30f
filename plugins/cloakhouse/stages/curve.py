"""Utility against epsilon, measured on the published rows: they stand in for the real ones, so it costs no budget.

The rows of the release, dealt out to as many households as the model's noisy count has, are fitted again at other
epsilons, and the rows that come out compared with them. Real households are more alike within than these, so that the
curve is a little better than a fit on real rows would be. Everything here is post-processing of the release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from cloakhouse.contracts.model import Level
from cloakhouse.errors import StageError
from cloakhouse.quality.utility.columns import UtilityColumn, encode
from cloakhouse.quality.utility.marginals import marginals
from cloakhouse.synthesis.dp_marginals import engine
from cloakhouse.synthesis.dp_marginals.model import MarginalsModel
from cloakhouse.synthesis.protocol import UNIT, Chunk, Plan, Report

EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
ROWS = 50_000  # that stand in, at most
FITS = 2  # for each epsilon


@dataclass(frozen=True)
class MemoryShards:
    """One shard, in memory (`Shards`)."""

    rows: pa.Table

    def map(self, task: Callable[[pa.Table], bytes]) -> Iterator[bytes]:
        """See Shards.map."""
        yield task(self.rows)

    def table(self) -> pa.Table:
        """See Shards.table."""
        return self.rows


def utility_curve(plan: Plan, model: MarginalsModel, synthetic: pa.Table, report: Report) -> list[dict[str, float]]:
    """Return `epsilon` and `tvd` (mean total variation distance of all pairs of columns), by rising epsilon.

    The plan's own epsilon is among them. Empty for plans with levels above the row, whose rows have no stand-in, and
    for a release too small to be fitted again.
    """
    if plan.privacy is None or any(column.level is not Level.ROW for column in plan.columns):
        return []
    rows = synthetic.slice(0, ROWS).select([column.name for column in plan.columns])
    shards = MemoryShards(_dealt(rows, round(_units(model) * rows.num_rows / max(model.roots, 1))))
    epsilons = sorted({*EPSILONS, plan.privacy.epsilon})
    points = []
    for done, epsilon in enumerate(epsilons, start=1):
        asked = replace(plan, privacy=replace(plan.privacy, epsilon=epsilon))
        try:
            distances = [_distance(asked, engine.fit(asked, shards, _silent), rows) for _ in range(FITS)]
        except StageError:
            continue  # too little is left under so small an epsilon; the curve begins later
        points.append({"epsilon": epsilon, "tvd": round(sum(distances) / FITS, 4)})
        report(done, len(epsilons), "points of the curve")
    return points


def _units(model: MarginalsModel) -> float:
    noisy = [m for m in model.fitted.measurements if m.kind == "units" and m.level == Level.ROW]
    return max(float(noisy[0].counts.sum()), 1.0)


def _dealt(rows: pa.Table, units: int) -> pa.Table:
    owners = np.arange(rows.num_rows) * max(units, 1) // max(rows.num_rows, 1)
    tokens = pa.array([number.to_bytes(16, "big") for number in range(int(owners[-1]) + 1)], pa.binary(16))
    return rows.append_column(UNIT, tokens.take(pa.array(owners)))


def _distance(plan: Plan, model: MarginalsModel, rows: pa.Table) -> float:
    drawn = model.sample(Chunk(0, rows.num_rows, plan.seed))
    columns = [UtilityColumn(c.name, c.categorical, c.maximum, c.values) for c in plan.columns]
    pairs = marginals(encode((drawn, rows, rows), columns), seed=plan.seed)[1]
    return pairs.mean or 0.0


def _silent(_done: int, _total: int, _unit: str) -> None:
    """Report nothing."""
