"""The cells of a column: public, or bought under the guarantee. A row's value becomes the number of its cell.

Numbers lie on a public grid (ones, or cents), and a cell is a range of it; other columns have a cell for each value.
One more cell, the last, is for what is missing: null, or outside of the domain. It is sampled as null where the column
may be null, and never where it may not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.synthesis.cells import cells
from cloakhouse.synthesis.protocol import ViewColumn

GROWTH = 1.15  # of a cell to the one below: finer ones would hold more noise than rows
CENTS = 100  # grid steps in one of a number that isn't whole
LOOKUP = 2**21  # grid points up to which cells are looked up in a table
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Domain:
    """The cells of one column.

    Attributes:
        name: of the column; `#groups` and `#rows` are numbers of children.
        starts: first grid point of each cell (numbers), rising; None for other columns.
        last: last grid point of the last cell (numbers).
        per_one: grid points in one: 1 for whole numbers, 100 for money.
        values: the value of each cell (other columns).
        nullable: whether the missing cell is sampled.
        origin: `declared`, `range` (cells of the contract's range), or `learnt` (bought under the guarantee).
    """

    name: str
    type: str
    nullable: bool
    origin: str
    starts: tuple[int, ...] | None = None
    last: int = 0
    per_one: int = 1
    values: tuple[Any, ...] = ()

    @property
    def ordered(self) -> bool:
        """Whether cells stand in the order of a number line."""
        return self.starts is not None

    @property
    def size(self) -> int:
        """How many cells there are, with the missing one."""
        return 1 + len(self.values if self.starts is None else self.starts)

    @cached_property
    def widths(self) -> Codes:
        """Grid points in each cell (numbers)."""
        return np.asarray(np.diff(np.array([*(self.starts or ()), self.last + 1], np.int64)), np.int64)

    def encode(self, column: pa.ChunkedArray | pa.Array) -> Codes:
        """Return the cell of each row of `column`, int64; `size` - 1 is the missing one."""
        if self.starts is None:
            found = pc.index_in(column, value_set=pa.array(self.values, column.type))
            return _numpy(found.cast(pa.int64()).fill_null(self.size - 1))
        numbers = _numpy(column.cast(pa.float64(), safe=False).fill_null(math.nan)) * self.per_one
        inside = (numbers > -0.5) & (numbers < self.last + 0.5)  # False for NaN
        grid = np.rint(np.where(inside, numbers, 0.0)).astype(np.int64)
        return np.where(inside, self._cell(grid), self.size - 1)

    def decode(self, codes: Codes, draw: np.random.Generator) -> pa.Array:
        """Return one value of each cell in `codes`: uniform within it, null for the missing one."""
        missing = codes == self.size - 1
        mask = missing if missing.any() else None
        if self.starts is None:
            values = pa.array(self.values, pa.type_for_alias(self.type))
            return values.take(pa.array(codes, mask=mask))
        codes = np.minimum(codes, self.size - 2)
        grid = np.array(self.starts)[codes] + (draw.random(len(codes)) * self.widths[codes]).astype(np.int64)
        numbers = grid if self.per_one == 1 else grid / self.per_one
        return pa.array(numbers, mask=mask).cast(pa.type_for_alias(self.type), safe=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {
            "name": self.name,
            "type": self.type,
            "nullable": self.nullable,
            "origin": self.origin,
            "starts": None if self.starts is None else list(self.starts),
            "last": self.last,
            "per_one": self.per_one,
            "values": list(self.values),
        }

    def _cell(self, grid: Codes) -> Codes:
        if self.last < LOOKUP:
            return self._lookup[grid]
        return np.asarray(np.searchsorted(np.array(self.starts), grid, "right") - 1)

    @cached_property
    def _lookup(self) -> Codes:
        return np.repeat(np.arange(self.size - 1), self.widths)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def from_dict(data: Mapping[str, Any]) -> Domain:
    """Return the domain whose `as_dict` was `data`."""
    starts = None if data["starts"] is None else tuple(data["starts"])
    return Domain(**{**data, "starts": starts, "values": tuple(data["values"])})


def numbers(name: str, type_: str, maximum: float, nullable: bool) -> Domain:
    """Return the cells of [0, `maximum`]: whole numbers for an integer type, cents for others."""
    per_one = 1 if type_.startswith(("int", "uint")) else CENTS
    edges = cells(maximum, GROWTH) * per_one
    last = max(math.floor(maximum * per_one + 1e-6), 0)
    starts = np.unique(np.clip(np.ceil(edges[:-1]), 0, None).astype(np.int64))
    return Domain(name, type_, nullable, "range", tuple(starts[starts <= last].tolist()), last, per_one)


def declared(column: ViewColumn, values: Sequence[Any], origin: str = "declared") -> Domain:
    """Return a cell for each of `values`; a null among them is the missing cell."""
    known = tuple(dict.fromkeys(value for value in values if value is not None))
    return Domain(column.name, str(column.type), column.nullable, origin, values=known)


def domain_of(column: ViewColumn) -> Domain | None:
    """Return the public cells of `column`, or None if its categories have to be learnt."""
    if column.values is not None:
        return declared(column, column.values)
    if pa.types.is_boolean(column.type):
        return declared(column, (False, True))
    if column.categorical or column.maximum is None:
        return None
    return numbers(column.name, str(column.type), column.maximum, column.nullable)


def _numpy(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    return np.asarray(column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(False))
