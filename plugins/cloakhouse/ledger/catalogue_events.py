"""Events of what changes in the catalogue: `by` says who acts, why and in which run; the rest follows from the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloakhouse.ledger.audit_event import Action, Event

if TYPE_CHECKING:
    from cloakhouse.ledger.catalogue import Delivery, ProtectedPartition


def landed(by: Event, delivery: Delivery) -> Event:
    """Return the event of a delivery that is registered; `count` is its rows."""
    facts: dict[str, str | int] = {
        "revision": delivery.revision,
        "bytes": delivery.bytes,
        "sha256": delivery.sha256,
        "manifest": delivery.manifest.sha256,
    }
    return _of(by, Action.LAND, delivery.dataset, delivery.partition, delivery.rows, facts)


def pseudonymized(by: Event, partition: ProtectedPartition) -> Event:
    """Return the event of a partition that is protected now; `count` is its rows."""
    facts: dict[str, str | int] = {
        "quarantined": partition.quarantined,
        "contract_version": partition.contract_version,
        "delivery": partition.delivery_sha256,
        "manifest": partition.manifest.sha256,
    }
    return _of(by, Action.PSEUDONYMIZE, partition.dataset, partition.partition, partition.rows, facts)


def validated(by: Event, partition: ProtectedPartition) -> Event:
    """Return the event of a partition that passed its validation; `count` is its rows."""
    facts: dict[str, str | int] = {"manifest": partition.manifest.sha256}
    return _of(by, Action.VALIDATE, partition.dataset, partition.partition, partition.rows, facts)


def _of(by: Event, action: Action, dataset: str, partition: str, rows: int, facts: dict[str, str | int]) -> Event:
    what = f"{dataset}/{partition}"
    return replace(by, action=action, object=what, dataset=dataset, count=rows, facts={**by.facts, **facts})
