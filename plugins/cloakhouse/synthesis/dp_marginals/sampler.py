"""Draw records column by column: a whole column at a time, from alias tables.

Source: Walker 1977, doi:10.1145/355744.355749.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cloakhouse.synthesis.dp_marginals.counting import Binned
from cloakhouse.synthesis.dp_marginals.domains import Codes, Domain
from cloakhouse.synthesis.dp_marginals.network import Node

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Alias:
    """Tables from which rows of `shares` (each sums to 1) are drawn in constant time."""

    shares: Reals

    @cached_property
    def tables(self) -> tuple[Reals, Codes]:
        """Return (share of a column that is its own, who has the rest), flattened from the shape of `shares`."""
        rows, width = self.shares.shape
        keep, other = np.ones((rows, width)), np.tile(np.arange(width), (rows, 1))
        for row, shares in enumerate(self.shares * width):
            left = shares.copy()
            small = [at for at in range(width) if left[at] < 1]
            large = [at for at in range(width) if left[at] >= 1]
            while small and large:
                low, high = small.pop(), large[-1]
                keep[row, low], other[row, low] = left[low], high
                left[high] -= 1 - left[low]
                if left[high] < 1:
                    small.append(large.pop())
            for at in small:  # only by rounding: what has no share stays without one
                if self.shares[row, at] == 0:
                    keep[row, at], other[row, at] = 0.0, int(np.argmax(shares))
        return keep.ravel(), other.ravel()

    def draw(self, row: Codes | int, size: int, generator: np.random.Generator) -> Codes:
        """Return `size` numbers from the shares in row `row` (one for all, or one each)."""
        width = self.shares.shape[1]
        keep, other = self.tables
        place = generator.random(size) * width
        column = np.minimum(place.astype(np.int64), width - 1)
        at = column + row * width
        return np.asarray(np.where(place - column < keep[at], column, other[at]))


@dataclass(frozen=True)
class Drawn:
    """Records of one level: values of the plan's columns, bins for the level below, and numbers of children."""

    values: Mapping[str, pa.Array]
    bins: Mapping[str, Codes]
    children: Codes | None


@dataclass(frozen=True)
class Sampler:
    """Draws the records of one level."""

    binned: Binned
    nodes: tuple[Node, ...]
    domains: Mapping[str, Domain]

    @cached_property
    def _tables(self) -> list[tuple[Alias, Alias]]:
        return [(Alias(node.table), Alias(_within(node.cells, self.binned.bins[node.column]))) for node in self.nodes]

    @cached_property
    def _wide(self) -> Mapping[str, Codes]:
        """Wide bin of each bin, by column."""
        found = {}
        for name, bins in self.binned.bins.items():
            table = np.zeros(int(bins.max()) + 1, np.int64)
            table[bins] = self.binned.wide[name]
            found[name] = table
        return found

    def draw(self, size: int, given: Mapping[str, Codes], generator: np.random.Generator) -> Drawn:
        """Return `size` records, where `given` has the bins of the columns above for each."""
        bins: dict[str, Codes] = dict(given)
        values: dict[str, pa.Array] = {}
        children = None
        for node, (alias, inside) in zip(self.nodes, self._tables, strict=True):
            row: Codes | int = 0
            if node.parents:
                row = bins[node.parents[0]]
            if len(node.parents) == 2:
                wide = self._wide[node.parents[1]]
                row = row * (int(wide.max()) + 1) + wide[bins[node.parents[1]]]
            bins[node.column] = alias.draw(row, size, generator)
            cells = inside.draw(bins[node.column], size, generator)
            column = self.domains[node.column].decode(cells, generator)
            if node.column == self.binned.layer.children:
                children = np.maximum(np.asarray(column.fill_null(1)), 1)
            else:
                values[node.column] = column
        return Drawn(values, bins, children)


def _within(cells: Reals, bins: Codes) -> Reals:
    """Return shares of the cells in each bin, shape (bins, cells); rows sum to 1."""
    table = np.zeros((int(bins.max()) + 1, len(cells)))
    table[bins, np.arange(len(cells))] = cells
    empty = table.sum(axis=1) <= 0
    member = bins[None, :] == np.arange(len(table))[:, None]
    table[empty] = member[empty]
    return np.asarray(table / table.sum(axis=1, keepdims=True))
