"""What the control database knows: which deliveries landed, which partitions are protected, what is published.

States of a partition: delivered -> landed (a row in `delivery`) -> protected (a row in
`protected_partition` for the newest revision) -> validated. A dataset version exists from the moment its row
is committed; its files and its manifest were complete before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as Conflict

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import ContractError, NotFound, StageError
from cloakhouse.ledger import database as db


@dataclass(frozen=True)
class ManifestRef:
    """A manifest by its path within the lake and the SHA-256 (hex) of its bytes."""

    path: str
    sha256: str

    def as_dict(self) -> dict[str, str]:
        """Return the reference as manifests and tasks hold it."""
        return {"path": self.path, "sha256": self.sha256}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> ManifestRef:
        """Return the reference in `fields`, which may hold others beside."""
        return cls(fields["path"], fields["sha256"])


@dataclass(frozen=True)
class Delivery:
    """One landed file: `revision` counts the deliveries of a partition from 1."""

    dataset: str
    partition: str
    revision: int
    sha256: str
    rows: int
    bytes: int
    manifest: ManifestRef
    landed_at: dt.datetime


@dataclass(frozen=True)
class ProtectedPartition:
    """One partition of the protected zone and the delivery it was made from."""

    dataset: str
    partition: str
    delivery_sha256: str
    contract_version: str
    rows: int
    quarantined: int
    validated: bool
    manifest: ManifestRef


@dataclass(frozen=True)
class DatasetVersion:
    """One published version. `version` counts from 1; `published_at` is UTC."""

    dataset: str
    version: int
    fingerprint: str
    zone: str
    rows: int
    manifest: ManifestRef
    published_at: dt.datetime


class Catalogue:
    """Reads and writes the control database. Each write is one transaction; repeated writes change nothing."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    def register_contract(self, contract: Contract) -> None:
        """Record (dataset, version, digest) at first use. Raises ContractError when the version had other content.

        So a contract that is edited between two stages is noticed: its version must change with it.
        """
        table = db.contract_version
        with self._engine.begin() as connection:
            _insert_ignoring_conflict(
                connection,
                table,
                {
                    "dataset": contract.name,
                    "version": contract.version,
                    "digest": contract.digest,
                    "registered_at": _now(),
                },
            )
            digest = connection.execute(
                sa.select(table.c.digest).where(table.c.dataset == contract.name, table.c.version == contract.version)
            ).scalar_one()
        if digest != contract.digest:
            raise ContractError(
                where=f"contract {contract.name} {contract.version}",
                expected=f"the content registered under this version (digest {digest[:12]})",
                found=f"another content (digest {contract.digest[:12]})",
                not_done="no data was read or written",
                remedy="restore the contract, or raise its version so that both contents stay known",
                code="changed",
            )

    def deliveries(self, dataset: str) -> dict[str, list[Delivery]]:
        """Return the landed deliveries of `dataset` by partition, oldest revision first."""
        table = db.delivery
        query = sa.select(table).where(table.c.dataset == dataset).order_by(table.c.partition, table.c.revision)
        found: dict[str, list[Delivery]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                found.setdefault(row.partition, []).append(_delivery(row))
        return found

    def add_delivery(self, delivery: Delivery) -> None:
        """Record a landed file. Raises StageError when another process recorded that revision first."""
        row = _flat(delivery)
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(db.delivery).values(row))
        except Conflict:
            raise StageError(
                where=f"{delivery.dataset} {delivery.partition}",
                expected=f"revision {delivery.revision} to be free",
                found="recorded by another process",
                not_done="the file was not recorded a second time",
                remedy="run again: the delivery will be recognised",
                code="conflict",
            ) from None

    def protected(self, dataset: str) -> dict[str, ProtectedPartition]:
        """Return the protected partitions of `dataset` by partition, in order."""
        table = db.protected_partition
        query = sa.select(table).where(table.c.dataset == dataset).order_by(table.c.partition)
        with self._engine.connect() as connection:
            return {row.partition: _protected(row) for row in connection.execute(query)}

    def anything_protected(self) -> bool:
        """Return whether any partition of any dataset was ever protected: tokens are in use from then on."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(db.protected_partition.c.dataset).limit(1)).first() is not None

    def record_protected(self, partitions: Iterable[ProtectedPartition]) -> None:
        """Make `partitions` the current ones, all in one transaction."""
        table = db.protected_partition
        with self._engine.begin() as connection:
            for partition in partitions:
                key = (table.c.dataset == partition.dataset) & (table.c.partition == partition.partition)
                connection.execute(sa.delete(table).where(key))
                connection.execute(sa.insert(table).values({**_flat(partition), "updated_at": _now()}))

    def mark_validated(self, dataset: str, manifests: Sequence[ManifestRef]) -> None:
        """Mark the partitions with these manifests as validated; a partition replaced meanwhile stays unmarked."""
        table = db.protected_partition
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(table)
                .where(table.c.dataset == dataset, table.c.manifest_sha256.in_([m.sha256 for m in manifests]))
                .values(validated=True)
            )

    def replace_manifest(self, old: ManifestRef, new: ManifestRef) -> bool:
        """Have `new` stand wherever `old` does: the same rows in other files. Return whether `old` stood anywhere."""
        with self._engine.begin() as connection:
            changed = 0
            for table in (db.protected_partition, db.dataset_version):
                where = (table.c.manifest_path == old.path) & (table.c.manifest_sha256 == old.sha256)
                values = {"manifest_path": new.path, "manifest_sha256": new.sha256}
                changed += connection.execute(sa.update(table).where(where).values(values)).rowcount
        return changed > 0

    def versions(self, dataset: str | None = None) -> list[DatasetVersion]:
        """Return published versions (of `dataset`, or of all), ordered by dataset and version."""
        table = db.dataset_version
        query = sa.select(table).order_by(table.c.dataset, table.c.version)
        if dataset is not None:
            query = query.where(table.c.dataset == dataset)
        with self._engine.connect() as connection:
            return [_version(row) for row in connection.execute(query)]

    def version(self, dataset: str, version: int | None = None) -> DatasetVersion:
        """Return one published version, the newest when `version` is None. Raises NotFound."""
        versions = self.versions(dataset)
        wanted = [v for v in versions if version is None or v.version == version]
        if wanted:
            return wanted[-1]
        names = sorted({v.dataset for v in self.versions()})
        listed = f"versions 1 to {versions[-1].version}" if versions else "one of: " + (", ".join(names) or "none yet")
        raise NotFound(
            where="the catalogue",
            expected=f"a published dataset ({listed})",
            found=f"none called {dataset!r}" + (f" with version {version}" if version else ""),
            not_done="nothing was read",
            remedy="`cloakhouse datasets` lists what is published",
        )

    def published(self, dataset: str, fingerprint: str) -> DatasetVersion | None:
        """Return the version of `dataset` with this fingerprint, or None."""
        return next((v for v in self.versions(dataset) if v.fingerprint == fingerprint), None)

    def publish(self, dataset: str, fingerprint: str, zone: str, rows: int, manifest: ManifestRef) -> DatasetVersion:
        """Make a version visible in one transaction and return it; a fingerprint already there is returned as is."""
        table = db.dataset_version
        for _ in range(20):
            existing = self.published(dataset, fingerprint)
            if existing is not None:
                return existing
            taken = self.versions(dataset)
            version = DatasetVersion(
                dataset, taken[-1].version + 1 if taken else 1, fingerprint, zone, rows, manifest, _now()
            )
            try:
                with self._engine.begin() as connection:
                    connection.execute(sa.insert(table).values(_flat(version)))
            except Conflict:
                continue
            return version
        raise StageError(
            where=f"dataset {dataset}",
            expected="a free version number within 20 attempts",
            found="other publishers each time",
            not_done="the version was not published",
            remedy="run the publish task again",
            code="conflict",
        )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _flat(value: Delivery | ProtectedPartition | DatasetVersion) -> dict[str, object]:
    fields = {k: v for k, v in vars(value).items() if k != "manifest"}
    return {**fields, "manifest_path": value.manifest.path, "manifest_sha256": value.manifest.sha256}


def _insert_ignoring_conflict(connection: sa.Connection, table: sa.Table, row: dict[str, object]) -> None:
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(table).values(row))
    except Conflict:
        return


def _aware(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _delivery(row: sa.Row[tuple[object, ...]]) -> Delivery:
    f = row._mapping
    manifest = ManifestRef(f["manifest_path"], f["manifest_sha256"])
    return Delivery(
        f["dataset"],
        f["partition"],
        f["revision"],
        f["sha256"],
        f["rows"],
        f["bytes"],
        manifest,
        _aware(f["landed_at"]),
    )


def _protected(row: sa.Row[tuple[object, ...]]) -> ProtectedPartition:
    f = row._mapping
    manifest = ManifestRef(f["manifest_path"], f["manifest_sha256"])
    return ProtectedPartition(
        f["dataset"],
        f["partition"],
        f["delivery_sha256"],
        f["contract_version"],
        f["rows"],
        f["quarantined"],
        f["validated"],
        manifest,
    )


def _version(row: sa.Row[tuple[object, ...]]) -> DatasetVersion:
    f = row._mapping
    manifest = ManifestRef(f["manifest_path"], f["manifest_sha256"])
    return DatasetVersion(
        f["dataset"], f["version"], f["fingerprint"], f["zone"], f["rows"], manifest, _aware(f["published_at"])
    )
