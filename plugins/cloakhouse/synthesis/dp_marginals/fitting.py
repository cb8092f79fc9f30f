"""The fit of one level, with its part of the budget: cells, a tree, cliques, and the columns' distribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cloakhouse.contracts.model import Level
from cloakhouse.errors import StageError
from cloakhouse.synthesis.dp_marginals import bins as binning
from cloakhouse.synthesis.dp_marginals import selection, spending
from cloakhouse.synthesis.dp_marginals.arrays import Arrays
from cloakhouse.synthesis.dp_marginals.bounding import ONE, Sums, norms
from cloakhouse.synthesis.dp_marginals.counting import Binned, Marginal, pairs_of, scored
from cloakhouse.synthesis.dp_marginals.domains import Domain
from cloakhouse.synthesis.dp_marginals.estimate import shares
from cloakhouse.synthesis.dp_marginals.network import Node, cell_shares, nodes
from cloakhouse.synthesis.dp_marginals.records import CHILDREN, Layer
from cloakhouse.synthesis.dp_marginals.release import (
    Measurement,
    Wanted,
    all_measured,
    clip_at,
    measured,
    quantile_for,
)
from cloakhouse.synthesis.dp_marginals.scores import EXPECTED, Score, against, dependence
from cloakhouse.synthesis.dp_marginals.selection import Edge
from cloakhouse.synthesis.dp_marginals.spending import SAFE, Purse
from cloakhouse.synthesis.protocol import Plan

WORTH = 0.7  # share of the raw noise that a measurement has to beat: shrinkage removes about as much
NORM_OF_PAIR = 0.7  # norm of a pair's counts relative to the smaller one of its columns, as a guess
MOST_CLIQUES, CLIQUE_CELLS = 24, 1100
MOSTLY = 0.5  # missing share above which a column that is never null can't be fitted
SIGMAS = 5  # of noise by which it has to be above


@dataclass(frozen=True)
class Layered:
    """One level as it was fitted: its bins, and its columns in the order of drawing."""

    binned: Binned
    nodes: tuple[Node, ...]


class LevelFit:
    """One level: `measure_cells`, `choose_tree`, `measure_bins`, in this order, each after a pass over the shards."""

    def __init__(
        self, plan: Plan, layer: Layer, cap: int, domains: Mapping[str, Domain], purse: Purse, rho: float
    ) -> None:
        self.layer = layer
        self.cells: list[Measurement] = []
        self.bins: list[Measurement] = []
        self._most = int(plan.parameters.get("bins", binning.BINS))
        self._cap, self._domains, self._purse, self._rho = cap, domains, purse, rho
        self._spent = 0.0
        self._edges: list[Edge] = []

    def measure_cells(self, exact: Arrays, above: Mapping[Level, Binned]) -> Binned:
        """Measure totals and every column in its cells. Returns the level's bins, given those of the levels above."""
        before = self._purse.left
        level, candidates, columns = str(self.layer.level), norms(self._cap), self.layer.columns
        totals = [
            Wanted(level, "units", (), ONE * exact[f"{level}/units"], 1),
            Wanted(level, "records", (), ONE * exact[f"{level}/records"], self._cap),
            Wanted(level, "weight", (), exact[f"{level}/weight"], scored(self._cap)),
        ]
        part = self._rho * spending.TOTALS / len(totals) * SAFE
        self.cells += [measured(total, self._purse, part) for total in totals]
        units, _, weight = self.cells
        self._weight = max(float(weight.counts[0]), 1.0)
        self._quantile = quantile_for(self._rho, float(units.counts[0]))
        wanted = []
        for name in columns:
            sums = _sums(exact, f"{level}/{name}")
            rho = self._rho * spending.FINE_NORMS * SAFE / len(columns)
            at = clip_at(sums, candidates, self._quantile, self._purse, f"{level}: {name} in cells", rho)
            wanted.append(Wanted(level, "cells", (name,), sums.clipped(candidates, at), int(candidates[at])))
        found = all_measured(wanted, self._purse, self._rho * spending.FINE)
        self.cells += found
        self._fine = {m.columns[0]: m for m in found}
        self._binned = self._bins(above)
        self._spent += before - self._purse.left
        return self._binned

    def choose_tree(self, exact: Arrays) -> None:
        """Choose the pairs that will be measured."""
        before = self._purse.left
        rounds = len(self.layer.own) if self.layer.given else len(self.layer.own) - 1
        if rounds < 1:
            return
        scores: dict[Edge, Score] = {}
        for marginal in pairs_of(self.layer):
            child, parent = marginal.columns
            scores[Edge(child, parent)] = score = self._scored(marginal, exact, rounds)
            if parent in self.layer.own:
                scores[Edge(parent, child)] = score
        part = self._rho * spending.TREE * SAFE / rounds
        draw = selection.rounds(self._purse, f"{self.layer.level}: choice of a pair", part)
        self._edges = selection.tree(self.layer.own, self.layer.given, scores, draw)
        self._spent += before - self._purse.left

    def marginals(self) -> tuple[Marginal, ...]:
        """Return what will be measured in bins: own columns, the chosen pairs, and given columns in them."""
        used = [e.parent for e in self._edges if e.parent in self.layer.given]
        singles = [Marginal((name,)) for name in dict.fromkeys([*self.layer.own, *used])]
        return (*singles, *(Marginal((edge.child, edge.parent)) for edge in self._edges))

    def candidates(self) -> tuple[Marginal, ...]:
        """Return the cliques of three that may be measured."""
        found = selection.wider(self._edges, 10 * MOST_CLIQUES)
        triples = [Marginal((edge.child, edge.parent, third), thinned=True) for edge, third in found]
        return tuple([m for m in triples if np.prod(self._binned.shape(m)) <= CLIQUE_CELLS][:MOST_CLIQUES])

    def measure_bins(self, exact: Arrays) -> Layered:
        """Choose cliques, measure everything in bins, and return the level's distribution."""
        before = self._purse.left
        third = self._choose_cliques(exact)
        cliques = [Marginal((e.child, e.parent, other), thinned=True) for e, other in third.items()]
        wanted = self._clipped(exact, [*self.marginals(), *cliques])
        self._spent += before - self._purse.left
        rest = (self._rho - self._spent) * SAFE
        singles = [w for w in wanted if len(w.columns) == 1]
        joint = [w for w in wanted if len(w.columns) > 1]
        part = rest * (spending.COARSE if joint else 1.0)
        self.bins += all_measured(singles, self._purse, part)
        self.bins += all_measured(joint, self._purse, rest - part)
        by_name = {m.columns: m for m in self.bins}
        return Layered(self._binned, nodes(self._binned, self._domains, self._edges, third, by_name, self._fine))

    def _clipped(self, exact: Arrays, marginals: list[Marginal]) -> list[Wanted]:
        level, candidates, wanted = self.layer.level, norms(self._cap), []
        for marginal in marginals:
            sums = _sums(exact, f"{level}/{marginal.name}")
            rho = self._rho * spending.NORMS * SAFE / len(marginals)
            what = f"{level}: {marginal.name} in bins"
            at = clip_at(sums, candidates, self._quantile, self._purse, what, rho)
            total = sums.clipped(candidates, at)
            wanted.append(Wanted(str(level), "bins", marginal.columns, total, int(candidates[at]), marginal.thinned))
        return wanted

    def _choose_cliques(self, exact: Arrays) -> dict[Edge, str]:
        scores: dict[tuple[Edge, str], Score] = {}
        for marginal in self.candidates():
            child, parent, other = marginal.columns
            cube = exact[f"{self.layer.level}/{marginal.name}/weighted"].reshape(self._binned.shape(marginal))
            penalty = self._expected(marginal, 2 * len(self._edges))
            scores[Edge(child, parent), other] = dependence(cube, scored(self._cap), penalty)
        if not scores:
            return {}
        part = self._rho * spending.WIDER * SAFE / len({edge for edge, _ in scores})
        return selection.cliques(scores, selection.rounds(self._purse, f"{self.layer.level}: choice of a clique", part))

    def _scored(self, marginal: Marginal, exact: Arrays, rounds: int) -> Score:
        """Return a pair's score, against what it would be if its columns were independent.

        By noisy margins, or by exact ones where columns are given: a column of a unit is distributed in another way
        over units than over rows, so margins of another weighting won't do.
        """
        table, weight = exact[f"{self.layer.level}/{marginal.name}"], scored(self._cap)
        penalty = self._expected(marginal, rounds)
        if self.layer.given:
            return dependence(table[:, None, :], weight, penalty)
        margins = [
            binning.grouped(self._binned.bins[name], shares(self._fine[name].counts)) for name in marginal.columns
        ]
        return against(table, self._weight * np.outer(*margins), weight, penalty)

    def _expected(self, marginal: Marginal, shared: int) -> float:
        """Return the L1 error (weighted rows) that noise would leave in `marginal`, from what is released already."""
        rest = self._rho * (1 - sum((spending.TOTALS, spending.FINE, spending.TREE, spending.WIDER)))
        sigma = 1 / np.sqrt(2 * rest * (1 - spending.COARSE) / shared)
        fine = [self._fine[name] for name in marginal.columns]
        norm = NORM_OF_PAIR * min(m.clip / max(float(m.counts.sum()), 1.0) for m in fine)
        cells = float(np.prod(self._binned.shape(marginal)))
        return float(WORTH * EXPECTED * sigma * norm * cells * self._weight)

    def _bins(self, above: Mapping[Level, Binned]) -> Binned:
        bins: dict[str, np.ndarray] = {}
        wide: dict[str, np.ndarray] = {}
        upper = {name: found for found in above.values() for name in found.layer.own}
        for name in self.layer.columns:
            if name in upper:
                bins[name], wide[name] = upper[name].bins[name], upper[name].wide[name]
                continue
            domain, known = self._domains[name], cell_shares(self._fine[name], self._domains[name])
            _refuse_missing(domain, self._fine[name])
            bins[name] = binning.coarse(domain, known, self._most)
            wide[name] = binning.widened(domain, bins[name], known)
        return Binned(self.layer, self._cap, bins, wide)


def _sums(exact: Arrays, name: str) -> Sums:
    return Sums(*(exact[f"{name}/{field}"] for field in ("units", "inside", "beyond")))


def _refuse_missing(domain: Domain, found: Measurement) -> None:
    """Raise StageError where most values of a column that is never null are missing, as the noisy counts tell."""
    excess = float(found.counts[-1] - MOSTLY * found.counts.sum())
    certain = excess > SIGMAS * found.sigma * np.sqrt(1 + len(found.counts) / 4)
    if domain.nullable or domain.origin == "learnt" or domain.name in CHILDREN.values() or not certain:
        return
    raise StageError(
        where=f"column `{domain.name}`",
        expected="values of its domain, since it is never null",
        found="mostly nulls and values outside of its domain, by the noisy counts",
        not_done="nothing was sampled or published",
        remedy="correct `values` or the cap in the contract, or let the column be null",
        code="domain",
    )
