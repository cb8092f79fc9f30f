"""Encrypted Parquet: the one module through which tables are written to and read from the lake.

How the bytes are encrypted is in `cloakhouse.lake.encryption`. A column without a class is refused, because the
format would write it in plaintext; what came out is checked from its bytes before it becomes visible.

Reading a file, in this order; nothing later happens when one step refuses:

1. the footer key of the file's dataset is opened;
2. size, SHA-256 and both magics are compared with the manifest's FileEntry, so that a swapped, spliced or
   plaintext file is found before the reader sees it (`cloakhouse.lake.sums.VerifiedFiles`: once, while the file stays
   as it is);
3. the footer is opened; it records each column's class, and for which dataset the file was written;
4. the keys of all columns that are asked for or filtered by are opened: pyarrow aborts or hangs on a key that it
   is denied, so it must not be the one to find out;
5. row groups that can hold no row of the filter are left out (`cloakhouse.lake.pruning`);
6. pyarrow reads those columns, batch by batch where there is a filter; the filter's columns are dropped.

Source: https://github.com/apache/parquet-format/blob/master/Encryption.md
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import IntegrityError, StorageError
from cloakhouse.keys.files import storage_error
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.encryption import FileEncryption
from cloakhouse.lake.filters import Condition, RowFilter
from cloakhouse.lake.footer import MAGIC, require_encrypted
from cloakhouse.lake.projection import ColumnKeys, Projection, check_columns
from cloakhouse.lake.pruning import groups_to_read
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.lake.sums import FileEntry, HashingSink, VerifiedFiles, tampered

__all__ = ["MAGIC", "FileEntry", "TableStore"]

ROWS_PER_GROUP = 131_072
READ_BATCH = 65_536  # rows


class _RowGroups:
    """Gathers batches into row groups of a useful size; holds one group at most."""

    def __init__(self, path: str, writer: pq.ParquetWriter) -> None:
        self.rows = 0
        self._path = path
        self._writer = writer
        self._waiting: list[pa.Table] = []
        self._count = 0

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Take a batch; write the group once it is full."""
        self._waiting.append(pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch)
        self._count += batch.num_rows
        self.rows += batch.num_rows
        if self._count >= ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._count:
            try:
                self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=ROWS_PER_GROUP)
            except pa.ArrowInvalid:
                raise _lossy(self._path) from None
        self._waiting, self._count = [], 0


