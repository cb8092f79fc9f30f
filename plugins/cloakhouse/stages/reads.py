"""Reads of protected rows as events: one for each dataset that a run reads, recorded before its first row is.

    record(settings, *reads(by, pins, "synthesis"))

The object is where the rows lie: `landing/transactions` (deliveries as they came), `protected/transactions`, or
`views/baskets_synthetic` (training rows and hold-out). Which rows a run may read follows from its request, so the
driver records for Spark's workers, too, and what keys they may open (`leased`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import FOOTER
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import ProtectedPartition
from cloakhouse.stages.views import view_classes


def reads(by: Event, pins: Mapping[str, Sequence[ProtectedPartition]], what_for: str) -> list[Event]:
    """Return the events of reading these partitions of protected datasets, in order; `by` says who and in which run."""
    return [
        read_of(by, "protected", dataset, len(partitions), sum(p.rows for p in partitions), what_for)
        for dataset, partitions in sorted(pins.items())
    ]


def read_of(by: Event, zone: str, dataset: str, partitions: int, rows: int, what_for: str) -> Event:
    """Return the event of reading `rows` rows in `partitions` partitions of one dataset."""
    facts = {"partitions": partitions, "rows": rows, "by": what_for}
    where = {"action": Action.READ, "object": f"{zone}/{dataset}", "dataset": dataset}
    return replace(by, **where, reason="", count=rows, facts=facts)  # type: ignore[arg-type]


def keys_of(zone: str, contract: Contract, columns: Iterable[str] | None = None) -> list[DatasetKey]:
    """Return the dataset keys of a dataset's tables in `zone`: the footer's, and those of its columns' classes.

    `columns` are names; None: all that are kept.
    """
    wanted = None if columns is None else set(columns)
    classes = {c.column_class.key_name for c in contract.kept_columns if wanted is None or c.name in wanted}
    return [DatasetKey(zone, use, contract.name) for use in (FOOTER, *sorted(classes))]


def view_keys(contracts: Mapping[str, Contract], contract: Contract) -> list[DatasetKey]:
    """Return the dataset keys of the training view and the hold-out of a synthetic dataset."""
    assert contract.synthesis is not None
    classes = view_classes(contract, contracts[contract.synthesis.view.source]).values()
    uses = sorted({column_class.key_name for column_class in classes})
    return [DatasetKey("views", use, contract.name) for use in (FOOTER, *uses)]
