"""The tables of a dp-marginals model made again from its noisy numbers: whatever else went into them is found out.

A model records noisy counts and holds the tables that rows are drawn from. An engine that records honest noise and
draws from exact counts all the same would pass every account of its noise; this comparison is what it doesn't pass.
"""

from __future__ import annotations

import numpy as np

from cloakhouse.synthesis.dp_marginals.bins import BINS, coarse
from cloakhouse.synthesis.dp_marginals.fitting import Layered
from cloakhouse.synthesis.dp_marginals.model import MarginalsModel
from cloakhouse.synthesis.dp_marginals.network import Node, cell_shares, nodes
from cloakhouse.synthesis.dp_marginals.release import Measurement
from cloakhouse.synthesis.dp_marginals.selection import Edge

CLOSE = 1e-9  # sums of floats on another machine


def departure(model: MarginalsModel) -> float:
    """Return the largest difference (0 to 1) between a share in the model's tables and what follows from its noisy
    counts; 1 for bins or tables that can't be made from them."""
    return max(_departure(model, layered) for layered in model.fitted.layers)


def _departure(model: MarginalsModel, layered: Layered) -> float:
    level = str(layered.binned.layer.level)
    own = [m for m in model.fitted.measurements if m.level == level]
    fine = {m.columns[0]: m for m in own if m.kind == "cells"}
    found = {m.columns: m for m in own if m.kind == "bins"}
    edges = {Edge(node.column, node.parents[0]): node.parents[1:] for node in layered.nodes if node.parents}
    third = {edge: others[0] for edge, others in edges.items() if others}
    if not _bins_follow(model, layered, fine):
        return 1.0
    try:
        made = nodes(layered.binned, model.fitted.domains, list(edges), third, found, fine)
    except (KeyError, ValueError, IndexError):
        return 1.0
    again = {node.column: node for node in made}
    return max((_between(node, again.get(node.column)) for node in layered.nodes), default=0.0)


def _bins_follow(model: MarginalsModel, layered: Layered, fine: dict[str, Measurement]) -> bool:
    most = int(model.plan.parameters.get("bins", BINS))
    for name in layered.binned.layer.own:
        domain = model.fitted.domains[name]
        bins = coarse(domain, cell_shares(fine[name], domain), most) if name in fine else None
        if bins is None or not np.array_equal(bins, layered.binned.bins[name]):
            return False
    return True


def _between(node: Node, again: Node | None) -> float:
    if again is None or (node.table.shape, node.cells.shape) != (again.table.shape, again.cells.shape):
        return 1.0
    far = max(float(np.abs(node.table - again.table).max()), float(np.abs(node.cells - again.cells).max()))
    return far if np.isfinite(far) else 1.0
