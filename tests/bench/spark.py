"""Three tokens in a Spark job, Parquet to Parquet: by column inside the workers, against Spark's own ways.

Every way runs in one session, one after the other and again. CPU is that of the JVM and of all its Python workers;
what a process spends is seen by the operating system, and the workers stay alive for the next round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROWS = 10_000_000
LARGE = 100_000_000
FILE_ROWS = 1_000_000
ROUNDS = 3


def measure(folder: Path, *, large: bool = False) -> str:
    """Return the table of million rows per CPU second; with `large`, also of ten times the rows."""
    folder.mkdir(parents=True)
    lines = [
        "| Parquet to Parquet, three tokens, 2 cores | rows | million rows per CPU second | against copying "
        "| peak of a Python worker | target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    found = _measured(folder, ROWS, ROUNDS, ["copy", "hmac", "platform"])
    copy = found["copy"]["rate"]
    names = {"copy": "Spark's plain copy", "hmac": "Spark's own hmac()", "platform": "by column, as the platform does"}
    for way, name in names.items():
        rate, ratio = found[way]["rate"], found[way]["rate"] / copy
        target = f"{rate / found['hmac']['rate']:.1f}x hmac() (4x or more), 1.5x copying" if way == "platform" else ""
        peak = f"{found[way]['worker'] / 2**20:.0f} MiB" if way == "platform" else ""
        lines.append(f"| {name} | {ROWS:,} | {rate:.2f} | {ratio:.2f} | {peak} | {target} |")
    if large:
        more = _measured(folder, LARGE, 1, ["platform"])["platform"]
        ratio, peak = more["rate"] / copy, more["worker"] / 2**20
        lines.append(
            f"| by column, as the platform does | {LARGE:,} | {more['rate']:.2f} | {ratio:.2f} | {peak:.0f} MiB | |"
        )
    return "\n".join([*lines, ""])


def _measured(folder: Path, rows: int, rounds: int, ways: list[str]) -> dict[str, dict[str, float]]:
    """Return what each way did best, measured in a process of its own."""
    answer = folder / "answer.json"
    arguments = [str(folder), str(rows), str(FILE_ROWS), str(rounds), ",".join(ways), str(answer)]
    program = [sys.executable, "-m", "tests.bench.spark_session", *arguments]
    subprocess.run(
        program,
        check=True,
        timeout=3600,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
    )
    found: dict[str, dict[str, float]] = json.loads(answer.read_text())
    return found
