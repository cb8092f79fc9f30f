"""k-anonymity, l-diversity and t-closeness of the protected data that a release is derived from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import ColumnClass, Contract, Gate
from cloakhouse.lake.parquet import TableStore
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.privacy.diversity import entropy_l_diversity, l_diversity, t_closeness
from cloakhouse.privacy.kanonymity import k_anonymity
from cloakhouse.settings import Settings
from cloakhouse.stages.sources import partition_files


@dataclass(frozen=True)
class Diversity:
    """How diverse a sensitive column is within the classes of indirect identifiers: distinct and entropy l, and t."""

    column: str
    l: int  # noqa: E741 - its name in the literature
    entropy_l: float
    t: float


@dataclass(frozen=True)
class Anonymity:
    """What was measured on `dataset` over the indirect identifiers `over`."""

    dataset: str
    over: tuple[str, ...]
    k: int
    diversity: tuple[Diversity, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {**asdict(self), "over": list(self.over), "diversity": [asdict(found) for found in self.diversity]}


def anonymity(
    settings: Settings, store: TableStore, gate: Gate, contract: Contract, pins: Sequence[dict[str, str]]
) -> Anonymity:
    """Return k over the gate's indirect identifiers, and l and t of each sensitive column that is kept beside them.

    `contract` and `pins` are those of the gate's dataset. Raises IntegrityError, KeyServiceError.
    """
    sensitive = [
        column.name
        for column in contract.kept_columns
        if column.column_class is ColumnClass.SENSITIVE and column.name not in gate.quasi_identifiers
    ]
    entries = [entry for pin in pins for entry in partition_files(settings, ManifestRef.of(pin))]
    table = pa.concat_tables([store.read(entry, [*gate.quasi_identifiers, *sensitive]) for entry in entries])
    over = gate.quasi_identifiers
    diversity = tuple(
        Diversity(
            name, l_diversity(table, over, name), entropy_l_diversity(table, over, name), t_closeness(table, over, name)
        )
        for name in sensitive
    )
    return Anonymity(contract.name, over, k_anonymity(table, over), diversity)
