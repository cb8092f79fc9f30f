"""One encrypted Parquet file without some of its rows: same columns, types and classes, under the newest keys.

1. the columns that tell which rows go are read alone, which opens no other key and decrypts no other page; what they
   tell is kept, one bit a row;
2. a file that none goes of stays as it is, and costs no more than that;
3. else its rows are read once, batch by batch, and those that stay are written to a new file beside it.

The old file stays: whoever makes the new one current removes it then. Nothing here tells which rows went.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import IntegrityError
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.reencryption import MARK

Going = Callable[[pa.RecordBatch], pa.BooleanArray]
"""Which rows of a batch go: a mask without nulls."""


def rows_going(store: TableStore, entry: FileEntry, columns: Sequence[str], going: Going) -> int:
    """Return how many rows of one file go, as `going` tells from `columns`. Raises as `TableStore.read`."""
    return sum(going(batch).true_count for batch in store.batches(entry, columns))


def which_go(store: TableStore, entry: FileEntry, columns: Sequence[str], going: Going) -> pa.ChunkedArray:
    """Return for each row of one file whether it goes: bool[rows]. Raises as `TableStore.read`."""
    return pa.chunked_array([going(batch) for batch in store.batches(entry, columns)], pa.bool_())


def recut(store: TableStore, entry: FileEntry, goes: pa.ChunkedArray) -> FileEntry:
    """Write the rows of `entry` that stay, by `goes` (`which_go`), to a new file beside it and return its entry.

    Raises IntegrityError when the rows don't add up (the new file is not used), KeyServiceError, StorageError.
    """
    old = PurePosixPath(entry.path)
    path = str(old.with_name(f"{old.stem.split(MARK)[0]}{MARK}{secrets.token_hex(4)}.parquet"))
    read = 0
    with store.writing(path, *store.layout(entry)) as (write, entries):
        for batch in store.batches(entry):
            write(batch.filter(pc.invert(goes.slice(read, batch.num_rows).combine_chunks())))
            read += batch.num_rows
    gone = pc.sum(goes, min_count=0).as_py()
    if entries[0].rows != entry.rows - gone:
        raise IntegrityError(
            where=path,
            expected=f"{entry.rows - gone} rows: those of the file before, without {gone}",
            found=f"{entries[0].rows} rows",
            not_done="the new file is not used",
            remedy="run the command again",
        )
    return entries[0]
