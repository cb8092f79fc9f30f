"""Singling out: do predicates read off the release isolate training rows, or training households, more than others?

Univariate predicates are values of one column that the release has once, and its ends; multivariate ones are three or
more columns of a synthetic row (categories equal, numbers on the row's side of the median) that hold for it alone in
the release. A success is a predicate that holds for exactly one row (or for rows of exactly one household) of a
group; the same predicates are tried on as many hold-out households. Source: Giomi et al. 2022, arXiv 2211.10459,
section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy.attacks.bounds import Estimate, risk, share
from cloakhouse.privacy.attacks.encoding import Points
from cloakhouse.privacy.attacks.population import Risk, Units
from cloakhouse.privacy.attacks.sampling import Turn, generator, turns
from cloakhouse.privacy.attacks.setting import Setting

PREDICATES = 2_000  # of each kind
LEAST_GUESSES = 200  # predicates that a release doesn't offer count as failed, or a handful would be all noise
LEAST_COLUMNS = 3  # of a multivariate predicate, as far as there are as many
MOST_CANDIDATES = 6_000
MOST_ROWS = 100_000  # synthetic rows the predicates are read off
EQUAL, AT_MOST, AT_LEAST = 0, 1, 2
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Condition:
    """A condition on the column at this position."""

    column: int
    how: int
    value: float

    def holds(self, values: Values) -> npt.NDArray[np.bool_]:
        """Return for which of the column's values it is true."""
        if self.how == EQUAL:
            return np.asarray(values == self.value)
        return np.asarray(values <= self.value if self.how == AT_MOST else values >= self.value)


Predicate = tuple[Condition, ...]


def singling_out(setting: Setting) -> tuple[Risk, ...]:
    """Return the risk of univariate and of multivariate predicates, by row and by household."""
    rng = generator(setting.seed, 40)
    release = _distinct(setting.synthetic.take(rng.permutation(len(setting.synthetic))[:MOST_ROWS]))
    numeric = setting.synthetic.numbers.shape[1]
    kinds: tuple[tuple[str, list[Predicate]], ...] = (
        ("univariate", univariate(release, numeric, rng)),
        ("multivariate", multivariate(release, numeric, rng)),
    )
    plan = turns(setting.owners, setting.others, generator(setting.seed, 41))
    return tuple(figure for kind, predicates in kinds for figure in _figures(setting, kind, predicates, plan))


def univariate(release: Sequence[Values], numeric: int, rng: np.random.Generator) -> list[Predicate]:
    """Return predicates of one condition; `release` holds the columns, the first `numeric` of them numbers."""
    found: list[Predicate] = []
    for at, values in enumerate(release):
        distinct, times = np.unique(values, return_counts=True)
        found += [(Condition(at, EQUAL, float(value)),) for value in distinct[times == 1]]
        if at < numeric:
            found += [(Condition(at, AT_MOST, float(distinct[0])),), (Condition(at, AT_LEAST, float(distinct[-1])),)]
    return [found[at] for at in np.sort(rng.permutation(len(found))[:PREDICATES])]


def multivariate(release: Sequence[Values], numeric: int, rng: np.random.Generator) -> list[Predicate]:
    """Return predicates of several conditions that hold for one row of the release."""
    found: list[Predicate] = []
    medians = [float(np.median(values)) for values in release[:numeric]]
    rows = rng.integers(0, len(release[0]), MOST_CANDIDATES)
    for row in rows:
        size = int(rng.integers(min(LEAST_COLUMNS, len(release)), len(release) + 1))
        columns = sorted(rng.permutation(len(release))[:size].tolist(), reverse=True)  # categories decide fastest
        predicate = tuple(_condition(at, float(release[at][row]), numeric, medians) for at in columns)
        if len(matching(predicate, release)) == 1:
            found.append(predicate)
        if len(found) == PREDICATES:
            break
    return found


def matching(predicate: Predicate, columns: Sequence[Values]) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows for which `predicate` holds."""
    rows = np.flatnonzero(predicate[0].holds(columns[predicate[0].column]))
    for condition in predicate[1:]:
        if not len(rows):
            break
        rows = rows[condition.holds(columns[condition.column][rows])]
    return rows


def _condition(column: int, value: float, numeric: int, medians: Sequence[float]) -> Condition:
    if column >= numeric:
        return Condition(column, EQUAL, value)
    return Condition(column, AT_MOST if value <= medians[column] else AT_LEAST, value)


def _figures(setting: Setting, kind: str, predicates: list[Predicate], plan: Sequence[Turn]) -> tuple[Risk, ...]:
    rows = len(setting.training) + len(setting.holdout)
    note = f"{len(predicates):,} predicates over {len(plan)} groups of training households, Giomi et al. 2022"
    names = [f"singling out, {kind}, {what}: risk" for what in ("rows", "households")]
    mine, theirs = _tried(setting, predicates, plan)
    return tuple(
        setting.risk(name, _estimate(mine, theirs, isolated), rows, note)
        for name, isolated in zip(names, (_one_row, _one_household), strict=True)
    )


@dataclass(frozen=True)
class _Hit:
    """What a predicate held for: how many rows, of how many households, and one of these (or -1)."""

    rows: int
    households: int
    owner: int


def _tried(setting: Setting, predicates: list[Predicate], plan: Sequence[Turn]) -> tuple[list[_Hit], list[_Hit]]:
    mine: list[_Hit] = []
    theirs: list[_Hit] = []
    for turn, part in zip(plan, np.array_split(np.arange(len(predicates)), len(plan)), strict=True):
        for points, owners, rows, hits in (
            (setting.training, setting.owners, turn.training, mine),
            (setting.holdout, setting.others, turn.holdout, theirs),
        ):
            columns, units = _columns(points.take(rows)), owners[rows]
            hits.extend(_hit(units[matching(predicates[at], columns)]) for at in part)
    missing = [_Hit(0, 0, -1)] * (LEAST_GUESSES - len(predicates))
    return mine + missing, theirs + missing


def _hit(owners: Units) -> _Hit:
    if not len(owners):
        return _Hit(0, 0, -1)
    first = int(owners[0])
    return _Hit(len(owners), 1 if bool((owners == first).all()) else 2, first)


def _one_row(hit: _Hit) -> bool:
    return hit.rows == 1


def _one_household(hit: _Hit) -> bool:
    return hit.households == 1


def _estimate(mine: list[_Hit], theirs: list[_Hit], isolated: Callable[[_Hit], bool]) -> Estimate:
    shares = []
    for hits in (mine, theirs):
        success = np.array([isolated(hit) for hit in hits])
        owners = np.array([hit.owner for hit in hits])
        alone = int(owners.max()) + 1 + np.arange(len(hits))  # a failure belongs to nobody
        shares.append(share(success, np.where(success, owners, alone)))
    return risk(*shares)


def _distinct(points: Points) -> list[Values]:
    """Return the columns of distinct rows: a leak that is released twice is no less a leak."""
    whole = np.unique(np.column_stack(_columns(points)), axis=0)
    return [np.ascontiguousarray(column) for column in whole.T]


def _columns(points: Points) -> list[Values]:
    """Return the columns as arrays, numbers first."""
    whole = [*points.numbers.T, *points.labels.T]
    return [np.ascontiguousarray(column, np.float64) for column in whole]
