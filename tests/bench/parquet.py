"""Encrypted Parquet against the same table in plaintext: CPU seconds, interleaved, the best of several.

The sums that a manifest lists (SHA-256 over the file) are told apart: plaintext files would need them, too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.encryption import FileEncryption
from cloakhouse.lake.parquet import ROWS_PER_GROUP, TableStore
from cloakhouse.lake.store.folder import FolderStore

ROWS = 500_000
ROUNDS = 25
FILES = 1000
PATH = "protected/receipts/part-0.parquet"
CLASSES = {
    "household": ColumnClass.DIRECT,
    "basket": ColumnClass.INDIRECT,
    "day": ColumnClass.INDIRECT,
    "product": ColumnClass.PLAIN,
    "shop": ColumnClass.PLAIN,
    "quantity": ColumnClass.PLAIN,
    "price": ColumnClass.SENSITIVE,
}


def measure(folder: Path) -> str:
    """Return the tables of CPU seconds beside plaintext, and of calls to the key service."""
    folder.mkdir(parents=True)
    text = f"{_against_plaintext(folder)}\n{_calls(folder)}"
    shutil.rmtree(folder)
    return text


def _against_plaintext(folder: Path) -> str:
    table = _receipts()
    ring = _ring(AgeKeyService, folder)
    store, encryption = TableStore(FolderStore(folder / "lake"), ring), FileEncryption(ring)
    plain, alone = folder / "plain.parquet", folder / "alone.parquet"
    entries = [store.write(PATH, table, CLASSES)]
    sealed = folder / "lake" / PATH
    content = sealed.read_bytes()

    def properties() -> Any:
        columns = {use.key_name: [c for c in CLASSES if CLASSES[c] is use] for use in CLASSES.values()}
        return encryption.properties(PATH, columns)

    works: dict[str, Callable[[], object]] = {
        "write plain": lambda: _write(plain, table),
        "write alone": lambda: _write(alone, table, properties()),
        "write store": lambda: entries.append(store.write(PATH, table, CLASSES)),
        "read plain": lambda: pq.ParquetFile(plain).read(),
        "read alone": lambda: pq.ParquetFile(alone, decryption_properties=encryption.opening(PATH)).read(),
        "read store": lambda: store.read(entries[-1]),
        "write sums": lambda: hashlib.sha256(content).digest(),
        "read sums": lambda: _sum(sealed),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            before = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - before)
    growth = len(content) / plain.stat().st_size - 1
    head = f"{ROWS:,} rows, {len(content) / 2**20:.0f} MiB ({growth:+.2%})"
    lines = [
        f"| {head} | plaintext, CPU s | encrypted by pyarrow alone | by TableStore | without its SHA-256 | target |",
        "| --- | --- | --- | --- | --- | --- |",
        _row("write, fsync", best, "write", "1.05 or less"),
        _row("read all", best, "read", "1.20 or less"),
    ]
    return "\n".join([*lines, ""])


def _row(what: str, best: dict[str, float], work: str, target: str) -> str:
    """Return a line of the table: seconds in plaintext, and ratios to them."""
    plain, store, sums = (best[f"{work} {way}"] for way in ("plain", "store", "sums"))
    ratios = (best[f"{work} alone"], store, store - sums)
    return f"| {what} | {plain:.3f} | " + " | ".join(f"{seconds / plain:.2f}" for seconds in ratios) + f" | {target} |"


def _calls(folder: Path) -> str:
    calls: Counter[str] = Counter()

    class Counting(AgeKeyService):
        def wrap(self, *given: Any) -> Any:
            calls["wrap"] += 1
            return super().wrap(*given)

        def unwrap(self, *given: Any) -> Any:
            calls["unwrap"] += 1
            return super().unwrap(*given)

    home = folder / "small"
    store = TableStore(FolderStore(home / "lake"), _ring(Counting, home))
    table = _receipts(10)
    before = time.process_time()
    entries = [store.write(f"protected/receipts/part-{n}.parquet", table, CLASSES) for n in range(FILES)]
    written = time.process_time()
    for entry in entries:
        store.read(entry)
    read = time.process_time()
    lines = [
        f"| {FILES:,} small files, {len(set(CLASSES.values())) + 1} keys, one worker | |",
        "| --- | --- |",
        f"| calls to the key service, writing and reading all | {calls['wrap']} wraps, {calls['unwrap']} unwraps |",
        f"| CPU for a file, writing | {(written - before) / FILES * 1e3:.2f} ms |",
        f"| CPU for a file, reading | {(read - written) / FILES * 1e3:.2f} ms |",
    ]
    return "\n".join([*lines, ""])


def _ring(service: type[AgeKeyService], home: Path) -> KeyRing:
    return KeyRing(service(home / "keystore"), home / "dataset-keys")


def _receipts(rows: int = ROWS) -> pa.Table:
    """Return receipt lines as they are in the protected zone: tokens, days, products, prices."""
    draw = np.random.default_rng(7)
    households = draw.integers(0, 256, (2500, 16), dtype=np.uint8)
    tokens = pa.array([bytes(row) for row in households], pa.binary(16))
    return pa.table(
        {
            "household": tokens.take(pa.array(draw.integers(0, len(tokens), rows))),
            "basket": pa.array(draw.integers(0, 1 << 62, rows)),
            "day": pa.array(draw.integers(17_000, 17_365, rows).astype("datetime64[D]").astype("datetime64[us]")),
            "product": pa.array(draw.zipf(1.3, rows) % 90_000),
            "shop": pa.array([f"shop-{n:03d}" for n in range(400)]).take(pa.array(draw.integers(0, 400, rows))),
            "quantity": pa.array(draw.poisson(1.4, rows).astype(np.int32)),
            "price": pa.array(np.round(draw.lognormal(1, 1, rows), 2)),
        }
    )


def _write(path: Path, table: pa.Table, properties: Any = None) -> None:
    """Write as the platform does, but for what is measured: durably, in the same row groups."""
    with pq.ParquetWriter(
        path, table.schema, compression="zstd", coerce_timestamps="us", encryption_properties=properties
    ) as writer:
        writer.write_table(table, row_group_size=ROWS_PER_GROUP)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _sum(path: Path) -> bytes:
    digest, block = hashlib.sha256(), memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(block):
            digest.update(block[:count])
    return digest.digest()
