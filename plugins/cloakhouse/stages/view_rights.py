"""Reading protected rows for what is derived from them: only rows that may be used now, whatever they were made under.

A withdrawal or an erasure is therefore out of the next derived run, before a protected file is written again. The
column that names the person is read along and left out again where nobody asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from cloakhouse.lake.parquet import TableStore
from cloakhouse.ledger.catalogue import ProtectedPartition
from cloakhouse.settings import Settings
from cloakhouse.stages.sieve import Sieve
from cloakhouse.stages.sources import read_partitions


def read_allowed(
    settings: Settings,
    store: TableStore,
    partitions: Sequence[ProtectedPartition],
    columns: Sequence[str],
    sieve: Sieve | None,
) -> Iterator[pa.Table]:
    """Yield one table per partition with `columns`, of the rows that pass `sieve`. Raises as `read_partitions`."""
    if sieve is None:
        yield from read_partitions(settings, store, partitions, columns)
        return
    for table in read_partitions(settings, store, partitions, list(dict.fromkeys([*columns, sieve.column]))):
        keep = sieve.of_tokens(table.column(sieve.column))
        wanted = table.select(list(columns))
        yield wanted if keep.all() else wanted.filter(pa.array(keep))
