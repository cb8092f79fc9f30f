"""The same figures for each group of rows by itself, smallest groups first: what is lost of the few shows here.

Groups are cells of a column. Those of fewer than 50 hold-out or training rows are named by their number only, and
measured together as one group, if they have as many rows together: a distance from a handful of rows would tell what is
in them. A group's label is public or left out: then groups are known by their place in the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy._codes import Codes
from cloakhouse.quality.utility.auc import auc
from cloakhouse.quality.utility.columns import Cells, Numbers
from cloakhouse.quality.utility.marginals import Three, joint, product, subsets
from cloakhouse.quality.utility.tasks import Scores

LEAST_ROWS = 50  # of the hold-out and of the training rows, for figures of a group
MOST_LISTED = 60  # groups of a column; the smallest
MOST_PAIRS = 60


@dataclass(frozen=True)
class GroupUtility:
    """One group of rows, or all small ones together.

    Attributes:
        label: the group's public name; None when the values are not public, or for the small ones together.
        holdout_rows: its rows in the hold-out.
        synthetic_share, training_share: of it among all rows, 0-1.
        tvd, pair_tvd: mean distance of its single columns, and of pairs, from its training rows; 1 if there is no
            synthetic row of it. None without other columns, and where the small ones together are too few.
        holdout_tvd, holdout_pair_tvd: the same of the hold-out.
        losses: by task, AUC trained on real rows minus AUC trained on synthetic ones, tested on its hold-out rows;
            None when either can't be had (one class only).
    """

    label: str | None
    holdout_rows: int
    synthetic_share: float
    training_share: float
    tvd: float | None
    holdout_tvd: float | None
    pair_tvd: float | None
    holdout_pair_tvd: float | None
    losses: dict[str, float | None]


@dataclass(frozen=True)
class Segmented:
    """A column's groups.

    Attributes:
        column: by whose values rows are grouped.
        groups: those of 50 hold-out and 50 training rows or more, smallest first, 60 at most.
        left_out: how many larger ones are not listed.
        small_groups: how many have fewer; `small`: all of them together, None if there are none.
        worst_tvd, worst_excess, worst_losses: over all groups, listed or not; excess is tvd - holdout_tvd.
    """

    column: str
    groups: tuple[GroupUtility, ...]
    left_out: int
    small_groups: int
    small: GroupUtility | None
    worst_tvd: float | None
    worst_excess: float | None
    worst_losses: dict[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {**asdict(self), "groups": [asdict(group) for group in self.groups]}


def segmented(columns: Sequence[Cells], by: Cells, scores: Sequence[Scores], *, seed: int) -> Segmented:
    """Return what is lost in each group of `by`, over the other `columns` (pairs: 60 at most, by `seed`)."""
    groups, cells, small = _grouped(by)
    number = len(cells) + bool(small)
    sizes = np.array([np.bincount(codes, minlength=number) for codes in groups])
    others = [column for column in columns if column.column.name != by.column.name]
    pairs = [[others[at] for at in subset] for subset in subsets(len(others), 2, MOST_PAIRS, seed)]
    told = (sizes[1:] >= LEAST_ROWS).all(axis=0)
    measured = [_mean_distances(groups, number, sizes, chosen) for chosen in ([[c] for c in others], pairs)]
    tvd, holdout_tvd, pair_tvd, holdout_pair_tvd = np.where(told, np.vstack(measured), np.nan)
    losses = {s.task.name: np.where(told, _losses(s, groups[2], number), np.nan) for s in scores}
    found = [
        GroupUtility(
            label=by.labels[cells[at]] if by.labels is not None and at < len(cells) else None,
            holdout_rows=int(sizes[2, at]),
            synthetic_share=float(sizes[0, at] / len(groups[0])),
            training_share=float(sizes[1, at] / len(groups[1])),
            tvd=_number(tvd[at]),
            holdout_tvd=_number(holdout_tvd[at]),
            pair_tvd=_number(pair_tvd[at]),
            holdout_pair_tvd=_number(holdout_pair_tvd[at]),
            losses={name: _number(values[at]) for name, values in losses.items()},
        )
        for at in range(number)
    ]
    named = found[: len(cells)]
    return Segmented(
        column=by.column.name,
        groups=tuple(named[:MOST_LISTED]),
        left_out=max(len(named) - MOST_LISTED, 0),
        small_groups=small,
        small=found[-1] if small else None,
        worst_tvd=_largest(tvd),
        worst_excess=_largest(tvd - holdout_tvd),
        worst_losses={name: _largest(values) for name, values in losses.items()},
    )


def _grouped(by: Cells) -> tuple[Three, npt.NDArray[np.int64], int]:
    """Return the group of each row on each side, the cells of the groups that stand alone, smallest first, and how
    many cells are in the last group, which holds all small ones."""
    sizes = np.array([np.bincount(codes, minlength=by.size) for codes in by.codes])
    alone = np.flatnonzero((sizes[1:] >= LEAST_ROWS).all(axis=0))
    alone = alone[np.argsort(sizes[2][alone], kind="stable")]
    groups = np.full(by.size, len(alone), np.int64)
    groups[alone] = np.arange(len(alone))
    small = int((sizes.sum(axis=0) > 0).sum()) - len(alone)
    return (groups[by.codes[0]], groups[by.codes[1]], groups[by.codes[2]]), alone, small


def _mean_distances(
    groups: Three, number: int, sizes: npt.NDArray[np.int64], marginals: Sequence[Sequence[Cells]]
) -> Numbers:
    """Return mean distances from the training rows, shape (2, groups): of the synthetic rows, of the hold-out."""
    total = np.zeros((2, number))
    for marginal in marginals:
        codes, size = joint(marginal)
        (synthetic, training, holdout), dense = product(groups, number, codes, size)
        owner = _owners((synthetic, training, holdout), groups, dense)
        known = _shares(training, owner, sizes[1], dense)
        for at, (side, rows) in enumerate(((synthetic, sizes[0]), (holdout, sizes[2]))):
            gaps = np.abs(_shares(side, owner, rows, dense) - known)
            found = np.bincount(owner, gaps, minlength=number) / 2
            total[at] += np.where((rows == 0) | (sizes[1] == 0), 1.0, found)
    return total / len(marginals) if marginals else np.full((2, number), np.nan)


def _owners(codes: Three, groups: Three, size: int) -> Codes:
    """Return the group that each joint cell belongs to; cells that don't occur count for nothing."""
    owner = np.zeros(size, np.int64)
    for side, group in zip(codes, groups, strict=True):
        owner[side] = group
    return owner


def _shares(codes: Codes, owner: Codes, rows: npt.NDArray[np.int64], size: int) -> Numbers:
    return np.asarray(np.bincount(codes, minlength=size) / np.maximum(rows, 1)[owner])


def _losses(scores: Scores, groups: Codes, number: int) -> Numbers:
    """Return the loss of each group, NaN where there is none."""
    found = np.full(number, np.nan)
    if scores.synthetic is None or scores.training is None:
        return found
    owner = groups[scores.rows]
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=number))[:-1]
    for at, rows in enumerate(np.split(order, ends)):
        real, made = (auc(scores.truth[rows], s[rows]) for s in (scores.training, scores.synthetic))
        if real is not None and made is not None:
            found[at] = real - made
    return found


def _largest(values: Numbers) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
