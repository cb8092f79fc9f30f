"""A protected partition without the rows of some persons, in its protected files or in its quarantine.

Under the lock of the dataset, which landing, pseudonymization and the rewriting of keys take, too:

1. the partition is read from the control database as it stands now;
2. file by file: which rows go is told from the columns that tell alone; a file that holds such rows is written anew
   beside the old one, the others stay as they are;
3. a manifest lists the files, with the digest of the one before, and keeps whatever else that one said;
4. the control database points to it, with the event and with what the caller notes of the count, in one transaction:
   readers see the old or the new, both whole, and a count survives a kill just when its cut does;
5. whatever lies in the partition's folders and isn't listed is deleted: the old files, what a killed call left half
   done, and what earlier pseudonymizations left there. So no older version of a protected file is kept.

Killed anywhere, the next call goes on: before 4 it starts over, after it there is nothing to cut and 5 is done. Old
manifests stay: they hold names of files, counts and digests, and tell later readers what a version was made from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.derive import KeySource
from cloakhouse.keys.files import locked
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.recut import Going, recut, which_go
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Also, Catalogue, ManifestRef, ProtectedPartition
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.settings import Settings
from cloakhouse.stages.residency import check_residency
from cloakhouse.stages.sources import PROTECTED, file_entries
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.keyed import written
from cloakhouse.tokens.subjects import rights_uses, tokens_of_rights

LOCK_WAIT_S = 600.0
FILES, QUARANTINE = "files", "quarantine"
Noted = Callable[[int], Also | None]
"""Told how many rows are going; returns what is recorded of it together with the cut."""


@dataclass(frozen=True)
class Cut:
    """What one call cut out of a partition.

    Attributes:
        partition: as it stands now; None when it isn't kept any longer.
        rows: cut by this call.
        rewritten / deleted: files written anew, and files deleted, by this call.
    """

    partition: ProtectedPartition | None
    rows: int
    rewritten: int
    deleted: int


@dataclass(frozen=True)
class Tools:
    """What opens files and names persons; kept over many files, so that each key and database is opened once."""

    ring: KeyRing
    tables: TableStore
    keys: KeySource
    store: ObjectStore
    catalogue: Catalogue
    holds: SubjectHolds

    @classmethod
    def of(cls, settings: Settings, contracts: Iterable[Contract], reason: str) -> Tools:
        """Return those for feeds of persons; `reason` goes into the events of keys."""
        ring, store = open_ring(settings, reason), open_store(settings)
        subjects = [contract.column(c.column) for contract in contracts if (c := contract.rights.subject) is not None]
        ensure_roots(settings, sorted({use.root for column in subjects for use in rights_uses(column)}))
        catalogue, holds = Catalogue(settings.database), SubjectHolds(settings.database)
        return cls(ring, TableStore(store, ring), token_keys(settings), store, catalogue, holds)


def cut_partition(
    settings: Settings,
    contract: Contract,
    partition: ProtectedPartition,
    persons: pa.Array,
    by: Event,
    noted: Noted | None = None,
    tools: Tools | None = None,
) -> Cut:
    """Cut the rows of `persons` (rights tokens, fixed_size_binary(16)) out of one protected partition, and publish it.

    The caller doesn't hold the dataset's lock. `by` is recorded with the number of rows as its count, when there are
    any. `noted` is then told that number, and what it returns is done in the transaction of the cut. Raises
    ContractError for a contract without a `subject`, IntegrityError, KeyServiceError, AccessRefused, StorageError,
    ResidencyRefused, StageError (the dataset is busy for ten minutes).
    """
    tools = tools or Tools.of(settings, [contract], by.reason)
    column, going = subject_rows(settings, contract, persons, tools.keys)
    return cut_list(settings, contract, partition, FILES, [column], going, by, noted, tools)


def subject_rows(
    settings: Settings, contract: Contract, persons: pa.Array, keys: KeySource | None = None
) -> tuple[str, Going]:
    """Return the subject's column in the protected zone, and which rows of it are of `persons`."""
    subject = contract.rights.subject
    assert subject is not None, contract.name
    column = contract.column(subject.column)
    tokens = written(tokens_of_rights(persons, column, keys or token_keys(settings)), column.treatment.parameters)
    return column.name, lambda batch: pc.is_in(batch.column(column.name), value_set=tokens)


