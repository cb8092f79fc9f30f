"""Levels of a plan, and the records of a shard at each of them, with cells instead of values.

Units, groups and rows are tables of their own: one record a household, one a basket, one a line. A record of a level
knows the columns of that level, those of the levels above it (given, when it is sampled), and how many records of the
next level belong to it (`#groups`, `#rows`), which is a column as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Level
from cloakhouse.errors import StageError
from cloakhouse.synthesis.dp_marginals.domains import Codes, Domain
from cloakhouse.synthesis.protocol import GROUP, UNIT, Plan

CHILDREN = {Level.GROUP: "#groups", Level.ROW: "#rows"}


@dataclass(frozen=True)
class Layer:
    """One level: its own columns (plan columns, then the number of children), and the given ones."""

    level: Level
    own: tuple[str, ...]
    given: tuple[str, ...]
    children: str | None

    @property
    def columns(self) -> tuple[str, ...]:
        """Given columns, then own ones."""
        return (*self.given, *self.own)


@dataclass(frozen=True)
class Records:
    """The records of one level in one shard.

    Attributes:
        units: number of units in the shard.
        unit: number of the unit of each record, int64, rising.
        codes: cell of each record by column, int64.
    """

    units: int
    unit: Codes
    codes: Mapping[str, Codes]


def layers_of(plan: Plan) -> tuple[Layer, ...]:
    """Return the levels of `plan`, from the top: rows alone, or units, groups if there are any, and rows."""
    levels = [level for level in Level if level is Level.ROW or any(c.level is level for c in plan.columns)]
    layers: list[Layer] = []
    for at, level in enumerate(levels):
        children = CHILDREN[levels[at + 1]] if at + 1 < len(levels) else None
        own = tuple(c.name for c in plan.columns if c.level is level and not c.number)
        given = layers[-1].columns if layers else ()
        layers.append(Layer(level, own + ((children,) if children else ()), given, children))
    return tuple(layers)


@dataclass(frozen=True)
class Runs:
    """Where units and groups begin in a shard: rows (int64), and the unit of each start."""

    rows: int
    unit_starts: Codes
    unit_of: Codes  # number of the unit of each start; a unit in two runs keeps its number
    group_starts: Codes

    @property
    def units(self) -> int:
        """Number of different units."""
        return int(self.unit_of.max()) + 1 if len(self.unit_of) else 0

    def starts(self, level: Level) -> Codes:
        """Return the first row of each record of `level`."""
        if level is Level.ROW:
            return np.arange(self.rows)
        return self.unit_starts if level is Level.UNIT else self.group_starts

    def unit_at(self, starts: Codes) -> Codes:
        """Return the unit of the rows `starts`."""
        if len(starts) == self.rows:
            return np.repeat(self.unit_of, np.diff(self.unit_starts, append=self.rows))
        return self.unit_of[np.searchsorted(self.unit_starts, starts, "right") - 1]

    def sizes(self, outer: Level, inner: Level) -> Codes:
        """Return how many records of `inner` belong to each one of `outer`."""
        at = np.searchsorted(self.starts(inner), self.starts(outer))
        return np.diff(at, append=len(self.starts(inner)))


def runs(table: pa.Table, grouped: bool) -> Runs:
    """Return where units (and groups, if `grouped`) begin in `table`.

    A unit that stands in two runs is found and keeps one number: bounds are by unit, not by run. Raises StageError for
    rows without a unit.
    """
    missing = table.column(UNIT).null_count
    if missing:
        raise StageError(
            where="a shard of the training view",
            expected="the unit of privacy of every row",
            found="rows without one",
            not_done="nothing was counted: rows without a unit would be outside of the guarantee",
            remedy="name a required column as `unit` in the view",
            code="unit",
        )
    heads = _heads(table.column(UNIT))
    tokens = table.column(UNIT).combine_chunks().take(pa.array(heads))
    of = pc.dictionary_encode(tokens).indices.to_numpy(zero_copy_only=False).astype(np.int64)
    groups = np.union1d(heads, _heads(table.column(GROUP))) if grouped else np.zeros(0, np.int64)
    if len(heads) and (of != np.arange(len(heads))).any():
        raise StageError(
            where="a shard of the training view",
            expected="the rows of a unit together",
            found="a unit in several places",
            not_done="nothing was counted: the bound on what a unit contributes would not hold",
            remedy="sort the shard by unit and group",
            code="unit",
        )
    return Runs(table.num_rows, heads, of, groups)


def records(found: Runs, layer: Layer, codes: Mapping[str, Codes], above: Mapping[str, tuple[Level, Codes]]) -> Records:
    """Return the records of `layer`: `codes` of its own columns, and of those `above`, which have a level each."""
    starts = found.starts(layer.level)
    given = {}
    for name, (level, values) in above.items():
        at = np.searchsorted(found.starts(level), starts, "right") - 1
        given[name] = values[at]
    return Records(found.units, found.unit_at(starts), {**given, **codes})


def encoded(table: pa.Table, layers: tuple[Layer, ...], domains: Mapping[str, Domain]) -> dict[Level, Records]:
    """Return the records of every level of `table` in the cells of `domains`. Raises StageError as `runs`."""
    grouped = any(layer.level is Level.GROUP for layer in layers)
    found = runs(table, grouped)
    above: dict[str, tuple[Level, Codes]] = {}
    result: dict[Level, Records] = {}
    for at, layer in enumerate(layers):
        starts, own = found.starts(layer.level), {}
        for name in layer.own:
            if name == layer.children:
                sizes = found.sizes(layer.level, layers[at + 1].level)
                own[name] = domains[name].encode(pa.array(np.minimum(sizes, domains[name].last)))
            else:
                column = table.column(name)
                own[name] = domains[name].encode(column if layer.level is Level.ROW else column.take(pa.array(starts)))
        result[layer.level] = records(found, layer, own, above)
        above |= {name: (layer.level, codes) for name, codes in own.items()}
    return result


def _heads(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the rows whose value differs from the row above."""
    values = column.combine_chunks()
    if not len(values):
        return np.zeros(0, np.int64)
    changed = pc.not_equal(values.slice(1), values.slice(0, len(values) - 1))
    return np.flatnonzero(np.r_[True, np.asarray(changed.to_numpy(zero_copy_only=False), np.bool_)]).astype(np.int64)
