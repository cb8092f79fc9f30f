"""What a treatment gets: the column's values with its contract, where keys come from, and what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Column
from cloakhouse.keys.derive import KeySource
from cloakhouse.tokens.place import Place


@dataclass(frozen=True)
class Around:
    """What stands around a column.

    Attributes:
        place: where its rows stand.
        columns: the untreated columns of the same rows, by name; a subject's noise is drawn by one of them.
        frequent: of columns whose rare categories are suppressed, the categories that are not rare.
    """

    place: Place
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    frequent: Mapping[str, pa.Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """One column to treat."""

    values: pa.Array
    column: Column
    keys: KeySource
    around: Around

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.column.name

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of its treatment."""
        return self.column.treatment.parameters
