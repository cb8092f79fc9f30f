"""Training views in memory, as an engine sees them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class LocalShards:
    """Shards that are tables in memory. Tasks are pickled on the way, as they are on theirs to Spark workers."""

    tables: tuple[pa.Table, ...]

    def map(self, task: Callable[[pa.Table], bytes]) -> Iterator[bytes]:
        """Yield `task` of every table."""
        sent = pickle.loads(pickle.dumps(task))
        return (sent(table) for table in self.tables)

    def table(self) -> pa.Table:
        """Return all rows."""
        return pa.concat_tables(self.tables)
