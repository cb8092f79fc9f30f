"""Copies: synthetic rows that equal, or are near, a training row, in excess of those that do so with a hold-out row.

Two views, because each hides what the other shows. Of the release: which share of it is copied, counted in turns over
groups of training households no larger than the hold-out, and added up. Of the customers: which share of a
household's rows stands in the release, where many copies of one row count once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy.attacks.bounds import Estimate, Share, Z, by_household, excess, gap, share
from cloakhouse.privacy.attacks.matches import Matches, exact, near
from cloakhouse.privacy.attacks.population import Risk
from cloakhouse.privacy.attacks.sampling import generator, turns
from cloakhouse.privacy.attacks.setting import Setting

Numbers = npt.NDArray[np.float64]
_KINDS: tuple[tuple[str, Callable[[Setting], Matches]], ...] = (("exact copies", exact), ("near copies", near))


def copies(setting: Setting) -> tuple[Risk, ...]:
    """Return the excess of exact and of near copies in the release, among training rows, and by household, and the
    customer whom most of the release copies."""
    return tuple(figure for kind, match in _KINDS for figure in _figures(setting, kind, match(setting)))


def _figures(setting: Setting, kind: str, matches: Matches) -> tuple[Risk, ...]:
    release = _Release.of(setting, matches)
    mine, theirs = matches.training, matches.holdout
    rows = len(mine) + len(theirs)
    units, controls = by_household(mine, setting.owners), by_household(theirs, setting.others)
    by_unit = excess(share(units, np.arange(len(units))), share(controls, np.arange(len(controls))))
    by_row = excess(share(mine, setting.owners), share(theirs, setting.others))
    groups = f"{release.turns} groups of training households, each against as many hold-out households"
    return (
        setting.risk(f"{kind}, share of the release: excess", release.excess(), rows, groups),
        setting.risk(f"{kind}, share of training rows: excess", by_row, rows, "every row, over all households"),
        setting.risk(f"{kind}, share of a household's rows: excess", by_unit, rows, "mean over all households"),
        setting.risk(
            f"{kind}, most of the release from one household: excess",
            release.extreme(),
            rows,
            "the household most rows are copied from, less the same over the hold-out",
        ),
    )


class _Release:
    """How many synthetic rows come from each household; of the hold-out, the mean over the turns it took part in."""

    def __init__(self, training: Numbers, holdout: Numbers, turns: int, rows: int) -> None:
        self.turns = turns
        self._training, self._holdout = training, holdout
        self._rows = rows

    @classmethod
    def of(cls, setting: Setting, matches: Matches) -> _Release:
        training = np.zeros(int(setting.owners.max()) + 1)
        holdout = np.zeros(int(setting.others.max()) + 1)
        plan = turns(setting.owners, setting.others, generator(setting.seed, 20))
        controls = np.zeros(len(holdout))
        for turn in plan:
            training += matches.credit(turn, training=True)
            holdout += matches.credit(turn, training=False)
            controls[np.unique(setting.others[turn.holdout])] += 1
        return cls(training, holdout / np.maximum(controls, 1), len(plan), matches.rows)

    def excess(self) -> Estimate:
        """Return the excess with the wider of two bounds: over households, and over synthetic rows."""
        scale = len(self._training) / self._rows  # groups add up to the training side, the hold-out is scaled to it
        mine, theirs = self._training.mean() * scale, self._holdout.mean() * scale
        value = float(mine - theirs)
        spread = sqrt(_variance_of_mean(self._training) + _variance_of_mean(self._holdout)) * scale
        by_row = excess(Share(min(float(mine), 1.0), self._rows), Share(min(float(theirs), 1.0), self._rows))
        return Estimate(value, min(1.0, max(value + Z * spread, by_row.bound)))

    def extreme(self) -> Estimate:
        """Return the excess of the largest share of the release that comes from one household."""
        return gap(self._training / self._rows, self._holdout / self._rows)


def _variance_of_mean(values: Numbers) -> float:
    return float(values.var(ddof=1)) / len(values)