class TableStore:
    """Reads and writes encrypted tables below the lake in one object store. One per process; keeps the key cache."""

    def __init__(self, lake: ObjectStore, ring: KeyRing) -> None:
        self._lake = lake
        self._ring = ring
        self._encryption = FileEncryption(ring)
        self._verified = VerifiedFiles()

    @contextlib.contextmanager
    def writing(
        self, path: str, schema: pa.Schema, classes: Mapping[str, ColumnClass]
    ) -> Iterator[tuple[Callable[[pa.RecordBatch | pa.Table], None], list[FileEntry]]]:
        """Yield (write, entries): call `write` per batch; after the block `entries` holds the one FileEntry.

        `path` is relative to the lake: zone/dataset/... The file appears in one step. Raises IntegrityError for a
        column without class or a file that did not come out encrypted, StorageError, KeyServiceError, AccessRefused.
        """
        check_columns(path, schema, classes)
        keys = ColumnKeys.of(path, {name: classes[name].key_name for name in schema.names})
        entries: list[FileEntry] = []
        properties = self._encryption.properties(path, keys.by_class())
        with self._lake.staged(path) as temporary:
            try:
                with HashingSink.create(temporary) as sink, sink.for_arrow() as stream:
                    with pq.ParquetWriter(
                        stream, schema, compression="zstd", encryption_properties=properties, coerce_timestamps="us"
                    ) as writer:
                        writer.add_key_value_metadata(keys.as_metadata())
                        groups = _RowGroups(path, writer)
                        yield groups.add, entries
                        groups.flush()
                    stream.flush()
                    os.fsync(sink.fileno())
            except OSError as fault:
                raise _storage(fault, path) from None
            require_encrypted(temporary, path, keys.names(), self._ring)
        entries.append(FileEntry(path, sink.size, groups.rows, sink.sha256()))

    def write(self, path: str, table: pa.Table, classes: Mapping[str, ColumnClass]) -> FileEntry:
        """Write `table` to `path` and return its entry. Raises as `writing`."""
        with self.writing(path, table.schema, classes) as (write, entries):
            write(table)
        return entries[0]

    def read(
        self, entry: FileEntry, columns: Sequence[str] | None = None, where: Sequence[Condition] | None = None
    ) -> pa.Table:
        """Return the rows of one file, optionally only `columns`, and only rows that fulfil all of `where`.

        `where` holds (column, operator, value) triples: = != < <= > >= in, not in. A missing value fulfils none.
        Raises AccessRefused for a column whose class the reader has no key of, in `columns` or `where` alike;
        NotFound for a column that the file doesn't have; ConfigurationError for a condition that can't be
        evaluated; IntegrityError, KeyServiceError, StorageError.
        """
        with self._opened(entry, columns, RowFilter.of(where)) as (file, projection, groups):
            if projection.filter.conditions:
                return pa.Table.from_batches(projection.batches(file, READ_BATCH, groups), projection.schema)
            return projection.dress(file.read(columns=projection.needed))

    def batches(
        self,
        entry: FileEntry,
        columns: Sequence[str] | None = None,
        rows: int = READ_BATCH,
        where: Sequence[Condition] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one file in batches of at most `rows`. Arguments and errors as `read`."""
        with self._opened(entry, columns, RowFilter.of(where)) as (file, projection, groups):
            yield from projection.batches(file, rows, groups)

    def layout(self, entry: FileEntry) -> tuple[pa.Schema, dict[str, ColumnClass]]:
        """Return the columns of one file with their types, and the class that each was written under.

        Takes the footer's key alone. Raises as `read`.
        """
        by_key_name = {column_class.key_name: column_class for column_class in ColumnClass}
        with self._file(entry) as (_, file, keys):
            schema = Projection.of(entry, file.schema_arrow, file.schema_arrow.names, RowFilter(())).schema
            return schema, {column: by_key_name[use] for column, use in keys.classes.items()}

    @contextlib.contextmanager
    def _opened(
        self, entry: FileEntry, columns: Sequence[str] | None, where: RowFilter
    ) -> Iterator[tuple[pq.ParquetFile, Projection, list[int] | None]]:
        """Yield the open file, what may be read of it, and its row groups that may hold a row of `where` (None: all).

        Every key that this takes was opened.
        """
        with self._file(entry) as (source, file, keys):
            schema = file.schema_arrow
            projection = Projection.of(entry, schema, columns, where)
            keys.authorise(projection.touched, self._encryption.require)
            groups = groups_to_read(source, entry.bytes, schema, where, self._ring) if where.conditions else None
            yield file, projection, groups

    @contextlib.contextmanager
    def _file(self, entry: FileEntry) -> Iterator[tuple[pa.OSFile, pq.ParquetFile, ColumnKeys]]:
        """Yield the open file, which is the one that `entry` lists, its reader, and its columns' classes."""
        properties = self._encryption.opening(entry.path)
        try:
            with pa.OSFile(str(self._lake.fetched(entry.path, entry.sha256))) as source:
                self._verified.require(source, entry)
                with pq.ParquetFile(source, decryption_properties=properties) as file:
                    if file.metadata.num_rows != entry.rows:
                        raise tampered(entry, f"{entry.rows} rows", f"{file.metadata.num_rows} rows")
                    yield source, file, ColumnKeys.recorded(entry, file.metadata.metadata, file.schema_arrow.names)
        except FileNotFoundError:
            raise tampered(entry, "the file", "no file") from None
        except (OSError, ValueError, pa.ArrowException) as fault:
            if isinstance(fault, OSError) and fault.errno is not None:
                raise storage_error(fault, PurePosixPath(entry.path), "the file was not read") from None
            raise tampered(entry, "pages and a footer with valid tags", "others") from None


def _lossy(path: str) -> IntegrityError:
    return IntegrityError(
        where=path,
        expected="values that Parquet holds as they are, timestamps in whole microseconds",
        found="others (the library's message would quote one)",
        not_done="the file was not written",
        remedy="round timestamps to microseconds before they are written",
    )


def _storage(fault: OSError, path: str) -> Exception:
    if fault.errno is None:
        return StorageError(
            where=PurePosixPath(path).name,
            expected="room and permission to write",
            found="the system refused the write",
            not_done="the file was not made visible",
            remedy="check space and permissions in CLOAKHOUSE_HOME, then run again",
        )
    return storage_error(fault, PurePosixPath(path), "the file was not made visible")
