"""Which real rows are attacked, in which turns, and against which reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Units = npt.NDArray[np.int64]
FOLDS = 4  # of the hold-out: each row is scored against the rows of the other three


def generator(seed: int, *path: int) -> np.random.Generator:
    """Return a repeatable generator for one part of the attack."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *path])))


def rows_per_household(units: Units, limit: int, rng: np.random.Generator) -> Rows:
    """Return ascending row numbers, at most `limit` of each household, drawn without replacement."""
    shuffled = rng.permutation(len(units))
    order = shuffled[np.argsort(units[shuffled], kind="stable")]
    ranked = units[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    sizes = np.diff(np.r_[starts, len(ranked)])
    place = np.arange(len(ranked)) - np.repeat(starts, sizes)
    return np.sort(order[place < limit])


@dataclass(frozen=True)
class Turn:
    """One comparison of equally many households: row numbers of a training group and of the hold-out."""

    training: Rows
    holdout: Rows


def turns(training: Units, holdout: Units, rng: np.random.Generator) -> list[Turn]:
    """Return disjoint groups of training households, none larger than the hold-out, each beside as many hold-out
    households. Every training household is in exactly one group. Units are dense."""
    mine, theirs = int(training.max()) + 1, int(holdout.max()) + 1
    groups = np.array_split(rng.permutation(mine), -(-mine // theirs))
    found = []
    for group in groups:
        control = rng.permutation(theirs)[: len(group)]
        found.append(
            Turn(np.flatnonzero(_mask(mine, group)[training]), np.flatnonzero(_mask(theirs, control)[holdout]))
        )
    return found


def folds(training: Units, holdout: Units, rng: np.random.Generator) -> Iterator[tuple[Rows, Rows, Rows]]:
    """Yield for each of four folds: training rows to attack, hold-out rows to attack, hold-out rows as reference.

    Both sides of a fold meet the same reference, which holds no row of their households, so that without a leak
    their scores are of one distribution, however many households each side has. Units are dense.
    """
    mine = rng.permutation(np.arange(int(training.max()) + 1) % FOLDS)[training]
    theirs = rng.permutation(np.arange(int(holdout.max()) + 1) % FOLDS)[holdout]
    for fold in range(FOLDS):
        yield np.flatnonzero(mine == fold), np.flatnonzero(theirs == fold), np.flatnonzero(theirs != fold)


def _mask(size: int, chosen: Units) -> npt.NDArray[np.bool_]:
    mask = np.zeros(size, np.bool_)
    mask[chosen] = True
    return mask
