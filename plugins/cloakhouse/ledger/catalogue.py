"""What the control database knows of deliveries and partitions: which landed, which are protected.

States of a partition: delivered -> landed (a row in `delivery`) -> protected (a row in `protected_partition` for the
newest revision) -> validated. What is published is in `cloakhouse.ledger.versions`.

Each of these steps is an event of the audit log, appended last in its transaction: neither stands without the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as Conflict

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import ContractError, StageError
from cloakhouse.ledger import catalogue_events as events
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import append
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.writing import alone, retried, writing

Also = Callable[[sa.Connection], object]
"""What else a transaction records, before its event: on the connection that it is given."""


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
    expired_at: dt.datetime | None = None  # when its file was deleted; None: it is there


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
    withheld: int = 0  # rows of persons who don't allow the use, or were erased
    rights: str = ""  # digest of the consents and erasures that it was made under


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

    def deliveries(self, dataset: str, partition: str | None = None) -> dict[str, list[Delivery]]:
        """Return the landed deliveries of `dataset`, or of one partition, by partition, oldest revision first."""
        table = db.delivery
        query = sa.select(table).where(table.c.dataset == dataset).order_by(table.c.partition, table.c.revision)
        if partition is not None:
            query = query.where(table.c.partition == partition)
        found: dict[str, list[Delivery]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                found.setdefault(row.partition, []).append(_delivery(row))
        return found

    @retried
    def add_delivery(self, delivery: Delivery, by: Event) -> None:
        """Record a landed file, and that `by` landed it. Raises StageError when another process recorded that revision
        first."""
        with alone(self._engine, db.delivery.name) as connection:
            try:
                connection.execute(sa.insert(db.delivery).values(_flat(delivery)))
            except Conflict:
                raise _taken(delivery) from None
            append(connection, [events.landed(by, delivery)])

    @retried
    def cut_delivery(self, old: Delivery, new: Delivery, by: Event, also: Also | None = None) -> bool:
        """Have `new` stand for `old`, the same delivery with fewer rows, or expired; return whether `old` stood.

        `by` is appended as it is, and `also` is done in the same transaction. Repeated, nothing changes and nothing is
        appended.
        """
        table = db.delivery
        where = (table.c.dataset == old.dataset) & (table.c.partition == old.partition)
        where &= (table.c.revision == old.revision) & (table.c.manifest_sha256 == old.manifest.sha256)
        where &= table.c.expired_at.is_(None)
        with alone(self._engine, table.name) as connection:
            changed = connection.execute(sa.update(table).where(where).values(_flat(new))).rowcount > 0
            if changed:
                if also is not None:
                    also(connection)
                append(connection, [by])
            return changed

    @retried
    def cut_partition(
        self, old: ProtectedPartition, new: ProtectedPartition, by: Event, also: Also | None = None
    ) -> bool:
        """Have `new` stand for `old`, the same partition with fewer rows; return whether `old` stood.

        It stays validated as it was. `by` is appended as it is, and `also` is done in the same transaction. Repeated,
        nothing changes and nothing is appended.
        """
        values = {name: value for name, value in _flat(new).items() if name != "validated"}
        return self._change_partition(old, {**values, "updated_at": _now()}, by, also)

    @retried
    def expire_partition(self, partition: ProtectedPartition, by: Event) -> bool:
        """Record that the files of `partition` are not kept any longer; return whether it stood. `by` as above."""
        return self._change_partition(partition, {"expired_at": _now()}, by)

    def _change_partition(
        self, old: ProtectedPartition, values: Mapping[str, Any], by: Event, also: Also | None = None
    ) -> bool:
        table = db.protected_partition
        where = (table.c.dataset == old.dataset) & (table.c.partition == old.partition)
        where &= (table.c.manifest_sha256 == old.manifest.sha256) & table.c.expired_at.is_(None)
        with writing(self._engine, table) as connection:
            changed = connection.execute(sa.update(table).where(where).values(values)).rowcount > 0
            if changed:
                if also is not None:
                    also(connection)
                append(connection, [by])
            return changed

    def expired(self, dataset: str) -> frozenset[str]:
        """Return the partitions of `dataset` that were protected once and are not kept any longer."""
        table = db.protected_partition
        query = sa.select(table.c.partition).where(table.c.dataset == dataset, table.c.expired_at.is_not(None))
        with self._engine.connect() as connection:
            return frozenset(connection.execute(query).scalars())

    def protected(self, dataset: str, partition: str | None = None) -> dict[str, ProtectedPartition]:
        """Return the protected partitions of `dataset`, or one, by partition, in order, without those that expired."""
        table = db.protected_partition
        where = (table.c.dataset == dataset) & table.c.expired_at.is_(None)
        if partition is not None:
            where &= table.c.partition == partition
        query = sa.select(table).where(where).order_by(table.c.partition)
        with self._engine.connect() as connection:
            return {row.partition: _protected(row) for row in connection.execute(query)}

    def key_fingerprint(self, name: str) -> str | None:
        """Return the fingerprint of the key `name` (a root of token keys, a signing key), None for one never used."""
        table = db.key_fingerprint
        with self._engine.connect() as connection:
            query = sa.select(table.c.fingerprint).where(table.c.name == name)
            found: str | None = connection.execute(query).scalar_one_or_none()
            return found

    def record_key_fingerprint(self, name: str, fingerprint: str) -> str:
        """Record the fingerprint of a key at its first use; return the one that is recorded."""
        row: dict[str, object] = {"name": name, "fingerprint": fingerprint, "recorded_at": _now()}
        with self._engine.begin() as connection:
            _insert_ignoring_conflict(connection, db.key_fingerprint, row)
        recorded = self.key_fingerprint(name)
        assert recorded is not None
        return recorded

    @retried
    def record_protected(self, partitions: Collection[ProtectedPartition], by: Event) -> None:
        """Make `partitions` the current ones, all in one transaction, with an event for each that `by` did so."""
        table = db.protected_partition
        with writing(self._engine, table) as connection:
            for partition in partitions:
                key = (table.c.dataset == partition.dataset) & (table.c.partition == partition.partition)
                connection.execute(sa.delete(table).where(key))
                connection.execute(sa.insert(table).values({**_flat(partition), "updated_at": _now()}))
            append(connection, [events.pseudonymized(by, partition) for partition in partitions])

    @retried
    def mark_validated(self, dataset: str, manifests: Sequence[ManifestRef], by: Event) -> None:
        """Mark the partitions with these manifests as validated, with an event for each that wasn't; a partition
        replaced meanwhile stays unmarked."""
        table = db.protected_partition
        where = (table.c.dataset == dataset) & table.c.manifest_sha256.in_([m.sha256 for m in manifests])
        where &= table.c.validated.is_(False)
        with writing(self._engine, table) as connection:
            query = sa.select(table).where(where).order_by(table.c.partition)
            found = [_protected(row) for row in connection.execute(query)]
            connection.execute(sa.update(table).where(where).values(validated=True))
            append(connection, [events.validated(by, partition) for partition in found])

    @retried
    def replace_manifest(self, old: ManifestRef, new: ManifestRef) -> bool:
        """Have `new` stand where `old` does: the same rows in other files. Return whether `old` stood anywhere."""
        table = db.protected_partition
        where = (table.c.manifest_path == old.path) & (table.c.manifest_sha256 == old.sha256)
        with writing(self._engine, table) as connection:
            values = {"manifest_path": new.path, "manifest_sha256": new.sha256}
            return connection.execute(sa.update(table).where(where).values(values)).rowcount > 0


def _taken(delivery: Delivery) -> StageError:
    return StageError(
        where=f"{delivery.dataset} {delivery.partition}",
        expected=f"revision {delivery.revision} to be free",
        found="recorded by another process",
        not_done="the file was not recorded a second time",
        remedy="run again: the delivery will be recognised",
        code="conflict",
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _flat(value: Delivery | ProtectedPartition) -> dict[str, object]:
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
        _aware(f["expired_at"]) if f["expired_at"] else None,
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
        f["withheld"],
        f["rights"],
    )
