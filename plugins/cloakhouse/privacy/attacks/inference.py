"""Inference: does the release tell a sensitive column of a real row from its other columns?

The guess is the value of the synthetic row that is nearest in all other columns. A category is right if equal, a
number if within 5 % (on the scale of log1p). Source: Giomi et al. 2022, arXiv 2211.10459, section 4.3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy.attacks.bounds import by_household, risk, share
from cloakhouse.privacy.attacks.encoding import Points, nearest
from cloakhouse.privacy.attacks.population import Risk, Units
from cloakhouse.privacy.attacks.sampling import Rows
from cloakhouse.privacy.attacks.setting import Setting, sampled

MOST_ROWS = 8  # of a household
MOST_PAIRS = 4_000_000_000  # of all columns together
CLOSE = 0.05  # in log1p of a number
Mask = npt.NDArray[np.bool_]


def inference(setting: Setting) -> tuple[Risk, ...]:
    """Return for each sensitive column the risk by row, and by household (mean over households)."""
    sensitive = [at for at, column in enumerate(setting.columns) if column.sensitive]
    mine, theirs = setting.targets(60, MOST_ROWS, MOST_PAIRS // max(len(sensitive), 1))
    release = setting.synthetic.take(setting.searched())
    return tuple(figure for at in sensitive for figure in _figures(setting, at, release, mine, theirs))


def _figures(setting: Setting, column: int, release: Points, mine: Rows, theirs: Rows) -> tuple[Risk, ...]:
    found = [
        guessed(setting, column, points.take(rows), release)
        for points, rows in ((setting.training, mine), (setting.holdout, theirs))
    ]
    owners: tuple[Units, Units] = (setting.owners[mine], setting.others[theirs])
    units = [by_household(right, whose) for right, whose in zip(found, owners, strict=True)]
    by_row = risk(*(share(right, whose) for right, whose in zip(found, owners, strict=True)))
    by_unit = risk(*(share(unit, np.arange(len(unit))) for unit in units))
    note = (
        f"{sampled(mine, setting.owners, 'training')}, {sampled(theirs, setting.others, 'hold-out')}; Giomi et al. 2022"
    )
    rows, name = len(mine) + len(theirs), setting.columns[column].name
    return (
        setting.risk(f"inference of {name}, rows: risk", by_row, rows, note),
        setting.risk(f"inference of {name}, households: risk", by_unit, rows, note),
    )


def guessed(setting: Setting, column: int, points: Points, release: Points) -> Mask:
    """Return for each point whether its nearest synthetic row in the other columns has its value of `column`."""
    others = setting.encoded.places([at for at in range(len(setting.columns)) if at != column])
    found, _ = nearest(points.only(*others), release.only(*others), setting.seed)
    number, label = setting.encoded.numbers[column], setting.encoded.labels[column]
    right = np.ones(len(points), np.bool_)
    if label is not None:
        right &= points.labels[:, label] == release.labels[found, label]
    if number is not None:
        gap = np.abs(points.numbers[:, number] - release.numbers[found, number]) * setting.encoded.scales[number]
        right &= gap <= CLOSE
    return right
