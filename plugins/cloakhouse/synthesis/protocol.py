"""What the platform asks of a synthesizer, and what it tells one about its columns and rows.

An engine is fitted once, on the driver, from shards of the training view. What it returns is a model: an artifact
of its own, without training rows, which is stored encrypted and signed and from which any worker samples any chunk.
The same model, seed and chunk give the same rows, whoever samples them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from cloakhouse.contracts.model import Level, Privacy

UNIT = "__unit"  # column of shards: the token of the unit of privacy
GROUP = "__group"  # column of shards whose rows are lines: the token of the group (a basket) that a line belongs to
CATEGORICAL = ("first", "month", "weekday", "hour", "any")
NUMBER = "number"
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ViewColumn:
    """A column as a synthesizer sees it.

    Attributes:
        name: column name.
        type: Arrow type of the published column.
        categorical: values stand for themselves; no order, no arithmetic.
        maximum: public cap from the contract (the data's own maximum is never used), or None.
        values: every value that the column may have, declared in the contract (public); None when not declared.
        nullable: whether a value may be missing.
        level: what a value belongs to: the unit (a household), the group (a basket) or the row itself. Columns above
            the row have one value for all rows of their unit or group.
        number: `unit` or `group` for a column without values in the view: the engine numbers its own units or groups
            there, from 0. None for all others.
    """

    name: str
    type: pa.DataType
    categorical: bool
    maximum: float | None
    values: tuple[Any, ...] | None = None
    nullable: bool = True
    level: Level = Level.ROW
    number: str | None = None


@dataclass(frozen=True)
class Plan:
    """What an engine is asked for.

    Attributes:
        columns: of the published table, in order.
        seed: of what may be repeatable: fits without privacy, and every sample.
        privacy: the guarantee asked for; None for engines that give none.
        parameters: the engine's own, from the contract, checked by `check_parameters` of its module.
        spare_rows: rows that may be in memory at once on the driver (`maxTrainingRows`).
        unit_of_privacy: the contract's noun for the unit.
    """

    columns: tuple[ViewColumn, ...]
    seed: int
    privacy: Privacy | None
    parameters: Mapping[str, Any]
    spare_rows: int
    unit_of_privacy: str = "unit of privacy"


class Shards(Protocol):
    """The training view in shards: tables of the plan's columns (without numbers), `UNIT`, and `GROUP` for lines.

    Whole units are in one shard; rows of a unit stand together, and rows of a group within them.
    """

    def map(self, task: Callable[[pa.Table], bytes]) -> Iterator[bytes]:
        """Yield `task` of every shard, in order. `task` is run in Spark workers: a picklable frozen dataclass of
        numbers and names with `__call__`, whose answer is small (counts). Raises StageError."""

    def table(self) -> pa.Table:
        """Return all rows, for engines that need them at once. Raises StageError when there are more than planned."""


@dataclass(frozen=True)
class Chunk:
    """A part of a sample: `size` roots from number `start` on: units if any column is of a unit, else rows."""

    start: int
    size: int
    seed: int


class Model(Protocol):
    """A fitted synthesizer, without any training row."""

    @property
    def roots(self) -> int:
        """How many roots (see Chunk) to sample where the contract doesn't say."""

    def sample(self, chunk: Chunk) -> pa.Table:
        """Return the rows of `chunk` with the plan's columns and types. Numbers of units and groups are unique over
        chunks that don't overlap."""

    def describe(self) -> dict[str, Any]:
        """Return engine, library, parameters and `privacy_guarantee` for evidence and card; nothing that isn't covered
        by that guarantee."""

    def to_bytes(self) -> bytes:
        """Return the artifact's content; `open_model` of the engine's module reads it again."""


class Engine(Protocol):
    """The module of an engine."""

    def check(self, plan: Plan) -> None:
        """Raise ContractError for a plan that the engine can't do, before any data is read."""

    def fit(self, plan: Plan, shards: Shards, report: Report) -> Model:
        """Return the fitted model. Raises StageError when the rows can't be fitted."""

    def open_model(self, plan: Plan, content: bytes) -> Model:
        """Return the model whose `to_bytes` was `content`. The caller has verified the signature."""


class PrivateEngine(Engine, Protocol):
    """The module of an engine that gives a guarantee."""

    def cost(self, plan: Plan) -> tuple[float, float]:
        """Return what a fit spends at most: rho of zCDP, and the delta that mechanisms spend directly."""


def engine(name: str) -> Engine:
    """Return the engine that contracts call `name`; the library behind it is loaded when it is used."""
    from importlib import import_module

    return import_module(f"cloakhouse.synthesis.{MODULES[name]}")


MODULES: Mapping[str, str] = {
    "gaussian copula": "sdv_tables.copula",
    "ctgan": "sdv_tables.ctgan",
    "tvae": "sdv_tables.tvae",
    "hma": "sdv_tables.hma",
    "par": "sdv_tables.par",
    "dp-marginals": "dp_marginals.engine",
}
