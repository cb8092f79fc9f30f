"""The objects of what is expired: which of them are still there, and their deletion.

Only what holds rows goes: landed files and Parquet. Manifests stay. Callers hold the lock of the dataset, so that
nobody writes there; what the control database lists as living is never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.stages.retention_plan import LANDING, PROTECTED, QUARANTINE

Folder = tuple[str, str, str]  # zone, dataset, partition


@dataclass(frozen=True)
class Objects:
    """Deletes objects of feeds in one store."""

    store: ObjectStore
    catalogue: Catalogue

    def left(self, dataset: str) -> list[Folder]:
        """Return the folders of expired deliveries and partitions that still hold rows, in order."""
        deliveries = self.catalogue.deliveries(dataset)
        landed = {partition for partition, known in deliveries.items() if any(d.expired_at for d in known)}
        gone = {LANDING: landed} | dict.fromkeys((QUARANTINE, PROTECTED), self.catalogue.expired(dataset))
        return [
            (zone, dataset, partition)
            for zone, partitions in gone.items()
            for partition in sorted(partitions & self._with_rows(zone, dataset))
        ]

    def remove(self, folders: Iterable[Folder]) -> int:
        """Delete what no living delivery lists of these folders, whose partitions are expired; return how many."""
        count = 0
        for zone, dataset, partition in folders:
            listed = self._listed(dataset, partition) if zone == LANDING else set()
            folder = f"{zone}/{dataset}/{partition}"
            for info in list(self.store.list(folder)):
                if _is_data(info.path) and info.path.rpartition("/")[2] not in listed:
                    count += self.store.delete(info.path)
            self.store.clear_leftovers(folder)
        return count

    def _with_rows(self, zone: str, dataset: str) -> set[str]:
        return {info.path.split("/")[2] for info in self.store.list(f"{zone}/{dataset}") if _is_data(info.path)}

    def _listed(self, dataset: str, partition: str) -> set[str]:
        """Return the names of the landed files that living deliveries of a partition list: several revisions may."""
        known = self.catalogue.deliveries(dataset).get(partition, [])
        living = [d for d in known if d.expired_at is None]
        return {read_manifest(self.store, d.manifest, "delivery")["object"] for d in living}


def _is_data(path: str) -> bool:
    return path.endswith((".parquet", ".chl"))
