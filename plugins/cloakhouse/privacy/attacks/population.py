"""What an attack is given and what it returns: populations with their households, columns, and one figure each.

The attacker of all these measures holds the whole release and some real rows, of which he doesn't know whether they
were used to make it. Rows of training households and of households that the engine never saw are put to the same
attack; what it does better on the former is what the release leaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cloakhouse.errors import ContractError, StageError
from cloakhouse.privacy._codes import require_columns

MIN_HOUSEHOLDS = 400  # a side: at 2 % false positives, 8 households lie above the attack's threshold
WHERE = "attacks on the release"
Report = Callable[[int, int, str], None]
Units = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AttackColumn:
    """A column as an attack sees it.

    Attributes:
        name: column name.
        categorical: values are equal or not; otherwise they are numbers.
        maximum: public cap of a number (from the contract), or None.
        sensitive: whether its inference from the other columns is measured.
    """

    name: str
    categorical: bool
    maximum: float | None
    sensitive: bool = True


@dataclass(frozen=True)
class Population:
    """One side of an attack: rows, and whose they are.

    Attributes:
        table: the view's columns only.
        units: household number of each row (int64, rows of one household share it), as long as the table.
    """

    table: pa.Table
    units: Units


@dataclass(frozen=True)
class Risk:
    """One figure of the evidence.

    Attributes:
        name: what was measured; the key of its threshold.
        value: point estimate, or None if it couldn't be computed, which a gate has to treat as failed.
        bound: one-sided upper 95 % bound, clustered by household; what a gate compares with the threshold.
        rows: real rows attacked, training and hold-out together.
        units: households attacked, training and hold-out together.
        note: method, what it is compared with, and what was sampled.
    """

    name: str
    value: float | None
    bound: float | None
    rows: int
    units: int
    note: str

    def as_dict(self) -> dict[str, str | float | int | None]:
        """Return the fields as a flat dictionary."""
        return asdict(self)


def check(synthetic: pa.Table, training: Population, holdout: Population, columns: Sequence[AttackColumn]) -> None:
    """Refuse what no honest figure can be computed from.

    Raises ContractError if fewer than two columns are named, one is missing, repeated or of another type on one side,
    or units don't fit the rows; StageError if a table is empty, or a side has less than 400 households.
    """
    names = [column.name for column in columns]
    if len(set(names)) < max(len(names), 2):
        raise _refused("two columns or more, each named once", f"{len(names)} columns, {len(set(names))} names")
    for label, table in (("synthetic", synthetic), ("training", training.table), ("hold-out", holdout.table)):
        require_columns(table, names, where=f"{WHERE}, {label} table")
        if not table.num_rows:
            raise _too_small(f"rows in the {label} table", "none", "build the evidence from a release with rows")
        for column in columns:
            _check_type(table, training.table, column, label)
    for label, side in (("training", training), ("hold-out", holdout)):
        if side.units.shape != (side.table.num_rows,) or (side.units < 0).any():
            raise _refused(f"one household number, 0 or more, for each {label} row", f"{side.units.shape}")
        found = len(np.unique(side.units))
        if found < MIN_HOUSEHOLDS:
            raise _too_small(
                f"at least {MIN_HOUSEHOLDS} {label} households for bounds at 95 %",
                f"{found}",
                f"bring {MIN_HOUSEHOLDS - found} more {label} households: raise or lower `holdoutShare`, or land more",
            )


def _check_type(table: pa.Table, other: pa.Table, column: AttackColumn, label: str) -> None:
    kind, expected = _plain(table[column.name].type), _plain(other[column.name].type)
    if kind != expected:
        raise _refused(f"column {column.name} of type {expected} on every side", f"{kind} in the {label} table")
    if not column.categorical and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise _refused(f"numbers in column {column.name}", f"{kind} in the {label} table")
    if column.maximum is not None and not 0 < column.maximum < float("inf"):
        raise _refused(f"a finite maximum above 0 for column {column.name}", "another one")


def _plain(kind: pa.DataType) -> pa.DataType:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def _refused(expected: str, found: str) -> ContractError:
    return ContractError(
        where=WHERE,
        expected=expected,
        found=found,
        not_done="no attack was run",
        remedy="give all three tables the view's columns in the contract's types",
        code="attack-columns",
    )


def _too_small(expected: str, found: str, remedy: str) -> StageError:
    return StageError(
        where=WHERE, expected=expected, found=found, not_done="no attack was run", remedy=remedy, code="too-small"
    )
