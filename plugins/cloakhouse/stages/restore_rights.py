"""What a later backup knows of persons' rights, brought into a restored database, in one transaction.

The later backup's log must be the continuation of the restored one: the same root at its size, and the signed root at
its own. Then, of its rows:

| table | what is taken |
| --- | --- |
| `tombstone` | the list as it is: those that were added, and those that a hold took away since |
| `erasure` | an erasure that was open in the backup and is done: its list is gone, and its persons are erased again |
| `subject_hold` | holds that were placed, or lifted |
| `consent_record` | choices that are new; of two at one instant the refusal; none of a person with a tombstone |
| `privacy_entry`, `privacy_spend` | what was spent: a restored database must not spend it again |
| `key_fingerprint` | signing keys that were made since |
| `dataset_version` | versions that were withdrawn, expired or collected since; and what the bare name stands for |
| `dataset_head` | the highest number that was given: a version that is lost keeps its number |

Versions, deliveries and partitions that were made since are lost: their files are in no backup.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger import database as db
from cloakhouse.ledger.consent_model import REFUSED
from cloakhouse.ledger.erasure_model import ErasureState
from cloakhouse.ledger.merkle import Frontier, leaf_hash
from cloakhouse.settings import Settings
from cloakhouse.stages.backup_database import Loading
from cloakhouse.stages.backup_manifest import DATABASE, Backup, broken
from cloakhouse.stages.backup_sealing import opened

Rows = list[dict[str, Any]]
INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


@dataclass(frozen=True)
class Brought:
    """What came from a later backup: counts by kind, and the erasures whose persons are to be erased again."""

    counts: Mapping[str, int] = field(default_factory=dict)
    redo: frozenset[str] = frozenset()


def bring_in(
    settings: Settings,
    shelf: ObjectStore,
    rights: Backup,
    identity: Path,
    backup: Backup,
    anchors: Collection[tuple[int, str]] = (),
) -> Brought:
    """Bring what `rights` knows into the database of `settings`, which was restored from `backup`; return what came.
    `anchors` are sizes and roots (hex) that its log must have, too.

    Raises IntegrityError (`integrity.backup`: another log, or other bytes), KeyServiceError, ConfigurationError,
    StorageError. Nothing is changed then.
    """
    engine = db.open_database(settings.database)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        ends = {(one.log_size, one.log_root) for one in (backup, rights)}
        bringing = _Bringing(connection, ends.union(anchors))
        loading = Loading(rights.revision, bringing.take)
        opened(shelf, rights.file(DATABASE), identity, loading)
        loading.finish()
        return bringing.finish()


class _Bringing:
    """Takes the later database's rows, table by table."""

    def __init__(self, connection: sa.Connection, roots: Collection[tuple[int, str]]) -> None:
        self._connection = connection
        self._insert = INSERTS[connection.dialect.name]
        self._frontier, self._seen = Frontier(0, []), set[int]()
        self._roots = {size: {root for at, root in roots if at == size} for size, _ in roots}
        if 0 in self._roots:
            self._seen.add(0)
        self._tombstones: set[bytes] = set()
        self._redo: set[str] = set()
        self._counts: dict[str, int] = {}
        self._size = 0
        before = connection.execute(sa.select(db.tombstone.c.subject)).scalars()
        self._before = {bytes(subject) for subject in before}
        self._takers = {
            db.audit_entry: self._log,
            db.tombstone: self._stones,
            db.erasure: self._erasures,
            db.subject_hold: self._holds,
            db.consent_record: self._consents,
            db.privacy_entry: self._entries,
            db.privacy_spend: self._spends,
            db.key_fingerprint: self._fingerprints,
            db.dataset_version: self._versions,
            db.dataset_head: self._heads,
        }

    def take(self, table: sa.Table, rows: Rows) -> None:
        """Take some rows of `table`."""
        if table in self._takers:
            self._takers[table](rows)

    def finish(self) -> Brought:
        """Return what came. Raises IntegrityError for a log that doesn't go on from the restored one."""
        if self._seen != set(self._roots):
            raise broken("the later backup", "the log of the restored one, and what was added", "another log")
        table = db.tombstone
        gone = sorted(self._before - self._tombstones)
        for subject in gone:
            self._connection.execute(sa.delete(table).where(table.c.subject == subject))
        if gone:
            self._counts["tombstones_lifted"] = len(gone)
        register = db.consent_record
        erased = register.c.subject.in_(sa.select(table.c.subject))
        self._connection.execute(sa.delete(register).where(erased))
        return Brought(self._counts, frozenset(self._redo))

    def _log(self, rows: Rows) -> None:
        for row in rows:
            if row["number"] != self._size:
                raise broken("the later backup", f"entry {self._size} of the log", "another one")
            self._frontier.add(leaf_hash(row["content"]))
            self._size += 1
            if self._size in self._roots:
                if {self._frontier.root().hex()} != self._roots[self._size]:
                    raise broken("the later backup", "the log of the restored one, and what was added", "another log")
                self._seen.add(self._size)

    def _stones(self, rows: Rows) -> None:
        new = [row for row in rows if row["subject"] not in self._before]
        self._tombstones |= {row["subject"] for row in rows}
        self._redo |= {row["batch"] for row in new}
        self._add(db.tombstone, new, "tombstones")

    def _erasures(self, rows: Rows) -> None:
        table = db.erasure
        for row in rows:
            if row["state"] == ErasureState.OPEN:
                continue
            mine = (table.c.batch == row["batch"]) & (table.c.state == ErasureState.OPEN)
            if self._connection.execute(sa.update(table).where(mine).values(row)).rowcount:
                self._redo.add(row["batch"])
                self._count("erasures")

    def _holds(self, rows: Rows) -> None:
        self._upsert(db.subject_hold, rows, ["id"], ("lifted_at",), "holds")

    def _consents(self, rows: Rows) -> None:
        table = db.consent_record
        insert = self._insert(table)
        refusal = (insert.excluded.choice == REFUSED) & (table.c.choice != REFUSED)
        changed = {name: insert.excluded[name] for name in ("choice", "jurisdiction", "policy", "recorded_at")}
        unique = ["subject", "purpose", "source", "chosen_at"]
        before = self._total(table)
        statement = insert.on_conflict_do_update(index_elements=unique, set_=changed, where=refusal)
        self._connection.execute(statement, [_without(row, "id") for row in rows])
        self._count("consents", self._total(table) - before)

    def _entries(self, rows: Rows) -> None:
        self._add(db.privacy_entry, [_without(row, "id") for row in rows], "spends", ["spend_id", "kind"])

    def _spends(self, rows: Rows) -> None:
        key = ["spend_id", "dataset", "unit", "consumer"]
        changed = tuple(name for name in rows[0] if name not in key)
        self._upsert(db.privacy_spend, rows, key, changed, "accounts")

    def _fingerprints(self, rows: Rows) -> None:
        self._add(db.key_fingerprint, rows, "fingerprints", ["name"])

    def _versions(self, rows: Rows) -> None:
        table = db.dataset_version
        for row in rows:
            mine = (table.c.dataset == row["dataset"]) & (table.c.version == row["version"])
            changed = {name: row[name] for name in ("state", "reason", "changed_at")}
            other = mine & (table.c.state != row["state"])
            self._count("versions", self._connection.execute(sa.update(table).where(other).values(changed)).rowcount)
            there = self._connection.execute(sa.select(table.c.version).where(mine)).first()
            self._count("versions_lost", there is None)

    def _heads(self, rows: Rows) -> None:
        heads, versions = db.dataset_head, db.dataset_version
        for row in rows:
            known = (versions.c.dataset == row["dataset"]) & (versions.c.version == row["version"])
            head = self._connection.execute(sa.select(versions.c.version).where(known)).scalar()
            insert = self._insert(heads).values(dataset=row["dataset"], version=head, reserved=row["reserved"])
            changed = {"reserved": row["reserved"]} | ({"version": head} if head is not None else {})
            self._connection.execute(insert.on_conflict_do_update(index_elements=["dataset"], set_=changed))

    def _add(self, table: sa.Table, rows: Rows, what: str, unique: list[str] | None = None) -> None:
        if rows:
            before = self._total(table)
            key = unique or [column.name for column in table.primary_key]
            self._connection.execute(self._insert(table).on_conflict_do_nothing(index_elements=key), rows)
            self._count(what, self._total(table) - before)

    def _upsert(self, table: sa.Table, rows: Rows, key: list[str], changed: tuple[str, ...], what: str) -> None:
        insert, before = self._insert(table), self._total(table)
        values = {name: insert.excluded[name] for name in changed}
        self._connection.execute(insert.on_conflict_do_update(index_elements=key, set_=values), rows)
        self._count(what, self._total(table) - before)

    def _total(self, table: sa.Table) -> int:
        return int(self._connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())

    def _count(self, what: str, more: int = 1) -> None:
        if more:
            self._counts[what] = self._counts.get(what, 0) + int(more)


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
