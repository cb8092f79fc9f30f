"""A batch of persons to be erased, and its list: the only place where its persons are named.

The list lies in the lake below `rights/<batch>/`, encrypted under keys of its own (zone `rights`, dataset: the batch),
as rights tokens, and never as identifiers. When the batch is done the list is deleted and its keys are destroyed, so
that copies of it die too.

    rights/<batch>/persons.parquet   kind, token: `person` (rights token), `name` (see Batch.names)
    rights/<batch>/erasure-request-<digest>.json   its manifest: counts and the file's digest
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import KeyServiceError, StageError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import FOOTER, KeyState
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.settings import Settings
from cloakhouse.stages.sources import file_entries
from cloakhouse.tokens.subjects import RIGHTS_TYPE

ZONE = "rights"
REQUEST = "erasure-request"
PREFIX = "er-"
ABANDONED = dt.timedelta(hours=1)  # a list that no erasure names by then belongs to a request that was killed
SCHEMA = pa.schema([("kind", pa.string()), ("token", RIGHTS_TYPE)])
CLASSES = dict.fromkeys(SCHEMA.names, ColumnClass.DIRECT)


@dataclass(frozen=True)
class Batch:
    """Persons who are to be erased together.

    Attributes:
        name: `er-<date>-<8 hex>`.
        rights: their rights tokens, fixed_size_binary(16), sorted and unique.
        reason: as whoever asked for it wrote it.
        requested_at: UTC.
        names: what else names them, for lines that no parser takes: the rights tokens of the texts that stood in the
            customer master's other columns (`subject.also`), normalised as their columns are; sorted and unique.
    """

    name: str
    rights: pa.Array
    reason: str
    requested_at: dt.datetime
    names: pa.Array


def write_list(settings: Settings, name: str, persons: pa.Array, names: pa.Array) -> ManifestRef:
    """Write the list of a batch and return its manifest. Raises StorageError, KeyServiceError, AccessRefused."""
    store = open_store(settings)
    kinds = pa.array(["person"] * len(persons) + ["name"] * len(names), pa.string())
    table = pa.table([kinds, pa.concat_arrays([persons, names])], schema=SCHEMA)
    entry = TableStore(store, open_ring(settings)).write(f"{ZONE}/{name}/persons.parquet", table, CLASSES)
    content = {"batch": name, "persons": len(persons), "names": len(names), "files": [entry.as_dict()]}
    return write_manifest(store, f"{ZONE}/{name}", REQUEST, content)


def open_batch(settings: Settings, name: str) -> Batch:
    """Return an open batch with its persons.

    Raises NotFound for an unknown one, StageError (`stage.erasure-list`) for one whose list was deleted,
    IntegrityError, KeyServiceError, AccessRefused.
    """
    erasure, store = Erasures(settings.database).get(name), open_store(settings)
    if store.stat(erasure.request.path) is None and erasure.ended_at is not None:
        raise _dropped(name)
    [entry] = file_entries(read_manifest(store, erasure.request, REQUEST)["files"])
    table = TableStore(store, open_ring(settings)).read(entry)
    tokens = {
        kind: table.filter(pc.equal(table["kind"], kind))["token"].combine_chunks() for kind in ("person", "name")
    }
    return Batch(name, tokens["person"], erasure.reason, erasure.requested_at, tokens["name"])


def still(settings: Settings, batch: Batch, holds: SubjectHolds | None = None) -> pa.Array:
    """Return the persons of `batch` who may be erased: none who is, or since the request was, under a hold."""
    held = (holds or SubjectHolds(settings.database)).held_since(batch.requested_at)
    return batch.rights.filter(pc.invert(pc.is_in(batch.rights, value_set=held)))


def drop_list(settings: Settings, name: str) -> bool:
    """Destroy the keys of a batch's list and delete it; return whether there was one. Repeated, nothing changes.

    The keys go first: killed in between, the files that are left show `drop_abandoned` that it isn't over.
    """
    store, ring = open_store(settings), open_ring(settings)
    for key in _keys(name):
        try:
            if any(file.key == key and file.state is not KeyState.DESTROYED for file in ring.all()):
                ring.destroy(key)
        except KeyServiceError as fault:
            if fault.code != "key.missing":
                raise
    paths = [item.path for item in store.list(f"{ZONE}/{name}")]
    for path in paths:
        store.delete(path)
    return bool(paths)


def drop_abandoned(settings: Settings, now: dt.datetime | None = None) -> int:
    """Drop the lists of requests that were killed before they were recorded, and of done erasures; return how many."""
    store, moment = open_store(settings), now or dt.datetime.now(dt.UTC)
    open_ones = {erasure.batch for erasure in Erasures(settings.database).all(open_only=True)}
    newest: dict[str, dt.datetime] = {}
    for item in store.list(ZONE):
        name = item.path.split("/")[1]
        if name.startswith(PREFIX) and name not in open_ones:
            newest[name] = max(item.modified, newest.get(name, item.modified))
    stale = [name for name, modified in newest.items() if modified + ABANDONED <= moment]
    return sum(drop_list(settings, name) for name in stale)


def _keys(name: str) -> tuple[DatasetKey, DatasetKey]:
    return DatasetKey(ZONE, ColumnClass.DIRECT.key_name, name), DatasetKey(ZONE, FOOTER, name)


def _dropped(name: str) -> StageError:
    return StageError(
        where=f"erasure {name}",
        expected="a batch whose persons are still listed",
        found="one that is done, and whose list was deleted",
        not_done="nothing was read or erased",
        remedy="`cloakhouse erase show` tells what was done; request an erasure anew for what came since",
        code="erasure-list",
    )
