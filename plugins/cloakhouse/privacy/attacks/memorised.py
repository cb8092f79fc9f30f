"""The memorised customer: one household whose rows stand in the release, however few they are.

Shares over all households don't show one customer. Each household's reproduced rows (near copies) are therefore
compared with how many chance would reproduce, as measured on hold-out rows that are as common, and the most
surprising household of training with the most surprising one of the hold-out. Surprise is the signed root of the
Poisson deviance (McCullagh & Nelder 1989, section 2.4.3), about a number of standard deviations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy.attacks.bounds import gap
from cloakhouse.privacy.attacks.near import NEAR, WIDE, Places, count_near, places
from cloakhouse.privacy.attacks.population import Risk, Units
from cloakhouse.privacy.attacks.sampling import folds, generator
from cloakhouse.privacy.attacks.setting import Setting

CLASSES = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256])  # edges of classes of commonness, in rows
Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Rows:
    """Rows of one side: synthetic rows near each, its class of commonness, its household."""

    found: Counts
    commonness: Counts
    owners: Units


def memorised(setting: Setting) -> tuple[Risk, ...]:
    """Return how much further the most reproduced household of training departs from chance than the one of the
    hold-out: by its rows that are reproduced, and by how often its most repeated row is."""
    training, holdout = _rows(setting)
    rows = len(training.found) + len(holdout.found)
    note = "in standard deviations over chance; the household furthest from it, less the same over the hold-out"
    return tuple(
        setting.risk(f"memorised customer, {label}: excess", gap(*surprise), rows, note)
        for label, surprise in (
            ("rows reproduced", _by_rows(training, holdout)),
            ("repetitions of a row", _by_repetition(training, holdout, len(setting.synthetic))),
        )
    )


def _rows(setting: Setting) -> tuple[_Rows, _Rows]:
    synthetic, training, holdout = places(setting.encoded, NEAR)
    release = synthetic.tree()
    found = count_near(release, training), count_near(release, holdout)
    common = [np.zeros(len(part), np.int64) for part in (training, holdout)]
    wide = places(setting.encoded, WIDE)[1:]
    for left, right, reference in folds(setting.owners, setting.others, generator(setting.seed, 31)):
        tight, loose = holdout.take(reference).tree(), wide[1].take(reference).tree()
        for at, rows in enumerate((left, right)):
            part: tuple[Places, Places] = ((training, holdout)[at], wide[at])
            near = np.digitize(count_near(tight, part[0].take(rows)), CLASSES)
            around = np.digitize(count_near(loose, part[1].take(rows)), CLASSES)
            common[at][rows] = near * (len(CLASSES) + 1) + around
    return _Rows(found[0], common[0], setting.owners), _Rows(found[1], common[1], setting.others)


def _by_rows(training: _Rows, holdout: _Rows) -> tuple[Numbers, Numbers]:
    """Return the surprise of each household at how many of its rows are reproduced."""
    size = (len(CLASSES) + 1) ** 2
    hits = np.bincount(holdout.commonness, holdout.found > 0, size)
    chance = (hits + 0.5) / (np.bincount(holdout.commonness, minlength=size) + 1)
    surprises = []
    for side in (training, holdout):
        found = np.bincount(side.owners, (side.found > 0).astype(np.float64))
        surprises.append(_surprise(found, np.bincount(side.owners, chance[side.commonness])))
    return surprises[0], surprises[1]


def _by_repetition(training: _Rows, holdout: _Rows, rows: int) -> tuple[Numbers, Numbers]:
    """Return the surprise of each household at how often its most repeated row is."""
    size = (len(CLASSES) + 1) ** 2
    times = np.bincount(holdout.commonness, holdout.found, size)
    chance = (times + 0.5) / (np.bincount(holdout.commonness, minlength=size) + 1)
    surprises = []
    for side in (training, holdout):
        most = np.full(int(side.owners.max()) + 1, -np.inf)
        np.maximum.at(most, side.owners, _surprise(side.found.astype(np.float64), chance[side.commonness]))
        surprises.append(most)
    return surprises[0], surprises[1]


def _surprise(found: Numbers | Counts, expected: Numbers | Counts) -> Numbers:
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(found > 0, found * np.log(found / expected), 0.0)
    return np.asarray(np.sign(found - expected) * np.sqrt(2 * np.maximum(gain - (found - expected), 0.0)))
