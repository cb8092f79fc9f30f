"""The closing search: MB/s over raw bytes, gzip CSV and Parquet columns, decoding told apart from searching.

Values are made as an erasure has them: half of them tokens of 16 bytes and card numbers, half of them addresses of one
host. CPU seconds of one process, the best of several.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloakhouse.stages.sweep_readers import blocks, texts
from cloakhouse.stages.sweep_values import ANYWHERE, Needles, beside

BYTES = 64 << 20
ROUNDS = 5
PERSONS = (1, 1_000, 100_000)
PER_PERSON = 12


def measure(folder: Path) -> str:
    """Return the table of MB/s by number of persons."""
    folder.mkdir(parents=True)
    raw, text = os.urandom(BYTES), _lines()
    packed, table = gzip.compress(text, 6), _table()
    path = folder / "table.parquet"
    pq.write_table(table, path, compression="zstd")
    columns = [found for c in table.columns if (found := texts(c.combine_chunks())) is not None]
    size = sum(column.nbytes for column in columns)
    lines = ["| persons | values | raw | CSV | Parquet columns | index, s |", "| --- | --- | --- | --- | --- | --- |"]
    for persons in PERSONS:
        begun = time.process_time()
        needles = _needles(persons)
        index = time.process_time() - begun
        speeds = [
            BYTES / _best(lambda n=needles: _stream(n, raw)),  # type: ignore[misc]
            len(text) / _best(lambda n=needles: _stream(n, text)),  # type: ignore[misc]
            size / _best(lambda n=needles: [n.find_in_cells(c) for c in columns]),  # type: ignore[misc]
        ]
        said = " | ".join(f"{speed / 1e6:,.0f} MB/s" for speed in speeds)
        lines.append(f"| {persons:,} | {len(needles):,} | {said} | {index:.2f} |")
    unpacking = len(text) / _best(lambda: gzip.decompress(packed)) / 1e6
    decoding = table.nbytes / _best(lambda: pq.read_table(path, use_threads=False)) / 1e6
    shutil.rmtree(folder)
    lines += ["", f"Decoding alone, beside that: gunzip {unpacking:,.0f} MB/s, Parquet {decoding:,.0f} MB/s."]
    return "\n".join(lines) + "\n"


def _best(work: Callable[[], object]) -> float:
    found = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def _stream(needles: Needles, content: bytes) -> int:
    parts = blocks(io.BytesIO(content), needles.longest + 1)
    return sum(len(needles.find(data)) for data, _, _ in parts)


def _needles(persons: int) -> Needles:
    rng = np.random.default_rng(1)
    count = max(persons * PER_PERSON // 4, 1)
    cards = {b"%016d" % number for number in rng.integers(10**15, 10**16, count)}
    values = [*(rng.bytes(16) for _ in range(count)), *cards]
    values += [b"person%d@example.com" % number for number in range(2 * count)]
    kinds = [ANYWHERE if number < count else beside(value) for number, value in enumerate(values)]
    return Needles(pa.array(values, pa.binary()), np.array(kinds, np.uint8))


def _lines() -> bytes:
    row = b"%d,%d,%d,3,2017-01-02 11:00:00,%016d,0.00,somebody%d@example.com\n"
    parts = [row % (i % 2500, i * 7919, i % 90_000, 4 * 10**15 + i * 7919, i) for i in range(BYTES // 90)]
    return b"".join(parts)


def _table() -> pa.Table:
    rng, rows = np.random.default_rng(2), BYTES // 48
    tokens = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(rng.bytes(16 * rows))])
    cards = pa.array(rng.integers(10**15, 10**16, rows)).cast(pa.string())
    return pa.table({"household_id": tokens, "card_number": cards, "price": rng.random(rows)})
