"""Which snapshots of the consent register were pinned. What they list, persons by rights token, is in the lake."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import append
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.consent_model import Snapshot
from cloakhouse.ledger.version_rows import aware
from cloakhouse.ledger.writing import retried, writing


class ConsentSnapshots:
    """Records and lists snapshots. Each write is one transaction; repeated writes change nothing."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    @retried
    def add(self, snapshot: Snapshot, by: Event) -> Snapshot:
        """Record `snapshot`, with `by`, and return the one that stands under its digest: another process's, perhaps."""
        table = db.consent_snapshot
        with writing(self._engine, table) as connection:
            standing = connection.execute(sa.select(table).where(table.c.sha256 == snapshot.sha256)).first()
            if standing is not None:
                return _snapshot(standing)
            connection.execute(sa.insert(table).values(_flat(snapshot)))
            append(connection, [by])
        return snapshot

    def get(self, sha256: str) -> Snapshot | None:
        """Return the snapshot of this digest, None for one that was never pinned, or shed."""
        table = db.consent_snapshot
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(table).where(table.c.sha256 == sha256)).first()
        return None if row is None else _snapshot(row)

    def newest(self, purpose: str) -> Snapshot | None:
        """Return the snapshot of `purpose` as of the latest time, None where there is none."""
        table = db.consent_snapshot
        query = sa.select(table).where(table.c.purpose == purpose).order_by(table.c.as_of.desc(), table.c.sha256)
        with self._engine.connect() as connection:
            row = connection.execute(query.limit(1)).first()
        return None if row is None else _snapshot(row)

    def all(self) -> list[Snapshot]:
        """Return every snapshot there is, by purpose, oldest first."""
        table = db.consent_snapshot
        query = sa.select(table).order_by(table.c.purpose, table.c.as_of, table.c.sha256)
        with self._engine.connect() as connection:
            return [_snapshot(row) for row in connection.execute(query)]

    @retried
    def replace(self, snapshot: Snapshot, manifest: ManifestRef) -> bool:
        """Have `manifest`, of the same list without some persons, stand for the one of `snapshot`; return whether that
        one stood."""
        table = db.consent_snapshot
        values = {"manifest_path": manifest.path, "manifest_sha256": manifest.sha256}
        with writing(self._engine, table) as connection:
            return connection.execute(sa.update(table).where(_same(snapshot)).values(values)).rowcount > 0

    @retried
    def remove(self, snapshot: Snapshot) -> bool:
        """Forget `snapshot`; return whether it stood."""
        with writing(self._engine, db.consent_snapshot) as connection:
            return connection.execute(sa.delete(db.consent_snapshot).where(_same(snapshot))).rowcount > 0


def _same(snapshot: Snapshot) -> sa.ColumnElement[bool]:
    table = db.consent_snapshot
    return (table.c.sha256 == snapshot.sha256) & (table.c.manifest_sha256 == snapshot.manifest.sha256)


def _flat(snapshot: Snapshot) -> dict[str, Any]:
    fields = {name: value for name, value in vars(snapshot).items() if name != "manifest"}
    as_of: dt.datetime = fields["as_of"]
    manifest = snapshot.manifest
    return {
        **fields,
        "as_of": as_of.astimezone(dt.UTC),
        "manifest_path": manifest.path,
        "manifest_sha256": manifest.sha256,
    }


def _snapshot(row: sa.Row[Any]) -> Snapshot:
    f = row._mapping
    manifest = ManifestRef(f["manifest_path"], f["manifest_sha256"])
    return Snapshot(f["sha256"], f["purpose"], aware(f["as_of"]), f["subjects"], f["allowed"], manifest)
