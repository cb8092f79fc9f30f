"""SDV's HMA with ends from the contract and chunks of whole units.

The library describes the rows of each unit by a small copula and models these descriptions as columns of the units.
It clips descriptions to the smallest and largest one that it saw, of one household each (for a household with one
basket the centre of its marginal is that basket's very value), and gives a sample as many rows as the data had. Here
they are clipped to what follows from the contract's ranges. Their marginals are normal, which have no ends; that of the
number of rows is over public cells. A sample of n units has n units, with as many rows as each of them drew.
Only `hma` imports this module, within functions: it loads SDV.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sdv.multi_table import HMASynthesizer

from cloakhouse.synthesis.sdv_tables.frames import NUMBER, Coding
from cloakhouse.synthesis.sdv_tables.kept import Kept, decoded, encoders, kept
from cloakhouse.synthesis.sdv_tables.marginals import BINNED, NORMAL, Copula, distributions
from cloakhouse.synthesis.sdv_tables.metadata import OF, TABLE, UNITS, hierarchy, single
from cloakhouse.synthesis.sdv_tables.stripping import strip
from cloakhouse.synthesis.sdv_tables.units import Codes

PREFIX = f"__{TABLE}__{OF}__"
COUNT = f"{PREFIX}num_rows"
OPEN = {"enforce_min_max_values": False, "enforce_rounding": False}


class Hierarchy(HMASynthesizer):  # type: ignore[misc]
    """See the module."""

    _synthesizer = Copula
    most_rows = 1

    def _set_extended_columns_distributions(self, synthesizer: Any, table_name: str, valid_columns: Any) -> None:
        chosen = {name: NORMAL for name in self._parent_extended_columns[table_name] if name in valid_columns}
        if COUNT in chosen:
            chosen[COUNT] = f"{BINNED}{float(self.most_rows)!r}"
        if chosen:
            synthesizer._set_numerical_distributions({**synthesizer.numerical_distributions, **chosen})


@dataclass(frozen=True)
class Described:
    """What is kept of a fitted Hierarchy.

    Attributes:
        units: the copula of the units: their columns, and the descriptions of their rows.
        ends: smallest and largest value of each description.
        most_rows: rows that a unit has at most.
        encoders: of the rows' codes, by column.
    """

    units: Kept
    ends: Mapping[str, tuple[float, float]]
    most_rows: int
    encoders: Mapping[str, Any]

    def drawn(self, size: int, seed: int) -> tuple[dict[str, Any], dict[str, Any], Codes]:
        """Return the columns of `size` units and of their rows by name, and the unit of each row (int64, rising)."""
        import pandas as pd

        units = self.units.drawn(size, seed)
        counts = np.clip(np.round(units[COUNT]), 1, self.most_rows).astype(np.int64)
        described = {name.removeprefix(PREFIX): np.clip(units[name], *ends) for name, ends in self.ends.items()}
        copula, parts = _blank(), []
        for at in range(size):
            copula._set_parameters({name: float(values[at]) for name, values in described.items()})
            parts.append(copula._model.sample(int(counts[at])))
        return units, decoded(pd.concat(parts, ignore_index=True), self.encoders), np.repeat(np.arange(size), counts)


def described(made: Hierarchy, rows: Iterable[Coding]) -> Described:
    """Return what is to be kept of a fitted Hierarchy, stripped, with the ends that follow from the plan."""
    units, below = made._table_synthesizers[UNITS], made._table_synthesizers[TABLE]
    ranges = {c.name: c.maximum for c in rows if c.kind == NUMBER}
    names = [name for name in units._model.columns if name.startswith(PREFIX) and name != COUNT]
    found = Described(
        kept(units),
        {name: _ends(name.removeprefix(PREFIX), ranges) for name in names},
        made.most_rows,
        encoders(below),
    )
    strip(found)
    return found


def synthesizer(units: tuple[Coding, ...], rows: tuple[Coding, ...], most_rows: int) -> Any:
    """Return an unfitted Hierarchy."""
    made = Hierarchy(hierarchy(units, rows), verbose=False)
    made.most_rows = most_rows
    above = {"numerical_distributions": distributions(units), "default_distribution": "beta"}
    made.set_table_parameters(UNITS, {**OPEN, **above})
    made.set_table_parameters(TABLE, {**OPEN, "default_distribution": NORMAL})
    return made


def _ends(name: str, ranges: Mapping[str, float | None]) -> tuple[float, float]:
    parts = name.split("__")
    if parts[0] == "correlation":
        return -1.0, 1.0
    return 0.0, float(ranges.get(parts[1]) or 1.0)  # codes lie between 0 and 1


def _blank() -> Any:
    """Return a copula of normal marginals that takes the parameters of any unit's rows."""
    return Copula(single((Coding("", "r0", NUMBER),)), **OPEN, default_distribution=NORMAL)
