"""Small training views for dp-marginals: baskets of households, where units follow from lines."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from tests.support.shards import LocalShards

from cloakhouse.contracts.model import Level, Privacy
from cloakhouse.synthesis.protocol import Plan, ViewColumn

COLUMNS = (
    ViewColumn("weekday", pa.int64(), True, None, tuple(range(7)), nullable=False),
    ViewColumn("lines", pa.int64(), False, 50.0, nullable=False),
    ViewColumn("value", pa.float64(), False, 100.0, nullable=True),
    ViewColumn("meat", pa.bool_(), True, None, nullable=False),
)


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""


def tokens(units: Any) -> pa.Array:
    """Return a token of 16 bytes for each number."""
    return pa.array([int(unit).to_bytes(16, "big") for unit in units], pa.binary(16))


def baskets(households: int = 300, each: int = 12, seed: int = 5) -> pa.Table:
    """Return `households` x `each` baskets: value follows lines, meat follows value, a few values are missing."""
    draw = np.random.default_rng(seed)
    rows = households * each
    lines = draw.geometric(0.12, rows).clip(1, 50)
    value = np.round(lines * draw.uniform(1.5, 2.5, rows), 2).clip(0, 100)
    return pa.table(
        {
            "weekday": draw.integers(0, 7, rows),
            "lines": lines,
            "value": pa.array(value, mask=draw.random(rows) < 0.05),
            "meat": value > 15,
            "__unit": tokens(np.repeat(np.arange(households), each)),
        }
    )


def shards(table: pa.Table, number: int = 2) -> LocalShards:
    """Return `table` in `number` shards of whole units."""
    units = table.column("__unit").to_pylist()
    starts = [at for at in range(len(units)) if at == 0 or units[at] != units[at - 1]]
    cuts = [0, *(starts[len(starts) * i // number] for i in range(1, number)), len(units)]
    return LocalShards(tuple(table.slice(a, b - a) for a, b in pairwise(cuts)))


def plan(columns: tuple[ViewColumn, ...] = COLUMNS, epsilon: float = 20.0, **privacy: Any) -> Plan:
    """Return a plan with a guarantee; epsilon is generous, so that little data shows structure."""
    return Plan(columns, 7, Privacy(epsilon, 1e-6, "team", **privacy), {}, 10**6)


LEVELS = (
    ViewColumn("household", pa.int64(), True, None, None, False, Level.UNIT, "unit"),
    ViewColumn("segment", pa.string(), True, None, ("a", "b"), False, Level.UNIT),
    ViewColumn("basket", pa.int64(), True, None, None, False, Level.GROUP, "group"),
    replace(COLUMNS[0], level=Level.GROUP),
    *(replace(column, level=Level.ROW) for column in COLUMNS[1:]),
)


def lines_of_baskets(households: int = 300) -> pa.Table:
    """Return lines in baskets in households: 4 baskets of 3 lines each, weekday by segment of the household."""
    table = baskets(households, 12)
    household = np.repeat(np.arange(households), 12)
    group = np.arange(len(household)) // 3
    weekday = np.where(household % 2 == 0, 1, 5)
    return (
        table.drop_columns(["weekday"])
        .append_column("weekday", pa.array(weekday))
        .append_column("segment", pa.array(np.where(household % 2 == 0, "a", "b")))
        .append_column("__group", tokens(group))
    )
