"""A level's distribution: every column given at most two others, so that rows are drawn column by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloakhouse.synthesis.dp_marginals.bins import grouped
from cloakhouse.synthesis.dp_marginals.counting import Binned, Marginal
from cloakhouse.synthesis.dp_marginals.domains import Domain
from cloakhouse.synthesis.dp_marginals.estimate import fitted, shares
from cloakhouse.synthesis.dp_marginals.release import Measurement
from cloakhouse.synthesis.dp_marginals.selection import Edge

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Node:
    """One column in its place in the order of drawing.

    Attributes:
        parents: columns that it depends on (0 to 2); the second one in its wide bins.
        table: shares of its bins, shape (bins of the parents together, bins); rows sum to 1.
        cells: shares of its cells, shape (cells,).
    """

    column: str
    parents: tuple[str, ...]
    table: Reals
    cells: Reals


def known(values: Reals, domain: Domain) -> Reals:
    """Return shares without the missing cell (or bin), which is the last, where `domain` is never null."""
    if domain.nullable:
        return values
    kept = np.r_[values[:-1], 0.0]
    total = float(kept.sum())
    even = np.r_[np.full(len(values) - 1, 1 / max(len(values) - 1, 1)), 0.0]
    return np.asarray(kept / total if total > 0 else even)


def cell_shares(found: Measurement, domain: Domain) -> Reals:
    """Return the distribution of a column over its cells."""
    return known(shares(found.counts), domain)


def bin_shares(fine: Measurement, found: Iterable[Measurement], binned: Binned, domain: Domain) -> Reals:
    """Return the distribution of a column over its bins, from all that was measured of it.

    Its cells, its bins, and every pair and clique with it, summed over the other columns, are independent estimates of
    the same shares: each is weighted by the inverse of its variance.
    """
    table = binned.bins[domain.name]
    estimates = [(grouped(table, fine.counts), np.bincount(table) * fine.sigma**2)]
    for m in found:
        if domain.name in m.columns and not (m.thinned and m.columns[-1] == domain.name):
            shape = binned.shape(Marginal(m.columns, m.thinned))
            at = m.columns.index(domain.name)
            others = tuple(axis for axis in range(len(shape)) if axis != at)
            counts = m.counts.reshape(shape).sum(axis=others)
            estimates.append((counts, np.full(len(counts), m.sigma**2 * m.noisy.size / len(counts))))
    weighted, weights = np.zeros(len(estimates[0][0])), np.zeros(len(estimates[0][0]))
    for counts, variance in estimates:
        total = float(counts.sum())
        if total > 0:
            weighted += counts * total / variance
            weights += total**2 / variance
    return known(shares(weighted / np.maximum(weights, 1e-300)), domain)


def nodes(
    binned: Binned,
    domains: Mapping[str, Domain],
    edges: Sequence[Edge],
    third: Mapping[Edge, str],
    found: Mapping[tuple[str, ...], Measurement],
    fine: Mapping[str, Measurement],
) -> tuple[Node, ...]:
    """Return the level's columns in the order of drawing.

    `found` has the measurements in bins by their columns: each column, (child, parent) of each edge, and (child,
    parent, third) of each clique. `fine` has the columns in cells.
    """
    single = {
        name: bin_shares(fine[name], found.values(), binned, domains[name])
        for name in binned.layer.columns
        if (name,) in found
    }
    cells = {
        name: _rescaled(cell_shares(fine[name], domains[name]), binned.bins[name], single[name]) for name in single
    }
    pairs: dict[tuple[str, str], Reals] = {}
    for edge in edges:
        child, parent = single[edge.child], single[edge.parent]
        measurement = found[edge.child, edge.parent]
        noisy = measurement.counts.reshape(len(child), len(parent))
        table = fitted(noisy, np.outer(child, parent), measurement.sigma, child, parent)
        pairs[edge.child, edge.parent], pairs[edge.parent, edge.child] = table, table.T
    own = {edge.child: edge for edge in edges}
    first = [edge.parent for edge in edges if edge.parent in binned.layer.own and edge.parent not in own]
    order = list(dict.fromkeys([*first, *own, *binned.layer.own]))
    result = []
    for name in order:
        parents: tuple[str, ...] = ()
        joint = single[name][:, None]
        if name in own:
            edge = own[name]
            parents, joint = (edge.parent,), pairs[name, edge.parent]
            if edge in third:
                other = third[edge]
                parents = (edge.parent, other)
                joint = _clique(
                    joint, pairs[edge.parent, other], binned.wide[other], binned.bins[other], found[(name, *parents)]
                )
        result.append(Node(name, parents, _conditional(joint, single[name]), cells[name]))
    return tuple(result)


def _clique(
    pair: Reals, beside: Reals, wide: npt.NDArray[np.int64], bins: npt.NDArray[np.int64], found: Measurement
) -> Reals:
    """Return the joint shares of (child, parent x third) from the noisy clique, near independence given the parent.

    `pair` is (child, parent), `beside` (parent, third in bins); `wide` and `bins` map the third column's cells.
    """
    merged = np.zeros((beside.shape[0], int(wide.max()) + 1))
    to_wide = np.zeros(int(bins.max()) + 1, np.int64)
    to_wide[bins] = wide
    np.add.at(merged.T, to_wide, beside.T)
    mass = pair.sum(axis=0)
    share = np.where(mass > 0, pair / np.where(mass > 0, mass, 1.0), 0.0)
    base = (share[:, :, None] * merged[None, :, :]).reshape(len(pair), -1)
    noisy = found.counts.reshape(base.shape)
    return fitted(noisy, base, found.sigma, pair.sum(axis=1), merged.ravel())


def _conditional(joint: Reals, alone: Reals) -> Reals:
    """Return shares of the rows of `joint` given its columns, transposed; `alone` where a column has no mass."""
    mass = joint.sum(axis=0)
    table = np.where(mass > 0, joint / np.where(mass > 0, mass, 1.0), alone[:, None]).T
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def _rescaled(cells: Reals, table: npt.NDArray[np.int64], bins: Reals) -> Reals:
    """Return shares of cells that sum to `bins` in each bin; even shares in a bin without any."""
    mass = grouped(table, cells)
    even = 1.0 / np.bincount(table)
    return np.asarray(
        np.where(mass[table] > 0, cells / np.where(mass > 0, mass, 1.0)[table], even[table]) * bins[table]
    )
