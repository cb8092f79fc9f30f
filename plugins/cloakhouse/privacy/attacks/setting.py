"""What every attack works on: the three tables as points, whose rows are whose, and how many rows are affordable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cloakhouse.privacy.attacks.bounds import Estimate, dense
from cloakhouse.privacy.attacks.encoding import Encoded, Points, encode
from cloakhouse.privacy.attacks.population import AttackColumn, Population, Risk, Units
from cloakhouse.privacy.attacks.sampling import Rows, generator, rows_per_household

MOST_SYNTHETIC = 200_000  # synthetic rows searched by distance; copies are looked for in all of them
MOST_PAIRS = 3_000_000_000  # distances of one search: about 15 CPU seconds
MOST_ROWS = 12  # of one household in a search


@dataclass(frozen=True)
class Setting:
    """The material of the attacks.

    Attributes:
        columns: what the tables hold.
        encoded: synthetic, training and hold-out rows as points.
        tables: the same as tables.
        owners, others: dense household numbers of the training and of the hold-out rows.
        seed: of whatever is drawn.
    """

    columns: tuple[AttackColumn, ...]
    encoded: Encoded
    tables: tuple[pa.Table, pa.Table, pa.Table]
    owners: Units
    others: Units
    seed: int

    @classmethod
    def of(
        cls,
        synthetic: pa.Table,
        training: Population,
        holdout: Population,
        columns: Sequence[AttackColumn],
        seed: int,
    ) -> Setting:
        """Return the setting of tables that `population.check` has passed."""
        tables = tuple(table.select([c.name for c in columns]) for table in (synthetic, training.table, holdout.table))
        return cls(tuple(columns), encode(tables, columns), tables, dense(training.units), dense(holdout.units), seed)

    @property
    def synthetic(self) -> Points:
        """All synthetic rows."""
        return self.encoded.parts[0]

    @property
    def training(self) -> Points:
        """All training rows."""
        return self.encoded.parts[1]

    @property
    def holdout(self) -> Points:
        """All hold-out rows."""
        return self.encoded.parts[2]

    def searched(self) -> Rows:
        """Return which synthetic rows a search by distance goes through: all, or 200,000 drawn at random."""
        rows = len(self.synthetic)
        if rows <= MOST_SYNTHETIC:
            return np.arange(rows)
        return np.sort(generator(self.seed, 1).permutation(rows)[:MOST_SYNTHETIC])

    def targets(self, path: int, most: int = MOST_ROWS, pairs: int = MOST_PAIRS) -> tuple[Rows, Rows]:
        """Return which training and hold-out rows a search attacks: at most `most` of a household, and as many as make
        `pairs` distances; where one row a household is too many, households are drawn at random."""
        affordable = max(pairs // min(len(self.synthetic), MOST_SYNTHETIC) // 2, 1)  # rows a side
        rng = generator(self.seed, 2, path)
        return _some(self.owners, most, affordable, rng), _some(self.others, most, affordable, rng)

    def risk(self, name: str, found: Estimate, rows: int, note: str) -> Risk:
        """Return the figure `name` for `rows` attacked rows of all households."""
        units = int(self.owners.max()) + int(self.others.max()) + 2
        if not (isfinite(found.value) and isfinite(found.bound)):
            return Risk(name, None, None, rows, units, f"not a number; {note}")
        return Risk(name, round(found.value, 6), round(found.bound, 6), rows, units, note)


def _some(units: Units, most: int, affordable: int, rng: np.random.Generator) -> Rows:
    limit = int(np.clip(affordable // (int(units.max()) + 1), 1, most))
    rows = rows_per_household(units, limit, rng)
    if limit > 1 or len(rows) <= affordable:
        return rows
    return np.sort(rows[rng.permutation(len(rows))[:affordable]])


def sampled(rows: npt.NDArray[np.int64], whole: Units, label: str) -> str:
    """Return a half-sentence on how many of the rows were attacked."""
    return f"{len(rows):,} of {len(whole):,} {label} rows"
