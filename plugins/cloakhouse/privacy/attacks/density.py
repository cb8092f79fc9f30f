"""Membership inference by density ratio: is the release denser around a row than real rows are?

Densities are counted in a box on the public scale (equal categories, numbers within a factor of e), among synthetic
rows and among hold-out rows of other households. Unlike the nearest neighbour this sees rows that were copied
many times. Source: van Breugel et al. 2023, DOMIAS, arXiv 2302.12580.
"""

from __future__ import annotations

import numpy as np

from cloakhouse.privacy.attacks.membership import Scores, figures
from cloakhouse.privacy.attacks.near import WIDE, count_near, places
from cloakhouse.privacy.attacks.population import Risk
from cloakhouse.privacy.attacks.sampling import folds, generator
from cloakhouse.privacy.attacks.setting import Setting, sampled


def density(setting: Setting) -> tuple[Risk, ...]:
    """Return area and true positives of the density-ratio attack, by row and by household."""
    mine, theirs = setting.targets(10)
    synthetic, training, holdout = places(setting.encoded, WIDE)
    searched = setting.searched()
    release = synthetic.take(searched).tree()
    scores = [
        np.log((count_near(release, part.take(rows)) + 0.5) / (len(searched) + 1))
        for part, rows in ((training, mine), (holdout, theirs))
    ]
    for left, right, reference in folds(setting.owners, setting.others, generator(setting.seed, 12)):
        pool = holdout.take(reference).tree()
        for at, (rows, wanted, part) in enumerate(((mine, left, training), (theirs, right, holdout))):
            here = np.flatnonzero(np.isin(rows, wanted, assume_unique=True))
            real = count_near(pool, part.take(rows[here]))
            scores[at][here] -= np.log((real + 0.5) / (len(reference) + 1))
    note = (
        "log of the release's density over that of other real rows; "
        f"{sampled(mine, setting.owners, 'training')}, {sampled(theirs, setting.others, 'hold-out')}"
    )
    found = Scores(scores[0], setting.owners[mine], scores[1], setting.others[theirs])
    return figures(setting, "density ratio", found, note)
