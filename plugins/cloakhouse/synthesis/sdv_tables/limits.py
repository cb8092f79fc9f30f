"""What a plan may ask of SDV's engines: parameters within bounds, no guarantee, and the levels that an engine knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Level
from cloakhouse.errors import ContractError, StageError
from cloakhouse.synthesis.protocol import Plan, ViewColumn

MAX_CATEGORIES = 1_000  # one input of a network each; the library itself warns above
LEAST = 2  # rows
LEAST_UNITS = 10


@dataclass(frozen=True)
class Bound:
    """A whole number that a contract may set: its default and inclusive bounds, and what it must be a multiple of."""

    default: int
    low: int
    high: int
    multiple: int = 1

    def holds(self, value: object) -> bool:
        """Return whether `value` is such a number."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.low <= value <= self.high and value % self.multiple == 0  # type: ignore[operator]

    def __str__(self) -> str:
        return f"{self.low} to {self.high}" + (f", a multiple of {self.multiple}" if self.multiple > 1 else "")


Bounds = Mapping[str, Bound]


def chosen(parameters: Mapping[str, Any], bounds: Bounds) -> dict[str, int]:
    """Return every parameter of an engine, defaults where the contract says nothing."""
    return {name: int(parameters.get(name, bound.default)) for name, bound in bounds.items()}


def check_values(engine: str, parameters: Mapping[str, Any], bounds: Bounds) -> None:
    """Raise ContractError (`contract.parameters`) for a parameter that `engine` doesn't have, or out of its bounds."""
    for name, value in parameters.items():
        bound = bounds.get(name)
        if bound is None or not bound.holds(value):
            raise _refused(
                engine,
                f"`{name}`: a whole number, {bound}" if bound else f"parameters among: {', '.join(bounds) or 'none'}",
                f"{type(value).__name__} outside of that" if bound else f"`{name}`",
                "correct `parameters` of the synthesis",
                "parameters",
            )


def check_rows(engine: str, plan: Plan) -> None:
    """Raise ContractError unless `plan` is one for an engine of single tables: no guarantee, columns of the row."""
    check_guarantee(engine, plan)
    above = [column.name for column in plan.columns if column.level is not Level.ROW or column.number]
    if above:
        raise _refused(
            engine,
            "columns of the row alone: a single table has no households",
            f"columns of another level, or numbers: {', '.join(above)}",
            "leave them out, or choose the engine `hma` or `dp-marginals`",
            "levels",
        )


def check_units(engine: str, plan: Plan) -> None:
    """Raise ContractError unless `plan` has columns of units and rows alone, and a range for each number."""
    check_guarantee(engine, plan)
    groups = [column.name for column in plan.columns if column.level is Level.GROUP]
    if groups:
        raise _refused(
            engine,
            "two levels, units and their rows: SDV's public edition takes no third",
            f"columns of groups: {', '.join(groups)}",
            "choose the engine `dp-marginals`, which takes three levels, or leave these columns out",
            "levels",
        )
    numbered = [column.name for column in plan.columns if column.number not in (None, Level.UNIT)]
    if numbered or not of_level(plan, Level.ROW):
        raise _refused(
            engine,
            "at least one column of the row, and numbers of units alone",
            f"numbers of groups: {', '.join(numbered)}" if numbered else "no column of the row",
            "correct the levels of the columns, or choose an engine of single tables",
            "levels",
        )
    open_ended = [c.name for c in plan.columns if not c.categorical and not c.number and c.maximum is None]
    if open_ended:
        raise _refused(
            engine,
            "a cap for each number: else the engine would take the ends of its range from single households",
            f"none for: {', '.join(open_ended)}",
            "declare `cap` for these measures",
            "cap",
        )


def check_guarantee(engine: str, plan: Plan) -> None:
    """Raise ContractError (`contract.guarantee`) for a plan that asks for differential privacy, or has no column."""
    if plan.privacy is not None:
        raise _refused(
            engine,
            "no `privacy`: this engine gives no guarantee",
            f"epsilon {plan.privacy.epsilon:g}",
            "choose the engine `dp-marginals`, or leave `privacy` out and release by the gate alone",
            "guarantee",
        )
    if not [column for column in plan.columns if not column.number]:
        raise _refused(engine, "at least one column with values", "none", "declare measures in the view", "columns")


def of_level(plan: Plan, level: Level) -> tuple[ViewColumn, ...]:
    """Return the columns of `level` that have values, in order."""
    return tuple(column for column in plan.columns if column.level is level and not column.number)


def check_size(table: pa.Table, units: int | None = None) -> None:
    """Raise StageError (`stage.too-small`) for fewer than two training rows, or ten units where they are counted."""
    found, least, what = (table.num_rows, LEAST, "rows") if units is None else (units, LEAST_UNITS, "units of privacy")
    if found < least:
        raise StageError(
            where="synthesis",
            expected=f"at least {least} training {what}",
            found=f"{found}",
            not_done="nothing was fitted or sampled",
            remedy="land more partitions, or widen the view in the contract",
            code="too-small",
        )


def check_categories(engine: str, count: int) -> None:
    """Raise StageError (`stage.categories`) for more categories than a network should have inputs."""
    if count > MAX_CATEGORIES:
        raise StageError(
            where=f"synthesis with {engine}",
            expected=f"at most {MAX_CATEGORIES:,} categories over all columns",
            found=f"{count:,}",
            not_done="nothing was fitted or sampled",
            remedy="generalize the columns with many categories, or choose the engine `gaussian copula`",
            code="categories",
        )


def _refused(engine: str, expected: str, found: str, remedy: str, code: str) -> ContractError:
    return ContractError(
        where=f"the synthesis with `{engine}`",
        expected=expected,
        found=found,
        not_done="no data was read, and nothing was fitted",
        remedy=remedy,
        code=code,
    )
