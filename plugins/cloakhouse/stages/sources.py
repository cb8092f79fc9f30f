"""Reading protected datasets by their manifests: which partitions make up a dataset now, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from cloakhouse.contracts.model import Contract, Period
from cloakhouse.errors import NotFound
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef, ProtectedPartition
from cloakhouse.settings import Settings

PROTECTED = "protected"


def file_entries(items: Sequence[dict[str, object]]) -> tuple[FileEntry, ...]:
    """Return the file entries of a manifest's list."""
    return tuple(FileEntry(**item) for item in items)  # type: ignore[arg-type]


def current_partitions(catalogue: Catalogue, contract: Contract) -> list[ProtectedPartition]:
    """Return the validated partitions that make up the dataset now: all of a feed, the newest of a snapshot.

    Partitions of an older version of the contract don't count. Raises NotFound when there is none.
    """
    partitions = [
        p for p in catalogue.protected(contract.name).values() if p.validated and p.contract_version == contract.version
    ]
    if not partitions:
        raise NotFound(
            where=f"protected zone, {contract.name}",
            expected=f"at least one validated partition under contract {contract.version}",
            found="none",
            not_done="nothing was derived from it",
            remedy=f"run the DAG protect_{contract.name} until its validation passes",
        )
    if contract.feed is not None and contract.feed.period is Period.SNAPSHOT:
        return partitions[-1:]
    return partitions


def partition_files(settings: Settings, manifest: ManifestRef) -> tuple[FileEntry, ...]:
    """Return the files of one protected partition. Raises IntegrityError."""
    return file_entries(read_manifest(open_store(settings), manifest, PROTECTED)["files"])


def read_partitions(
    settings: Settings,
    store: TableStore,
    partitions: Sequence[ProtectedPartition],
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield one table per partition, only `columns` where given. Raises IntegrityError, KeyServiceError."""
    for partition in partitions:
        tables = [store.read(entry, columns) for entry in partition_files(settings, partition.manifest)]
        yield pa.concat_tables(tables)


def batches_of_partitions(
    settings: Settings, store: TableStore, partitions: Sequence[ProtectedPartition], rows: int
) -> Iterator[pa.Table]:
    """Yield the rows of all partitions in tables of `rows` rows, the last one of what is left; an empty one if that is
    all. Raises IntegrityError, KeyServiceError.
    """
    files = [entry for partition in partitions for entry in partition_files(settings, partition.manifest)]
    waiting = store.layout(files[0])[0].empty_table()
    yielded = False
    for entry in files:
        for batch in store.batches(entry, rows=rows):
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
            if waiting.num_rows >= rows:
                yield waiting.slice(0, rows)
                waiting, yielded = waiting.slice(rows), True
    if waiting.num_rows or not yielded:
        yield waiting


def as_refs(partitions: Sequence[ProtectedPartition]) -> list[dict[str, str]]:
    """Return the partitions for a manifest: name, manifest path and digest."""
    return [{"partition": p.partition, **p.manifest.as_dict()} for p in partitions]
