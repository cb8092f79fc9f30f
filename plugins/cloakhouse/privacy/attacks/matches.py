"""Which synthetic rows match which real rows, exactly or nearly, and which household is credited with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cloakhouse.privacy._codes import Codes, column_codes, row_codes
from cloakhouse.privacy.attacks.near import Places, count_near, nearest_near, places
from cloakhouse.privacy.attacks.sampling import Turn, folds, generator
from cloakhouse.privacy.attacks.setting import Setting

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Matches:
    """Matches of the release with real rows.

    Attributes:
        rows: synthetic rows.
        training, holdout: per real row whether the release holds a match of it.
        credit: (turn, training=...) -> how many synthetic rows are credited to each household of that side.
    """

    rows: int
    training: Mask
    holdout: Mask
    credit: Callable[..., Numbers]


def exact(setting: Setting) -> Matches:
    """Return the matches of rows that are equal in all columns; floats are compared by their bits.

    A synthetic row that equals rows of several households is shared among them.
    """
    whole = pa.concat_tables([table.unify_dictionaries() for table in setting.tables])
    codes = row_codes([column_codes(whole[column.name]) for column in setting.columns])
    edges = np.cumsum([table.num_rows for table in setting.tables])
    synthetic, training, holdout = np.split(codes, edges[:-1])
    counts = np.bincount(synthetic, minlength=int(codes.max()) + 1).astype(np.int64)
    credit = partial(_shared, counts, (training, holdout), setting)
    return Matches(len(synthetic), counts[training] > 0, counts[holdout] > 0, credit)


def near(setting: Setting) -> Matches:
    """Return the matches of rows that agree in all categories and nearly in all numbers (see `near`).

    In a table of few columns many rows are near each other by chance, and copies would drown in that. So a real row
    counts only if no hold-out row of other households is near it, and a synthetic row only if it is near one row of
    both sides of the turn.
    """
    synthetic, training, holdout = places(setting.encoded)
    release = synthetic.tree()
    alone = [np.zeros(len(part), np.bool_) for part in (training, holdout)]
    for left, right, reference in folds(setting.owners, setting.others, generator(setting.seed, 32)):
        pool = holdout.take(reference).tree()
        for part, mask, rows in ((training, alone[0], left), (holdout, alone[1], right)):
            mask[rows] = count_near(pool, part.take(rows)) == 0
    mine, theirs = alone[0] & (count_near(release, training) > 0), alone[1] & (count_near(release, holdout) > 0)
    return Matches(len(synthetic), mine, theirs, partial(_to_nearest, synthetic, (training, holdout), setting))


def _shared(counts: Counts, sides: tuple[Codes, Codes], setting: Setting, turn: Turn, *, training: bool) -> Numbers:
    rows = turn.training if training else turn.holdout
    codes = sides[0 if training else 1][rows]
    units = (setting.owners if training else setting.others)[rows]
    households = int((setting.owners if training else setting.others).max()) + 1
    kept = counts[codes] > 0
    pairs = np.unique(codes[kept] * households + units[kept])
    row, unit = pairs // households, pairs % households
    holders = np.bincount(row, minlength=len(counts))
    return np.asarray(np.bincount(unit, counts[row] / holders[row], households))


def _to_nearest(
    synthetic: Places, sides: tuple[Places, Places], setting: Setting, turn: Turn, *, training: bool
) -> Numbers:
    units, rows = (setting.owners, turn.training) if training else (setting.others, turn.holdout)
    both = Places(np.vstack([sides[0].at[turn.training], sides[1].at[turn.holdout]]))
    alone = synthetic.take(np.flatnonzero(count_near(both.tree(), synthetic) == 1))
    found = nearest_near(sides[0 if training else 1].take(rows).tree(), alone)
    return np.bincount(units[rows[found[found >= 0]]], minlength=int(units.max()) + 1).astype(np.float64)
