"""Sampling a sealed model through Spark: rows, CPU of all processes, and the largest worker, as the release grows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from pyspark.sql import SparkSession
from tests.bench.spark_session import cpu, peak
from tests.support import house

from cloakhouse.progress import Progress
from cloakhouse.sample import write_feed
from cloakhouse.stages.fitting import fitted
from cloakhouse.stages.land import land
from cloakhouse.stages.sampling import sampled
from cloakhouse.stages.synthesize import plan, plan_of, synthesize
from cloakhouse.stages.validate import validate_protected
from cloakhouse.stages.workers import SparkWorkers

ROWS = (500_000, 2_000_000, 10_000_000)
LARGE = 50_000_000
DATASET = "baskets_private"


def measure(folder: Path, *, large: bool = False) -> str:
    """Return the table; `large` adds 50 million rows (some 2 GB of disk)."""
    lines = [
        "| rows of baskets_private, through Spark | files | CPU s a million | largest worker |",
        "| --- " * 4 + "|",
    ]
    for rows in (*ROWS, LARGE) if large else ROWS:
        answer = folder / f"{rows}.json"
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "tests.bench.sampling", str(rows), str(answer)],
            env={**os.environ, "PYSPARK_PYTHON": sys.executable},
            check=True,
        )
        found = json.loads(answer.read_text())
        rate = found["cpu"] / rows * 1e6
        lines.append(f"| {rows:,} | {found['files']} | {rate:.2f} | {found['worker'] / 2**20:.0f} MiB |")
    return "\n".join([*lines, ""])


def main(rows: int, answer: Path) -> None:
    """Fit and seal a model on two weeks of the sample, sample it through Spark, and write what that took."""
    place = house.validated()
    write_feed(place.settings.inbox, weeks=range(1, 2), wanted=lambda name: name.startswith("products"))
    land(place.settings, place.contracts["products"])
    place.protect("products")
    validate_protected(place.settings, place.contracts["products"])
    contract = place.contracts[DATASET]
    made = synthesize(place.settings, contract)
    assert made is not None
    request = plan(place.settings, contract)
    assert request is not None
    fingerprint = json.loads((place.settings.lake / request.path).read_text())["fingerprint"]
    progress = Progress.of("synthesize", DATASET)
    model = fitted(place.settings, contract, plan_of(contract), fingerprint, None, progress)  # type: ignore[arg-type]
    assert contract.synthesis is not None
    larger = replace(contract, synthesis=replace(contract.synthesis, rows=rows))
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "1000")
        .getOrCreate()
    )
    before = cpu()
    done = sampled(place.settings, larger, plan_of(contract), model, "bench/rows", SparkWorkers(spark), progress)
    found = {"cpu": cpu() - before, "worker": peak(), "files": len(done.files), "rows": done.rows}
    spark.stop()
    assert done.rows == rows
    shutil.rmtree(place.settings.lake / "bench")
    answer.write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
