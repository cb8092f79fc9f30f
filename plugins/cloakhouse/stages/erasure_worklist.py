"""What the closing search looks for: collected before anything is cut, kept encrypted, dropped with the batch's list.

    rights/<batch>/worklist-values.parquet           person, kind, column, value (see `worklist_values`)
    rights/<batch>/worklist-rows-<dataset>.parquet   the persons' rows of a synthetic dataset's training view
    rights/<batch>/erasure-worklist-<digest>.json    the manifest: counts and digests, written last

All of it lies under the keys of the batch's list, which are destroyed when the batch is done. What is collected once
stays: after the cut there is nothing left to collect it from. Killed before the manifest, the next call collects anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import StageError
from cloakhouse.lake.manifests import read_named, write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages.erasure_rows import rows_of_persons
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.sweep_values import ANYWHERE, SHORTEST, Needles, beside
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.stages.worklist_subjects import tokens_of_subjects
from cloakhouse.stages.worklist_values import (
    RIGHTS,
    SCHEMA,
    TOKEN,
    VALUE,
    distinct,
    others_have,
    tokens_of,
    values_of,
)

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

KIND = "erasure-worklist"
ZONE = "rights"
CLASSES = dict.fromkeys(SCHEMA.names, ColumnClass.DIRECT)


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Attributes:
        persons: rights tokens of those who are erased.
        needles: values and tokens that are looked for anywhere.
        kinds: of each needle: value, token, formatted (a token in the form of a value), rights.
        fields: by column: values too short for that, looked for as whole fields of columns of that name.
        shared: values that were dropped because other persons have them, too.
    """

    persons: pa.Array
    needles: Needles
    kinds: np.ndarray
    fields: Mapping[str, pa.Array]
    shared: int

    def patterns(self) -> dict[str, int]:
        """Return how many values are looked for in which way."""
        return {"anywhere": len(self.needles), "fields": sum(map(len, self.fields.values()))}


def collect(settings: Settings, batch: Batch) -> dict[str, int]:
    """Collect identifiers, tokens and view rows of the batch's persons below `rights/<batch>/`; return counts.

    To be called before anything is cut. What was collected stays: calling it again returns the same counts. Raises
    IntegrityError, StageError for a delivery that can't be read, KeyServiceError, AccessRefused, StorageError.
    """
    standing = _manifest(settings, batch.name)
    if standing is None:
        standing = _collected(settings, batch)
    return dict(standing["counts"])


def wanted(settings: Settings, batch: Batch, persons: pa.Array) -> Wanted:
    """Return what the closing search looks for: the values of `persons`, those of the batch who are erased.

    Raises StageError (`stage.worklist`) where nothing was collected, IntegrityError, KeyServiceError.
    """
    content = _required(settings, batch.name)
    store = TableStore(open_store(settings), open_ring(settings))
    table = store.read(file_entries(content["files"])[0])
    table = table.filter(pc.is_in(table["person"], value_set=persons))
    rights = pa.table([persons, *([text] * len(persons) for text in (RIGHTS, "")), persons.cast(pa.binary())], SCHEMA)
    table = pa.concat_tables([table, rights])
    first = table.group_by("value", use_threads=False).aggregate([("kind", "min"), ("column", "min")])
    long = pc.greater_equal(pc.binary_length(first["value"]), SHORTEST)
    values, kinds = first["value"].filter(long).combine_chunks(), np.array(first["kind_min"].filter(long).to_pylist())
    around = [
        ANYWHERE if kind in (TOKEN, RIGHTS) else beside(v) for kind, v in zip(kinds, values.to_pylist(), strict=True)
    ]
    short = table.filter(pc.and_(pc.equal(table["kind"], VALUE), pc.less(pc.binary_length(table["value"]), SHORTEST)))
    fields = {
        name: pc.unique(short.filter(pc.equal(short["column"], name))["value"].combine_chunks())
        for name in pc.unique(short["column"]).to_pylist()
    }
    return Wanted(persons, Needles(values, np.array(around, np.uint8)), kinds, fields, content["counts"]["shared"])


def rows_before(settings: Settings, batch: Batch, dataset: str) -> pa.Table | None:
    """Return the rows that the persons had in the training view of `dataset`, None where they had none.

    The unit of each row is the person's rights token. Raises as `wanted`.
    """
    content = _required(settings, batch.name)
    for entry in file_entries(content["files"])[1:]:
        if entry.path.endswith(f"/worklist-rows-{dataset}.parquet"):
            return TableStore(open_store(settings), open_ring(settings)).read(entry)
    return None


def drop(settings: Settings, name: str) -> int:
    """Remove the worklist of the batch `name`, once the certificate stands; return how many objects went.

    Repeated, nothing changes. Its keys are those of the batch's list, and go with it.
    """
    store = open_store(settings)
    found = [info.path for info in store.list(f"{ZONE}/{name}") if "worklist-" in info.path.rpartition("/")[2]]
    return sum(store.delete(path) for path in sorted(found))  # the manifest goes first: erasure- before worklist-


def _collected(settings: Settings, batch: Batch) -> dict[str, Any]:
    contracts, keys = load_contracts(settings.contracts), token_keys(settings)
    store = TableStore(open_store(settings), open_ring(settings))
    found = values_of(settings, contracts, batch.rights, keys)
    shared = others_have(settings, contracts, batch.rights, keys, found)
    values = found.filter(pa.array(~shared))
    tokens = tokens_of(settings, contracts, values, keys, _days(settings, contracts))
    tokens = distinct(pa.concat_tables([tokens, tokens_of_subjects(settings, contracts, batch.rights, keys)]))
    table = pa.concat_tables([values, tokens])
    entries = [store.write(f"{ZONE}/{batch.name}/worklist-values.parquet", table, CLASSES)]
    counts = {"values": values.num_rows, "tokens": tokens.num_rows, "shared": int(shared.sum()), "rows": 0}
    counts["persons"] = len(pc.unique(values["person"]))
    for dataset, rows in rows_of_persons(settings, contracts, batch.rights, keys).items():
        classes = dict.fromkeys(rows.column_names, ColumnClass.DIRECT)  # whose key goes with the batch
        entries.append(store.write(f"{ZONE}/{batch.name}/worklist-rows-{dataset}.parquet", rows, classes))
        counts["rows"] += rows.num_rows
    content = {"batch": batch.name, "counts": counts, "files": [entry.as_dict() for entry in entries]}
    write_manifest(open_store(settings), f"{ZONE}/{batch.name}", KIND, content)
    return content


def _days(settings: Settings, contracts: Mapping[str, Contract]) -> dict[str, list[str]]:
    """Return the partitions of each dataset, for tokens that are bound to a period."""
    catalogue = Catalogue(settings.database)
    known = {
        name: sorted({*catalogue.deliveries(name), *catalogue.protected(name), *catalogue.expired(name)})
        for name in contracts
    }
    return {name: days or ["1970-01-01"] for name, days in known.items()}


def _manifest(settings: Settings, name: str) -> dict[str, Any] | None:
    store = open_store(settings)
    for info in store.list(f"{ZONE}/{name}"):
        if info.path.rpartition("/")[2].startswith(f"{KIND}-"):
            return read_named(store, info.path, KIND)[1]
    return None


def _required(settings: Settings, name: str) -> dict[str, Any]:
    found = _manifest(settings, name)
    if found is None:
        raise StageError(
            where=f"erasure {name}",
            expected="the worklist that is collected before anything is cut",
            found="none",
            not_done="nothing was searched or attacked",
            remedy="resume the erasure: it collects what still stands; a search without it would prove nothing",
            code="worklist",
        )
    return found
