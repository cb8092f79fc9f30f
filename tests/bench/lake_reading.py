"""Reading a published version beside pyarrow on the same rows in plaintext files: CPU seconds, interleaved, the best.

The first read in a process compares each file with its entry (SHA-256); later reads of files that nobody wrote to since
don't. Both open the version anew or hold it open as a model team would.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.support import stores
from tests.support.published import empty_house

from cloakhouse.client.api import Dataset, Lake
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.lake.parquet import ROWS_PER_GROUP
from cloakhouse.lake.sums import SETTLED_S
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.settings import Settings

ROWS = 3_000_000
FILES = 6
ROUNDS = 9
NAME = "baskets_bench"
TWO = ["price", "store"]
CLASSES = {
    "household": ColumnClass.INDIRECT,
    "basket": ColumnClass.INDIRECT,
    "day": ColumnClass.PLAIN,
    "hour": ColumnClass.PLAIN,
    "store": ColumnClass.PLAIN,
    "product": ColumnClass.PLAIN,
    "category": ColumnClass.PLAIN,
    "quantity": ColumnClass.PLAIN,
    "price": ColumnClass.SENSITIVE,
    "has_meat": ColumnClass.SENSITIVE,
}
TYPES = {
    "household": "integer",
    "basket": "integer",
    "day": "date",
    "hour": "timestamp",
    "product": "integer",
    "quantity": "integer",
    "price": "number",
    "has_meat": "boolean",
}
Work = Callable[[], object]


def measure(folder: Path) -> str:
    """Return the tables of CPU seconds beside plaintext files, on the local disk and from an S3 server."""
    settings, plain = _published(folder)
    text = f"{_against_plaintext(settings, plain)}\n{_from_server(settings, plain, folder)}"
    shutil.rmtree(folder)
    return text


def _published(folder: Path) -> tuple[Settings, Path]:
    """Return an installation with one version, and the folder of plaintext files of the same rows."""
    table, plain = _baskets(ROWS), folder / "plain"
    plain.mkdir(parents=True)
    house = empty_house(folder / "home")
    house.publish(NAME, table, FILES, CLASSES, TYPES)
    size = -(-ROWS // FILES)
    for number in range(FILES):
        part = table.slice(number * size, size)
        pq.write_table(part, plain / f"part-{number}.parquet", compression="zstd", row_group_size=ROWS_PER_GROUP)
    time.sleep(SETTLED_S + 0.5)  # as of old files: those that were just written are compared again
    return house.settings, plain


def _against_plaintext(settings: Settings, plain: Path) -> str:
    held = _opened(settings)
    rest: dict[str, Any] = {"progress": False}

    def as_duckdb(dataset: Dataset) -> object:
        return dataset.to_duckdb(**rest).aggregate("sum(price)").fetchall()

    ways: dict[str, tuple[Work, Callable[[Dataset], object], str]] = {
        "to_arrow, 10 columns": (lambda: pq.read_table(plain), lambda d: d.to_arrow(**rest), "1.25 or less"),
        "to_arrow, 2 columns": (
            lambda: pq.read_table(plain, columns=TWO),
            lambda d: d.to_arrow(TWO, **rest),
            "1.50 or less",
        ),
        "to_pandas": (lambda: pq.read_table(plain).to_pandas(), lambda d: d.to_pandas(**rest), ""),
        "to_polars": (lambda: _as_polars(pq.read_table(plain)), lambda d: d.to_polars(**rest), ""),
        "to_duckdb, a sum": (lambda: _as_duckdb(pq.read_table(plain)), as_duckdb, ""),
    }
    works: dict[tuple[str, str], Work] = {}
    for name, (alone, read, _) in ways.items():
        works[name, "plain"] = alone
        works[name, "first"] = lambda read=read: read(_opened(settings))  # type: ignore[misc]
        works[name, "later"] = lambda read=read: read(held)  # type: ignore[misc]
    best = best_of(works, ROUNDS)
    sizes = [sum(path.stat().st_size for path in where.rglob("*.parquet")) for where in (plain, settings.lake)]
    head = f"{ROWS:,} rows, {FILES} files, {sizes[1] / 2**20:.0f} MiB ({sizes[1] / sizes[0] - 1:+.2%})"
    lines = [
        f"| {head} | pyarrow on plaintext, CPU s | first read in a process | later reads | target |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (*_, target) in ways.items():
        seconds, first, later = (best[name, way] for way in ("plain", "first", "later"))
        lines.append(f"| {name} | {seconds:.3f} | {first / seconds:.2f} | {later / seconds:.2f} | {target} |")
    return "\n".join([*lines, ""])


def _from_server(settings: Settings, plain: Path, folder: Path) -> str:
    """Read the same version from `rclone serve s3` over TLS: fetched, in the cache of another process, and again."""
    server = stores.rclone()
    shutil.copytree(settings.lake, server.bucket / "bench")
    served = replace(settings, store=server.uri("bench"), cache=folder / "cache")
    lines = ["| from an S3 server over TLS, 10 columns | wall, s | CPU of the reader, s |", "| --- | --- | --- |"]
    held = _opened(served)
    ways: dict[str, Work] = {
        "first read: fetched, compared, decrypted": lambda: held.to_arrow(progress=False),
        "first read in another process: in the cache": lambda: _opened(served).to_arrow(progress=False),
        "later reads": lambda: held.to_arrow(progress=False),
    }
    for name, work in ways.items():
        walls, seconds = [], []
        for _ in range(1 if "fetched" in name else 3):
            wall, before = time.perf_counter(), time.process_time()
            work()
            walls.append(time.perf_counter() - wall)
            seconds.append(time.process_time() - before)
        lines.append(f"| {name} | {min(walls):.2f} | {min(seconds):.2f} |")
        if "fetched" in name:
            time.sleep(SETTLED_S + 0.5)
    shutil.rmtree(server.bucket / "bench")
    return "\n".join([*lines, ""])


def best_of(works: dict[Any, Work], rounds: int) -> dict[Any, float]:
    """Return the CPU seconds of each work, all threads together: the best of `rounds`, in turns."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            before = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - before)
    return best


