"""The rows of one published version: read file by file, checked against its release, masked where the policy says so.

Every file is compared with the release first: size, SHA-256, encryption, row count. Memory holds one batch at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath

import pyarrow as pa

from cloakhouse.client.meter import Meter
from cloakhouse.client.selection import Selection
from cloakhouse.contracts.access_policy import Shown
from cloakhouse.errors import CloakhouseError, IntegrityError
from cloakhouse.keys.files import storage_error
from cloakhouse.lake.parquet import FileEntry, TableStore

BATCH_ROWS = 65_536
REDACTED = "***"
ARROW_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}


@dataclass(frozen=True)
class Rows:
    """The rows of one version. Holds names and settings; keys stay in the store.

    Attributes:
        label: `name@version`.
        files: in the order of the release.
        types: logical type of each column.
        shown: how each column is shown.
        tables: opens the lake's tables, once.
        lost: what to raise instead for a file that could not be read, None if nothing is known of it.
    """

    label: str
    files: tuple[FileEntry, ...]
    types: Mapping[str, str]
    shown: Mapping[str, Shown]
    tables: Callable[[], TableStore]
    lost: Callable[[FileEntry], CloakhouseError | None]

    def batches(self, selection: Selection, rows: int = BATCH_ROWS) -> Generator[pa.RecordBatch, None, None]:
        """Yield the chosen rows in batches of at most `rows`; no file beyond the last one needed is opened.

        Raises IntegrityError (files missing or changed), VersionWithdrawn, VersionGone, AccessRefused, KeyServiceError,
        StorageError; ConfigurationError for a condition that doesn't fit the column's type.
        """
        left = selection.limit
        for entry in self.files if left != 0 else ():
            size = rows if left is None or selection.where else min(left, rows)
            with contextlib.closing(self.of_file(entry, selection, size)) as batches:
                for batch in batches:
                    if left is not None:
                        batch = batch.slice(0, min(left, batch.num_rows))
                        left -= batch.num_rows
                    yield batch
                    if left == 0:
                        return

    def table(self, selection: Selection, progress: bool | None = None) -> pa.Table:
        """Return the chosen rows as one table, with a progress bar as `Meter` says. Raises as `batches`."""
        with Meter(self.label, sum(entry.rows for entry in self.files), progress) as meter:
            taken = []
            for batch in self.batches(selection):
                meter.advance(batch.num_rows)
                taken.append(batch)
        return pa.Table.from_batches(taken) if taken else self.schema(selection).empty_table()

    def schema(self, selection: Selection) -> pa.Schema:
        """Return the chosen columns with their Arrow types, as the files hold them. Raises as `batches`."""
        types = {name: ARROW_TYPES[kind] for name, kind in self.types.items()}
        if self.files and selection.clear:
            with self._explained(self.files[0]):
                held, _ = self.tables().layout(self.files[0])
            types |= {name: held.field(name).type for name in selection.clear}
        return pa.schema([(name, types[name]) for name in selection.columns])

    def of_file(
        self, entry: FileEntry, selection: Selection, rows: int = BATCH_ROWS
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield the chosen rows of one file, whatever the limit. Raises as `batches`."""
        if not selection.touched:
            yield from self._masked(entry.rows, selection, rows)
            return
        with self._explained(entry):
            for batch in self.tables().batches(entry, selection.clear, rows, selection.where):
                yield self._dressed(batch, selection)

    def _masked(self, count: int, selection: Selection, rows: int) -> Iterator[pa.RecordBatch]:
        for start in range(0, count, rows):
            length = min(rows, count - start)
            columns = [self._mask(name, length) for name in selection.columns]
            yield pa.RecordBatch.from_arrays(columns, names=list(selection.columns))

    def _dressed(self, batch: pa.RecordBatch, selection: Selection) -> pa.RecordBatch:
        """Return `batch`, of the clear columns, with the masked ones in their places."""
        if selection.clear == selection.columns:
            return batch.select(list(selection.columns))
        columns = [
            batch.column(name) if name in selection.clear else self._mask(name, batch.num_rows)
            for name in selection.columns
        ]
        return pa.RecordBatch.from_arrays(columns, names=list(selection.columns))

    def _mask(self, name: str, rows: int) -> pa.Array:
        kind = ARROW_TYPES[self.types[name]]
        if self.shown[name] is Shown.REDACT and pa.types.is_string(kind):
            return pa.repeat(REDACTED, rows)
        return pa.nulls(rows, kind)

    @contextlib.contextmanager
    def _explained(self, entry: FileEntry) -> Iterator[None]:
        """Tell what became of a file that can't be read."""
        try:
            yield
        except IntegrityError:
            if (known := self.lost(entry)) is not None:
                raise known from None
            raise
        except (pa.ArrowException, OSError) as fault:
            if (known := self.lost(entry)) is not None:
                raise known from None
            if isinstance(fault, PermissionError):  # of a file of keys, too: nothing is damaged
                raise storage_error(fault, PurePath(entry.path), "the rows after it were not read") from None
            missing = isinstance(fault, FileNotFoundError)  # as an object store tells it
            raise IntegrityError(
                where=entry.path if missing else self.label,
                expected="files that open under the keys of the lake",
                found="no file" if missing else f"one that does not ({type(fault).__name__})",
                not_done="the rows after it were not read",
                remedy="restore the lake and its keystore from the same backup",
            ) from None