def cut_list(
    settings: Settings,
    contract: Contract,
    partition: ProtectedPartition,
    name: str,
    columns: Sequence[str],
    going: Going,
    by: Event,
    noted: Noted | None = None,
    tools: Tools | None = None,
) -> Cut:
    """Cut the rows that `going` tells from `columns` out of one list of files, FILES or QUARANTINE; as above."""
    check_residency(settings, contract, PROTECTED, QUARANTINE)
    tools = tools or Tools.of(settings, [contract], by.reason)
    lock = settings.home / "locks" / f"{contract.name}.lock"
    with locked(lock, LOCK_WAIT_S, f"cutting persons out of {contract.name}"):
        store, catalogue = tools.store, tools.catalogue
        current = catalogue.protected(contract.name, partition.partition).get(partition.partition)
        if current is None:
            return Cut(None, 0, 0, 0)
        content = read_manifest(store, current.manifest, PROTECTED)
        cutter = _Cutter(tools.tables, columns, going)
        before = file_entries(content[name])
        fresh = [cutter.without(entry) for entry in before]
        rows, rewritten = cutter.rows, len({e.path for e in fresh} - {e.path for e in before})
        if rows:
            also = noted(rows) if noted is not None else None
            manifest = _written(store, current.manifest, content, name, fresh, cutter.reasons)
            after = replace(
                current,
                manifest=manifest,
                rows=current.rows - rows * (name == FILES),
                quarantined=current.quarantined - rows * (name == QUARANTINE),
            )
            catalogue.cut_partition(current, after, replace(by, count=rows), also)
            current, content = after, read_manifest(store, manifest, PROTECTED)
        return Cut(current, rows, rewritten, _remove_unlisted(store, current, content))


class _Cutter:
    """Leaves rows out of a list of files, and counts them."""

    def __init__(self, store: TableStore, columns: Sequence[str], going: Going) -> None:
        self._store = store
        self._columns = columns
        self._going = going
        self.rows = 0
        self.reasons: Counter[str] = Counter()

    def without(self, entry: FileEntry) -> FileEntry:
        """Return the file without the rows that go, written anew; itself, when none does."""
        before = self.rows
        goes = which_go(self._store, entry, self._columns, self._counted)
        return recut(self._store, entry, goes) if self.rows > before else entry

    def _counted(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        mask = self._going(batch)
        self.rows += mask.true_count
        if "reason" in batch.schema.names:
            self.reasons.update(batch.column("reason").filter(mask).to_pylist())
        return mask


def _written(
    store: ObjectStore,
    before: ManifestRef,
    content: dict[str, Any],
    name: str,
    fresh: Sequence[FileEntry],
    reasons: Counter[str],
) -> ManifestRef:
    """Write the manifest of the partition as it is cut; it says of the one before no more than its digest."""
    body = {key: value for key, value in content.items() if key not in ("format", "kind")}
    body[name] = [entry.as_dict() for entry in fresh]
    if name == FILES:
        body["rows"] = sum(entry.rows for entry in fresh)
    else:
        body["quarantined"] = dict(+(Counter(content["quarantined"]) - reasons))
    folder = before.path.rpartition("/")[0]
    return write_manifest(store, folder, PROTECTED, {**body, "cut_from": before.sha256})


def _remove_unlisted(store: ObjectStore, partition: ProtectedPartition, content: dict[str, Any]) -> int:
    """Delete the files in the partition's folders that its manifest doesn't list; return how many.

    The dataset's lock is held: nobody writes there.
    """
    listed = {item["path"] for name in (FILES, QUARANTINE) for item in content.get(name, ())}
    count = 0
    for zone in (PROTECTED, QUARANTINE):
        folder = f"{zone}/{partition.dataset}/{partition.partition}"
        for info in list(store.list(folder)):
            if info.path.endswith(".parquet") and info.path not in listed:
                count += store.delete(info.path)
        store.clear_leftovers(folder)
    return count
