"""What the platform asks of a synthesizer, and what it tells one about its columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from cloakhouse.contracts.model import Contract

CATEGORICAL = ("first", "month", "weekday", "hour", "any")
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ViewColumn:
    """A column as a synthesizer sees it.

    Attributes:
        name: column name.
        type: Arrow type of the published column.
        categorical: values stand for themselves; no order, no arithmetic.
        maximum: public cap from the contract (the data's own maximum is never used), or None.
    """

    name: str
    type: pa.DataType
    categorical: bool
    maximum: float | None


class Synthesizer(Protocol):
    """Learns from a table and samples rows of the same columns. Repeatable for a seed."""

    def fit(self, table: pa.Table) -> None:
        """Learn from `table`, which holds exactly the view's columns. Raises StageError when it can't."""

    def sample(self, rows: int, report: Report) -> pa.Table:
        """Return `rows` synthetic rows with the view's columns and types; `report(done, total, unit)` on the way."""

    def describe(self) -> dict[str, Any]:
        """Return engine, version, parameters and the privacy guarantee, for the evidence."""


def open_synthesizer(contract: Contract, columns: tuple[ViewColumn, ...]) -> Synthesizer:
    """Return a fresh synthesizer of the engine that `contract` names."""
    from cloakhouse.synthesis.copula import GaussianCopula

    if contract.synthesis is None or contract.synthesis.engine != "gaussian copula":
        raise ValueError("the parser admits only known engines")
    return GaussianCopula(columns, contract.synthesis.seed)
