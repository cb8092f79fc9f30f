"""The fit: at most four passes over the shards, and everything that is released goes through noise once.

1. caps and categories that weren't declared (no pass if all were);
2. every column by itself, in its cells; its coarse bins follow from the noisy cells;
3. all pairs of columns in bins, for scores: a tree is chosen;
4. the tree's pairs and the columns again, in bins; cliques of three along the tree, chosen and measured.

Exact counts are in local variables only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloakhouse.contracts.model import Level, Privacy
from cloakhouse.errors import StageError
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.synthesis.dp_marginals import spending
from cloakhouse.synthesis.dp_marginals.bought import bought, delta_of_categories, domains
from cloakhouse.synthesis.dp_marginals.counting import Binned, Cliques, Pairs, Singles, added
from cloakhouse.synthesis.dp_marginals.domains import Domain
from cloakhouse.synthesis.dp_marginals.fitting import Layered, LevelFit
from cloakhouse.synthesis.dp_marginals.records import Layer, layers_of
from cloakhouse.synthesis.dp_marginals.release import Measurement
from cloakhouse.synthesis.dp_marginals.spending import SAFE, Purse
from cloakhouse.synthesis.protocol import Plan, Report, Shards

BESIDE = 1  # columns that a level weighs beside its own when the budget is split
PASSES = 4


@dataclass(frozen=True)
class Fitted:
    """All that is known after a fit; nothing in it is without noise.

    Attributes:
        caps: children of a parent that count, by level and for `rows of a group`.
        layers: from the top.
    """

    domains: Mapping[str, Domain]
    caps: Mapping[str, int]
    layers: tuple[Layered, ...]
    measurements: tuple[Measurement, ...]
    entries: tuple[spending.Entry, ...]


def budget(plan: Plan, privacy: Privacy) -> tuple[float, float]:
    """Return the rho that a fit of `plan` may spend, and the delta that its learnt categories spend beside it."""
    delta = delta_of_categories(plan, privacy)
    return rho_of(privacy.epsilon, privacy.delta - delta), delta


def fitted(plan: Plan, privacy: Privacy, shards: Shards, report: Report) -> Fitted:
    """Return the fitted distribution. Raises StageError for rows that can't be fitted."""
    layers, purse = layers_of(plan), Purse(budget(plan, privacy)[0])
    report(0, PASSES, "passes")
    found = bought(plan, privacy, layers, shards, purse)
    cells = domains(plan, layers, found)
    report(1, PASSES, "passes")
    caps = {layer.level: found.caps[str(layer.level)] for layer in layers}
    exact = added(shards.map(Singles(layers, cells, caps)))
    if not exact:
        raise _no_shard()
    shares, binned = _shares(purse, layers), dict[Level, Binned]()
    levels = [LevelFit(plan, layer, caps[layer.level], cells, purse, shares[layer.level]) for layer in layers]
    for level in levels:
        binned[level.layer.level] = level.measure_cells(exact, binned)
    report(2, PASSES, "passes")
    exact = added(shards.map(Pairs(layers, cells, binned)))
    for level in levels:
        level.choose_tree(exact)
    report(3, PASSES, "passes")
    wanted = {level.layer.level: level.marginals() for level in levels}
    scored = {level.layer.level: level.candidates() for level in levels}
    exact = added(shards.map(Cliques(layers, cells, binned, wanted, scored)))
    layered = tuple(level.measure_bins(exact) for level in levels)
    report(4, PASSES, "passes")
    measurements = [m for level in levels for m in level.cells] + [m for level in levels for m in level.bins]
    return Fitted(cells, found.caps, layered, tuple(measurements), tuple(purse.entries))


def _shares(purse: Purse, layers: tuple[Layer, ...]) -> dict[Level, float]:
    """Return each level's part of what is left."""
    weights = {layer.level: len(layer.own) + BESIDE for layer in layers}
    whole = purse.left * SAFE
    return {level: whole * weight / sum(weights.values()) for level, weight in weights.items()}


def _no_shard() -> StageError:
    return StageError(
        where="synthesis",
        expected="at least one shard of training rows",
        found="no shard at all",
        not_done="nothing was fitted or sampled",
        remedy="land more partitions, or widen the view in the contract",
        code="too-small",
    )