def _opened(settings: Settings) -> Dataset:
    """Return the version as a process has it that opens it first: nothing of it was compared yet."""
    return Lake(settings, VersionRegister(settings.database)).dataset(NAME)


def _as_polars(table: pa.Table) -> object:
    import polars as pl

    return pl.from_arrow(table)


def _as_duckdb(table: pa.Table) -> object:
    import duckdb

    return duckdb.connect(":memory:").from_arrow(table).aggregate("sum(price)").fetchall()


def _baskets(rows: int) -> pa.Table:
    """Return basket lines as they are published: integers, numbers, texts, truth values, days and hours."""
    draw = np.random.default_rng(7)

    def texts(form: str, count: int) -> pa.Array:
        return pa.array([form.format(n) for n in range(count)]).take(pa.array(draw.integers(0, count, rows)))

    days = draw.integers(17_000, 17_365, rows)
    return pa.table(
        {
            "household": pa.array(draw.integers(0, 250_000, rows)),
            "basket": pa.array(draw.integers(0, 1 << 62, rows)),
            "day": pa.array(days.astype("datetime64[D]")),
            "hour": pa.array((days * 24 + draw.integers(7, 22, rows)).astype("datetime64[h]").astype("datetime64[us]")),
            "store": texts("store-{:03d}", 400),
            "product": pa.array(draw.zipf(1.3, rows) % 90_000),
            "category": texts("a category of goods, number {}", 3_000),
            "quantity": pa.array(draw.poisson(1.4, rows)),
            "price": pa.array(np.round(draw.lognormal(1, 1, rows), 2)),
            "has_meat": pa.array(draw.integers(0, 3, rows) == 0),
        }
    )
