"""Membership inference: is a row, is a household, among those the release was made from?

A row is the more likely a member, the nearer a synthetic row is to it than a real row of other households is:
log(distance to the reference / distance to the release), one neighbour each. A household's score is the mean of its
rows'. Area under the curve hardly sees small leaks, so the true positives at few false positives are measured beside
it (Carlini et al. 2022, doi:10.1109/SP46214.2022.9833649).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy.attacks.bounds import area, by_household, dense, detection
from cloakhouse.privacy.attacks.encoding import nearest
from cloakhouse.privacy.attacks.population import Risk, Units
from cloakhouse.privacy.attacks.sampling import folds, generator
from cloakhouse.privacy.attacks.setting import Setting, sampled

NOISE = 0.005  # distance that counts as none: a number that is about 3 % off
ROWS_FALSE = 0.01  # false positives at which rows are compared
HOUSEHOLDS_FALSE = 0.02
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Scores of attacked rows (larger: more likely a member) and their households."""

    training: Numbers
    owners: Units
    holdout: Numbers
    others: Units


def membership(setting: Setting) -> tuple[Risk, ...]:
    """Return area and true positives of the nearest-neighbour attack, by row and by household."""
    scores = scored(setting)
    note = (
        "log of distance to other real rows over distance to the release; "
        f"{sampled(scores.owners, setting.owners, 'training')}, {sampled(scores.others, setting.others, 'hold-out')}"
    )
    return figures(setting, "membership", scores, note)


def scored(setting: Setting) -> Scores:
    """Return the scores of the attacked rows of both sides."""
    mine, theirs = setting.targets(10)
    release = setting.synthetic.take(setting.searched())
    close_mine = nearest(setting.training.take(mine), release, setting.seed)[1]
    close_theirs = nearest(setting.holdout.take(theirs), release, setting.seed)[1]
    far_mine, far_theirs = np.zeros(len(mine)), np.zeros(len(theirs))
    owners, others = setting.owners[mine], setting.others[theirs]
    for left, right, reference in folds(setting.owners, setting.others, generator(setting.seed, 11)):
        pool = setting.holdout.take(reference)
        for rows, wanted, points, far in (
            (mine, left, setting.training, far_mine),
            (theirs, right, setting.holdout, far_theirs),
        ):
            at = np.flatnonzero(np.isin(rows, wanted, assume_unique=True))
            far[at] = nearest(points.take(rows[at]), pool, setting.seed)[1]
    return Scores(_score(far_mine, close_mine), owners, _score(far_theirs, close_theirs), others)


def figures(setting: Setting, attack: str, scores: Scores, note: str) -> tuple[Risk, ...]:
    """Return the four figures of a membership attack with these row scores."""
    rows = len(scores.training) + len(scores.holdout)
    mine, theirs = (
        by_household(scores.training, scores.owners),
        by_household(scores.holdout, scores.others),
    )
    numbers, controls = np.arange(len(mine)), np.arange(len(theirs))
    by_row = (scores.training, dense(scores.owners), scores.holdout, dense(scores.others))
    by_unit = (mine, numbers, theirs, controls)
    return (
        setting.risk(f"{attack}, rows: area under the curve", area(*by_row), rows, note),
        setting.risk(
            f"{attack}, rows: true positives at 1 % false positives, excess",
            detection(*by_row, ROWS_FALSE, setting.seed),
            rows,
            note,
        ),
        setting.risk(f"{attack}, households: area under the curve", area(*by_unit), rows, note),
        setting.risk(
            f"{attack}, households: true positives at 2 % false positives, excess",
            detection(*by_unit, HOUSEHOLDS_FALSE, setting.seed),
            rows,
            note,
        ),
    )


def _score(far: Numbers, close: Numbers) -> Numbers:
    return np.asarray(np.log((far + NOISE) / (close + NOISE)))
