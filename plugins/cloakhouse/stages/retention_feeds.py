"""One thing of a feed that is due: a landed file, a partition of the protected zone, or what is in its quarantine.

The caller holds the dataset's lock. It is read again as it stands, may wait for a hold, and is expired in the control
database with its event before its objects are deleted (`cloakhouse.stages.retention`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import Enum

from cloakhouse.contracts.model import Contract
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ProtectedPartition
from cloakhouse.settings import Settings
from cloakhouse.stages.retention_holds import HeldPersons
from cloakhouse.stages.retention_objects import Objects
from cloakhouse.stages.retention_plan import LANDING, PROTECTED, QUARANTINE, Item


class Outcome(Enum):
    """What became of something that was due; NONE: another process was first."""

    GONE = "gone"
    HELD = "held"
    NONE = "none"


@dataclass(frozen=True)
class Feeds:
    """Expires what feeds brought, in one installation."""

    store: ObjectStore
    catalogue: Catalogue
    objects: Objects
    persons: HeldPersons

    @classmethod
    def of(cls, settings: Settings) -> Feeds:
        """Return that of an installation."""
        store, catalogue = open_store(settings), Catalogue(settings.database)
        return cls(store, catalogue, Objects(store, catalogue), HeldPersons(settings))

    def is_held(self, contract: Contract, item: Item) -> bool:
        """Return whether `item` holds rows of somebody who is held. Raises IntegrityError, KeyServiceError."""
        if not self.persons.concern(contract):
            return False
        if item.zone == LANDING:
            delivery = self._delivery(item)
            return delivery is not None and self.persons.in_landed(contract, delivery)
        partition = self.catalogue.protected(item.dataset).get(item.name)
        if partition is None:
            return False
        if self.persons.in_quarantine(contract, partition):  # which goes with the protected rows at the latest
            return True
        return item.zone == PROTECTED and self.persons.in_protected(contract, partition)

    def expire(self, contract: Contract, item: Item, by: Event, now: dt.datetime) -> Outcome:
        """Expire and delete `item`, unless it is held, and return what became of it. Raises as `is_held`."""
        if self.is_held(contract, item):
            return Outcome.HELD
        if item.zone == LANDING:
            delivery = self._delivery(item)
            return Outcome.NONE if delivery is None else self._landed(delivery, item, by, now)
        partition = self.catalogue.protected(contract.name).get(item.name)
        if partition is None:
            return Outcome.NONE
        return (self._protected if item.zone == PROTECTED else self._quarantine)(partition, item, by)

    def _landed(self, delivery: Delivery, item: Item, by: Event, now: dt.datetime) -> Outcome:
        event = told(by, item, delivery.rows, revision=delivery.revision, sha256=delivery.sha256)
        self.catalogue.cut_delivery(delivery, replace(delivery, expired_at=now), event)
        self.objects.remove([(LANDING, delivery.dataset, delivery.partition)])
        return Outcome.GONE

    def _protected(self, partition: ProtectedPartition, item: Item, by: Event) -> Outcome:
        event = told(by, item, partition.rows, manifest=partition.manifest.sha256)
        self.catalogue.expire_partition(partition, event)
        self.objects.remove([(zone, partition.dataset, partition.partition) for zone in (PROTECTED, QUARANTINE)])
        return Outcome.GONE

    def _quarantine(self, partition: ProtectedPartition, item: Item, by: Event) -> Outcome:
        """Have the partition's manifest list no quarantined file any more; how many rows there were stays known."""
        content = read_manifest(self.store, partition.manifest, PROTECTED)
        if content[QUARANTINE]:
            body = {name: value for name, value in content.items() if name not in ("format", "kind")}
            body |= {QUARANTINE: [], "quarantine_expired": True, "cut_from": partition.manifest.sha256}
            fresh = write_manifest(self.store, partition.manifest.path.rpartition("/")[0], PROTECTED, body)
            event = told(by, item, partition.quarantined, manifest=partition.manifest.sha256)
            self.catalogue.cut_partition(partition, replace(partition, manifest=fresh), event)
        self.objects.remove([(QUARANTINE, partition.dataset, partition.partition)])
        return Outcome.GONE

    def _delivery(self, item: Item) -> Delivery | None:
        """Return the delivery as it stands now, None when it expired meanwhile."""
        partition, _, revision = item.name.partition("/")
        known = self.catalogue.deliveries(item.dataset).get(partition, [])
        return next((d for d in known if d.revision == int(revision) and d.expired_at is None), None)


def told(by: Event, item: Item, count: int, **facts: str | int) -> Event:
    """Return the event of what goes; `count` are its rows, of views the files."""
    what = f"{item.zone}/{item.dataset}/{item.name}"
    about = {"zone": item.zone, "days": (item.due - item.since).days, **facts}
    return replace(by, object=what, dataset=item.dataset, count=count, facts=about)
