"""Batches that keep each other company: none is small beside others, because some treatments mix rows of a batch.

The order of rows stays, and how a split is cut into batches depends on its bytes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from cloakhouse.stages.parsing import BadRows, Parsed

COMPANY = 1_000  # rows
ROOM = 256 << 20  # bytes: rows of hundreds of KiB each are no longer waited for, or memory would grow with them


def gathered(batches: Iterable[Parsed], set_aside: Callable[[BadRows], None], least: int = COMPANY) -> Iterator[Parsed]:
    """Yield the sound rows of `batches`, in batches of at least `least` rows, or ROOM bytes; less only if that is all.

    Their bad rows go to `set_aside` at once. Memory: one batch, and a smaller one with what was needed to fill it.
    """
    full: Parsed | None = None
    waiting: list[Parsed] = []
    rows = size = 0
    for batch in batches:
        set_aside(batch.bad)
        if batch.table.num_rows == 0:
            continue
        waiting.append(batch)
        rows += batch.table.num_rows
        size += batch.table.nbytes
        if rows >= least or size >= ROOM:
            if full is not None:
                yield full
            full, waiting, rows, size = _joined(waiting), [], 0, 0
    if full is not None:
        waiting.insert(0, full)
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[Parsed]) -> Parsed:
    table, raw = (pa.concat_tables([getattr(b, part) for b in batches]) for part in ("table", "raw"))
    return Parsed(table, raw, BadRows())
