"""From Arrow to what the library is fitted on, and back: codes and numbers without any null.

The library sees categories as whole numbers 0, 1, ... whose meaning stays here, so that text, flags and large numbers
come back exact and no order of a hash decides anything. A number beside nulls becomes two columns: whether it is there,
and the number, drawn from the column's others where it is missing. A column that never varies isn't modelled at all.
Ranges and roundings are those of the plan: clipped to [0, maximum], whole numbers whole, others in hundredths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import StageError
from cloakhouse.synthesis.protocol import ViewColumn

HUNDREDTHS = 2  # digits of numbers that aren't whole
CATEGORY, NUMBER, CONSTANT = "category", "number", "constant"
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Coding:
    """How one column is coded.

    Attributes:
        column: name in the view.
        name: name within the library (a letter and a number), that of the flag of nulls is `<name>n`.
        kind: category, number or constant.
        values: what the codes stand for, None for null; the one value of a constant; empty for numbers.
        flagged: whether a number has a flag for nulls beside it.
        maximum: of numbers; None is unbounded.
    """

    column: str
    name: str
    kind: str
    values: tuple[Any, ...] = ()
    flagged: bool = False
    maximum: float | None = None

    @property
    def flag(self) -> str:
        """Name of the flag within the library."""
        return f"{self.name}n"


def learn(table: pa.Table, columns: Iterable[ViewColumn], letter: str = "c") -> tuple[Coding, ...]:
    """Return the codings of `columns`, learnt from the values of `table`; `letter` begins their names in the library.

    Raises StageError for nulls in a column without, and for numbers that aren't finite.
    """
    return tuple(
        _learn(column, f"{letter}{at}", table.column(column.name).combine_chunks()) for at, column in enumerate(columns)
    )


def categories(codings: Iterable[Coding]) -> int:
    """Return the number of codes over all columns, two for each flag."""
    return sum(len(c.values) if c.kind == CATEGORY else 2 * c.flagged for c in codings)


def varies(codings: Iterable[Coding]) -> bool:
    """Return whether there is anything to model."""
    return any(coding.kind != CONSTANT for coding in codings)


def encode(table: pa.Table, codings: Iterable[Coding], seed: int) -> dict[str, npt.NDArray[Any]]:
    """Return the library's columns by name: int64 codes and float64 numbers, without nulls."""
    draw = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0xF111])))
    made: dict[str, npt.NDArray[Any]] = {}
    for coding in codings:
        values = table.column(coding.column).combine_chunks()
        if coding.kind == CATEGORY:
            known = pa.array(coding.values, values.type)
            made[coding.name] = pc.index_in(values, value_set=known).to_numpy(zero_copy_only=False).astype(np.int64)
        elif coding.kind == NUMBER:
            numbers = _numbers(values)
            missing = np.isnan(numbers)
            if coding.flagged:
                made[coding.flag] = missing.astype(np.int64)
                numbers[missing] = draw.choice(numbers[~missing], int(missing.sum()))
            made[coding.name] = _clipped(numbers, coding)
    return made


def decode(made: Any, rows: int, codings: Iterable[Coding], columns: Sequence[ViewColumn]) -> dict[str, pa.Array]:
    """Return the columns of the view by name from `made`, the library's by name (frame or mapping) of `rows` rows."""
    types = {column.name: column.type for column in columns}
    found = {}
    for coding in codings:
        kind = types[coding.column]
        if coding.kind == CONSTANT:
            found[coding.column] = pa.repeat(pa.scalar(coding.values[0], kind), rows)
        elif coding.kind == CATEGORY:
            codes = np.asarray(made[coding.name], np.float64).round().astype(np.int64)
            within = np.clip(codes, 0, len(coding.values) - 1)
            found[coding.column] = pa.array(coding.values, kind).take(pa.array(within))
        else:
            found[coding.column] = _rounded(made, coding, kind)
    return found


def _learn(column: ViewColumn, name: str, values: pa.Array) -> Coding:
    if values.null_count and not column.nullable:
        raise _refused(column, "a value in every row", f"{values.null_count} rows without one", "null")
    if column.categorical:
        distinct = pc.unique(values).to_pylist()
        ordered = (*sorted(v for v in distinct if v is not None), *([None] if None in distinct else []))
        return Coding(column.name, name, CATEGORY if len(ordered) > 1 else CONSTANT, ordered or (None,))
    numbers = _numbers(values)
    known = numbers[~np.isnan(numbers)]
    if not np.isfinite(known).all():
        raise _refused(column, "finite numbers", f"{int((~np.isfinite(known)).sum())} that aren't", "not-finite")
    if not len(known):
        return Coding(column.name, name, CONSTANT, (None,))
    coding = Coding(column.name, name, NUMBER, (), len(known) < len(numbers), column.maximum)
    if not coding.flagged and (known == known[0]).all():
        return Coding(column.name, name, CONSTANT, (_python(_clipped(known[:1], coding)[0], column.type),))
    return coding


def _numbers(values: pa.Array) -> Numbers:
    return np.array(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _clipped(numbers: Numbers, coding: Coding) -> Numbers:
    return numbers if coding.maximum is None else np.clip(numbers, 0.0, coding.maximum)


def _python(number: float, kind: pa.DataType) -> int | float:
    return round(number) if pa.types.is_integer(kind) else round(float(number), HUNDREDTHS)


def _rounded(made: Any, coding: Coding, kind: pa.DataType) -> pa.Array:
    numbers = _clipped(np.asarray(made[coding.name], np.float64), coding)
    numbers = np.round(numbers, 0 if pa.types.is_integer(kind) else HUNDREDTHS) + 0.0  # no negative zero
    missing = np.asarray(made[coding.flag], np.float64) > 0.5 if coding.flagged else None
    return pa.array(numbers, pa.float64(), mask=missing).cast(kind, safe=False)


def _refused(column: ViewColumn, expected: str, found: str, code: str) -> StageError:
    return StageError(
        where=f"synthesis, column `{column.name}`",
        expected=expected,
        found=found,
        not_done="nothing was fitted or sampled",
        remedy="correct the view, or declare the column as one that may be missing",
        code=code,
    )
