"""Linkability: does the release join two halves of a real record that were held apart?

The columns are halved; for a real row the nearest synthetic row is looked for by each half. It is linked if one
synthetic row is nearest by both. Two ways to halve the columns are tried, and the riskier is the figure. Source:
Giomi et al. 2022, arXiv 2211.10459, section 4.2, with one neighbour; equally near rows count as nearest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy.attacks.bounds import by_household, risk, share
from cloakhouse.privacy.attacks.encoding import Points, distance, nearest
from cloakhouse.privacy.attacks.population import Risk
from cloakhouse.privacy.attacks.sampling import generator
from cloakhouse.privacy.attacks.setting import Setting, sampled

MOST_ROWS = 4  # of a household
MOST_PAIRS = 700_000_000  # of one search; there are four
TIE = 1e-6  # distances that differ by less are equal
Mask = npt.NDArray[np.bool_]


def linkability(setting: Setting) -> tuple[Risk, ...]:
    """Return the risk by row, and by household (mean over households)."""
    mine, theirs = setting.targets(50, MOST_ROWS, MOST_PAIRS)
    release = setting.synthetic.take(setting.searched())
    owners, others = setting.owners[mine], setting.others[theirs]
    by_row, by_unit = [], []
    for left, right in halves(len(setting.columns), generator(setting.seed, 51)):
        parts = setting.encoded.places(left), setting.encoded.places(right)
        found = [
            linked(points.take(rows), release, parts, setting.seed)
            for points, rows in ((setting.training, mine), (setting.holdout, theirs))
        ]
        by_row.append(risk(share(found[0], owners), share(found[1], others)))
        units = [by_household(found[0], owners), by_household(found[1], others)]
        by_unit.append(risk(*(share(unit, np.arange(len(unit))) for unit in units)))
    note = (
        f"{sampled(mine, setting.owners, 'training')}, {sampled(theirs, setting.others, 'hold-out')}; Giomi et al. 2022"
    )
    rows = len(mine) + len(theirs)
    return (
        setting.risk("linkability, rows: risk", max(by_row, key=lambda e: e.bound), rows, note),
        setting.risk("linkability, households: risk", max(by_unit, key=lambda e: e.bound), rows, note),
    )


def halves(columns: int, rng: np.random.Generator) -> list[tuple[list[int], list[int]]]:
    """Return two ways to halve the columns: every other one, and a random half."""
    order = rng.permutation(columns).tolist()
    everyone = list(range(columns))
    return [(everyone[::2], everyone[1::2]), (sorted(order[: columns // 2]), sorted(order[columns // 2 :]))]


def linked(points: Points, release: Points, parts: tuple[tuple[Sequence[int], Sequence[int]], ...], seed: int) -> Mask:
    """Return for each point whether a synthetic row is nearest to it by both parts (places of numbers and labels)."""
    cut = [(points.only(*part), release.only(*part)) for part in parts]
    found = [nearest(target, among, seed) for target, among in cut]
    joined = np.zeros(len(points), np.bool_)
    for at, other in ((0, 1), (1, 0)):
        target, among = cut[other]
        joined |= distance(target, among.take(found[at][0])) <= found[other][1] + TIE
    return joined
