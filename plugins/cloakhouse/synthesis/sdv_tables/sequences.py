"""SDV's PAR with contexts and lengths over public cells.

The library draws the context of a sequence from a copula whose marginals end at the smallest and largest unit, and ends
a sequence between the shortest and the longest that it saw. Here both are columns of one copula with marginals over
public cells, so that the length belongs to the context and no unit's length is stored.
Only `par` imports this module, within functions: it loads SDV.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sdv.metadata import Metadata
from sdv.sequential import PARSynthesizer

from cloakhouse.synthesis.sdv_tables.frames import CATEGORY, Coding
from cloakhouse.synthesis.sdv_tables.kept import Kept, kept, ordered
from cloakhouse.synthesis.sdv_tables.marginals import BINNED, Copula, distributions
from cloakhouse.synthesis.sdv_tables.metadata import OF, TABLE, kinds, sequences
from cloakhouse.synthesis.sdv_tables.stripping import strip
from cloakhouse.synthesis.sdv_tables.units import Codes

LENGTH = "length"
NEVER = -50.0  # logit


class Sequences(PARSynthesizer):  # type: ignore[misc]
    """See the module. `units`: codings of the context; `most_rows`: length of a sequence at most."""

    units: tuple[Coding, ...] = ()
    most_rows = 1

    def _fit_context_model(self, processed_table_data: Any) -> None:
        rows = processed_table_data.groupby(OF)
        context = rows[self.context_columns].first()
        context[LENGTH] = rows.size().astype(float)
        described = {"columns": {**kinds(self.units), LENGTH: {"sdtype": "numerical"}}}
        self._context_synthesizer = Copula(
            Metadata.load_from_dict({"tables": {TABLE: described}}),
            enforce_min_max_values=False,
            enforce_rounding=False,
            numerical_distributions={**distributions(self.units), LENGTH: f"{BINNED}{float(self.most_rows)!r}"},
            default_distribution="beta",
        )
        rows_of_units = {TABLE: context.reset_index(drop=True)}
        self._context_synthesizer.auto_assign_transformers(rows_of_units)
        self._context_synthesizer.update_transformers(ordered(self.units))
        self._context_synthesizer.fit(rows_of_units)


@dataclass(frozen=True)
class Autoregression:
    """What is kept of a fitted PAR.

    Attributes:
        context: copula of the context and the length.
        order: the context's columns as the network takes them; `coded` are those of codes.
        columns: the rows' columns as the network gives them.
        model: the network (PARModel of `deepecho`).
        most_rows: length of a sequence at most.
    """

    context: Kept
    order: tuple[str, ...]
    coded: tuple[str, ...]
    columns: tuple[str, ...]
    model: Any
    most_rows: int

    def drawn(self, size: int, seed: int) -> tuple[dict[str, Any], dict[str, Any], Codes]:
        """Return the columns of `size` units and of their rows by name, and the unit of each row (int64, rising)."""
        units = self.context.drawn(size, seed)
        counts = np.clip(np.round(units[LENGTH]), 1, self.most_rows).astype(np.int64)
        parts = [self.model.sample_sequence(self._context(units, at), int(counts[at])) for at in range(size)]
        rows = {
            name: np.concatenate([np.asarray(part[place], np.float64) for part in parts])
            for place, name in enumerate(self.columns)
        }
        return units, rows, np.repeat(np.arange(size), counts)

    def _context(self, units: Mapping[str, Any], at: int) -> list[float]:
        values = [(name, units[name][at]) for name in self.order]
        return [int(value) if name in self.coded else float(value) for name, value in values]


def synthesizer(units: tuple[Coding, ...], rows: tuple[Coding, ...], epochs: int, most_rows: int) -> Sequences:
    """Return an unfitted Sequences."""
    made = Sequences(
        sequences((*units, *rows)),
        enforce_min_max_values=False,
        enforce_rounding=False,
        context_columns=list(kinds(units)),
        epochs=epochs,
        cuda=False,
    )
    made.units, made.most_rows = units, most_rows
    return made


def autoregression(made: Sequences) -> Autoregression:
    """Return what is to be kept of a fitted Sequences, stripped."""
    coded = {name for c in made.units for name in ((c.flag,) if c.flagged else (c.name,) if c.kind == CATEGORY else ())}
    made._model._min_length, made._model._max_length, made._model._fixed_length = 1, made.most_rows, False
    found = Autoregression(
        kept(made._context_synthesizer),
        tuple(made.context_columns),
        tuple(sorted(coded)),
        tuple(made._data_columns),
        made._model,
        made.most_rows,
    )
    strip(found)
    _complete(made._model)
    return found


def _complete(model: Any) -> None:
    """Tell the network that nothing is missing, which is so in our coding; a few epochs don't teach it."""
    import torch

    places = [props["indices"][2] for props in model._data_map.values() if props["type"] == "continuous"]
    with torch.no_grad():
        model._model.up.weight[places] = 0.0
        model._model.up.bias[places] = NEVER
