"""Small training tables and plans for SDV's engines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
from tests.support.shards import LocalShards

from cloakhouse.contracts.model import Level
from cloakhouse.synthesis.protocol import MODULES, UNIT, Plan, ViewColumn

SINGLE = ("gaussian copula", "ctgan", "tvae")
BY_UNIT = ("hma", "par")
ENGINES = (*SINGLE, *BY_UNIT)
QUICK: Mapping[str, dict[str, int]] = {
    "gaussian copula": {},
    "ctgan": {"epochs": 2, "batchSize": 100, "embedding": 8, "width": 16},
    "tvae": {"epochs": 2, "batchSize": 100, "embedding": 8, "width": 16},
    "hma": {"maxRows": 30},
    "par": {"epochs": 2, "maxRows": 12},
}
UNITS, ROWS = 24, 240
ROW_COLUMNS = (
    ViewColumn("store", pa.int64(), True, None),
    ViewColumn("meat", pa.bool_(), True, None),
    ViewColumn("units", pa.int64(), False, 200.0),
    ViewColumn("value", pa.float64(), False, 500.0),
)
UNIT_COLUMNS = (
    ViewColumn("household", pa.int64(), False, None, level=Level.UNIT, number="unit"),
    ViewColumn("age", pa.string(), True, None, level=Level.UNIT),
    ViewColumn("income", pa.float64(), False, 300.0, level=Level.UNIT),
)


def token(number: int) -> bytes:
    """Return the token of a unit."""
    return hashlib.sha256(b"unit %d" % number).digest()[:16]


def training() -> pa.Table:
    """Return rows of units whose numbers keep far from the ends of the contract's ranges, and end abruptly."""
    draw = np.random.default_rng(7)
    of = np.sort(np.r_[np.arange(UNITS), draw.integers(0, UNITS, ROWS - UNITS)])
    units = draw.integers(20, 60, ROWS)
    return pa.table(
        {
            "store": pa.array(draw.choice([286, 31782, 2**53 + 1], ROWS), mask=draw.random(ROWS) < 0.1),
            "meat": pa.array(draw.random(ROWS) < 0.3),
            "units": pa.array(units, mask=draw.random(ROWS) < 0.1),
            "value": pa.array(np.round(units * 2.5 + draw.uniform(0, 30, ROWS), 2)),
            "age": pa.array(["under 45", "45+", None], pa.string()).take(pa.array(of % 3)),
            "income": pa.array(of * 5.0 + 10.0),
            UNIT: pa.array([token(int(number)) for number in of], pa.binary(16)),
        }
    )


def module(name: str) -> ModuleType:
    """Return the module of an engine."""
    return import_module(f"cloakhouse.synthesis.{MODULES[name]}")


def plan(name: str, **changes: Any) -> Plan:
    """Return a plan for an engine with the columns that it knows, and parameters that are quick."""
    columns = (*UNIT_COLUMNS, *ROW_COLUMNS) if name in BY_UNIT else ROW_COLUMNS
    fields = {"columns": columns, "seed": 1, "privacy": None, "parameters": QUICK[name], "spare_rows": 10_000}
    return Plan(**{**fields, **changes})


def no_report(done: int, total: int, unit: str) -> None:
    """Progress that nobody watches."""


def fit(name: str, table: pa.Table | None = None, report: Any = no_report, **changes: Any) -> Any:
    """Return the model of an engine fitted on `table`."""
    return module(name).fit(plan(name, **changes), LocalShards((training() if table is None else table,)), report)
