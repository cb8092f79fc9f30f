"""The process that `tests.bench.spark` measures: one Spark session, and the same work in several ways."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.linking import column_tokens

TOKENS = ("customer", "email", "card")
GROUP_ROWS = 125_000
KEY = "11" * 32  # of the native way; it stands in Spark's plan, which is one of the faults of that way


def make(folder: Path, rows: int, file_rows: int) -> list[str]:
    """Write `rows` generated receipts, `file_rows` a file, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for start in range(0, rows, file_rows):
        path = folder / f"{start:012d}.parquet"
        paths.append(str(path))
        if not path.exists():
            pq.write_table(receipts(start, min(file_rows, rows - start)), path, row_group_size=GROUP_ROWS)
    return paths


def receipts(start: int, rows: int) -> pa.Table:
    """Return generated receipts: a 12-character customer, an e-mail address, a card number, and five more columns."""
    random = np.random.default_rng(start)
    customer = random.integers(0, 2_000_000, rows)
    digits = pa.array(customer + 10**11).cast(pa.string())
    mail = pa.compute.binary_join_element_wise("customer.", digits, "@example.org", "")
    return pa.table(
        {
            "customer": digits,
            "email": mail,
            "card": pa.array(4 * 10**15 + customer).cast(pa.string()),
            "day": pa.array(random.integers(17_000, 17_365, rows), pa.int32()),
            "product": pa.array(random.integers(0, 90_000, rows)),
            "shop": pa.array(random.integers(0, 400, rows), pa.int16()),
            "quantity": pa.array(random.integers(1, 9, rows), pa.int16()),
            "price": pa.array(np.round(random.gamma(2.0, 2.0, rows), 2)),
        }
    )


def by_column(paths: list[str], target: Path) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function of the workers: from path to path, a row group at a time."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        keys = [(SecretKey(os.urandom(32)), SecretKey(os.urandom(32))) for _ in TOKENS]
        for batch in batches:
            for number in batch.column(0).to_pylist():
                done = _treat(Path(paths[number]), target / f"part-{number:05d}.parquet", keys)
                yield pa.RecordBatch.from_pydict({"rows": [done]})

    return work


def _treat(source: Path, target: Path, keys: list[tuple[SecretKey, SecretKey]]) -> int:
    file, rows = pq.ParquetFile(source), 0
    schema = file.schema_arrow
    for name in TOKENS:
        schema = schema.set(schema.get_field_index(name), pa.field(name, pa.binary(16)))
    with pq.ParquetWriter(target, schema, compression="snappy") as writer:
        for batch in file.iter_batches(GROUP_ROWS):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            for name, (domain, purpose) in zip(TOKENS, keys, strict=True):
                columns[name] = column_tokens(columns[name], domain, purpose, column=name)
            writer.write_table(pa.table(columns, schema=schema), row_group_size=GROUP_ROWS)
            rows += len(batch)
    return rows


def native(frame: DataFrame) -> DataFrame:
    """Return the frame with Spark's own hmac() in place of the three columns."""
    key = f.unhex(f.lit(KEY))
    return frame.select(
        *(
            f.hmac(f.col(n).cast("binary"), key, f.lit("SHA-256")).alias(n) if n in TOKENS else f.col(n)
            for n in frame.columns
        )
    )


def main(folder: Path, rows: int, file_rows: int, rounds: int, ways: list[str], answer: Path) -> None:
    """Run every way `rounds` times and write rates and peaks."""
    source, target = folder / "receipts", folder / "out"
    paths = make(source, rows, file_rows)
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "2g")
        .config("spark.local.dir", str(folder / "spark"))
        .getOrCreate()
    )

    def platform() -> None:
        target.mkdir()
        numbers = spark.range(0, len(paths), 1, numPartitions=len(paths))
        assert sum(r[0] for r in numbers.mapInArrow(by_column(paths, target), "rows long").collect()) == rows

    work: dict[str, Callable[[], None]] = {
        "copy": lambda: spark.read.parquet(*paths).write.parquet(str(target)),
        "hmac": lambda: native(spark.read.parquet(*paths)).write.parquet(str(target)),
        "platform": platform,
    }
    best = {way: {"cpu": float("inf"), "worker": 0.0} for way in ways}
    for number in range(rounds + (rounds > 1)):  # the first of several warms up
        for way in ways:
            shutil.rmtree(target, ignore_errors=True)
            before = cpu()
            work[way]()
            spent = cpu() - before
            if number or rounds == 1:
                best[way]["cpu"] = min(best[way]["cpu"], spent)
            best[way]["worker"] = max(best[way]["worker"], peak())
    spark.stop()
    shutil.rmtree(target, ignore_errors=True)
    answer.write_text(json.dumps({w: {"rate": rows / 1e6 / b["cpu"], "worker": b["worker"]} for w, b in best.items()}))


def _tree() -> list[psutil.Process]:
    return [psutil.Process(), *psutil.Process().children(recursive=True)]


def cpu() -> float:
    """Return the CPU seconds of this process, of all below it, and of those they have waited for."""
    times = [process.cpu_times() for process in _tree()]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def peak() -> float:
    """Return the largest resident set that a living Python worker has had (bytes), 0 if there is none."""
    peaks = []
    for process in psutil.Process().children(recursive=True):
        if "pyspark.daemon" in " ".join(process.cmdline()):
            status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
            peaks.append(int(status["VmHWM"].split()[0]) * 1024.0)
    return max(peaks, default=0.0)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]), int(given[1]), int(given[2]), int(given[3]), given[4].split(","), Path(given[5]))
