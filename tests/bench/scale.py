"""The path's stages as the feed grows: 1, 10 and 40 times the sample's people, on one and two executors.

Each stage is a process of its own; Spark jobs run on a standalone cluster with executors of one core and 512 MiB. CPU
seconds are those of the process, its children and the cluster's processes, sampled, so a lower bound; peaks are of one
process (resident set). Spill is what stood in the folders of Spark's block managers at most, shuffle and broadcasts
included. What else the machine does changes wall much and CPU seconds little.

`python -m tests.bench.scale --times 1 --times 10 --plot docs/scale.svg` measures by itself; `make bench
BENCH="--only scale"` takes 1 and 10 times, with `--large` also 40 times (60 million lines, some 15 GB of disk).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.bench.scale_constants import Constants, constants_table
from tests.bench.scale_plot import plot
from tests.bench.scale_results import Cost, Costs, Results
from tests.support.cluster import Cluster, cluster

from cloakhouse.sample import Growth, write_scaled_feed

EVERY_S = 0.2
PRICE_PER_HOUR = 0.192  # US dollars for an instance with 4 virtual CPUs and 16 GiB, listed on demand: a parameter
VIRTUAL_CPUS = 4
ONCE = (  # what doesn't depend on the number of executors; the second is the dataset
    ("land", "transactions"),
    ("land", "customers"),
    ("land", "products"),
    ("register", ""),
    ("pseudonymize", "customers"),
    ("pseudonymize", "products"),
    ("validate", "customers"),
    ("validate", "products"),
)
AFTER = (("validate", "transactions"), ("aggregate", ""), ("synthesize", ""), ("gate", ""), ("publish", ""))
SHOWN = {
    ("land", "transactions"): "land",
    ("register", ""): "consent register",
    ("pseudonymize", "transactions"): "pseudonymize, Spark",
    ("validate", "transactions"): "validate",
    ("aggregate", ""): "aggregate with noise",
    ("synthesize", ""): "synthesize, Spark",
    ("gate", ""): "gate with attacks",
    ("publish", ""): "publish",
}
ON_SPARK = ("pseudonymize", "synthesize")
SMALL = ("customers", "products")  # one file each: a second executor has nothing to do


@dataclass
class Follower:
    """Samples the processes below `roots` while a stage runs."""

    roots: Sequence[int]
    local: Path
    seconds: dict[tuple[int, float], float] = field(default_factory=dict)
    peak: int = 0
    spill: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> None:
        """Sample until `end` is called."""
        while not self._ended.wait(EVERY_S):
            self._look()

    def end(self) -> None:
        """Let `follow` return."""
        self._ended.set()

    def _look(self) -> None:
        for root in self.roots:
            try:
                family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            for member in family:
                try:
                    times, memory = member.cpu_times(), member.memory_info().rss
                except psutil.Error:
                    continue
                self.seconds[member.pid, member.create_time()] = times.user + times.system
                self.peak = max(self.peak, memory)
        self.spill = max(self.spill, _size(self.local))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("worker-*/local/**/blockmgr-*/**/*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


def measure(folder: Path, *, large: bool = False) -> str:
    """Return the table at 1 and 10 times, with `large` also at 40 times."""
    results = Results()
    measured(results, folder, [1, 10, *([40] if large else [])], None)
    return report(results)


def measured(results: Results, folder: Path, times: Sequence[int], weeks: range | None, one_store: float = 0.0) -> None:
    """Run every stage at each of `times`; add to `results` what each took, and what was there at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with cluster(folder / "cluster") as spark:
        for number in times:
            home = folder / f"times-{number}"
            summary = write_scaled_feed(home / "inbox", Growth(number, one_store), weeks=weeks)
            lines = sum(file.rows for file in summary.files if file.dataset == "transactions")
            results.add(_one_size(spark, home, lines), Constants.of(home, lines))
            shutil.rmtree(home)


def _one_size(spark: Cluster, home: Path, lines: int) -> Costs:
    found: Costs = {}
    for stage, dataset in (*ONCE, ("pseudonymize", "transactions"), *AFTER):
        here = stage in ON_SPARK and dataset not in SMALL
        if here:
            found[lines, 1, f"{stage} {dataset}"] = _on_one(spark, home, stage, dataset)
        found[lines, 2 if here else 0, f"{stage} {dataset}"] = _stage(spark, home, stage, dataset, spark.properties)
    return found


def _on_one(spark: Cluster, home: Path, stage: str, dataset: str) -> Cost:
    """Run the stage with one executor in a copy of `home`, which stays as it is."""
    other = home.with_name(f"{home.name}-one")
    shutil.copytree(home, other)
    properties = spark.properties_with(spark__cores__max="1")
    try:
        return _stage(spark, other, stage, dataset, properties)
    finally:
        shutil.rmtree(other)


def _stage(spark: Cluster, home: Path, stage: str, dataset: str, properties: Path) -> Cost:
    command = [sys.executable, "-m", "tests.bench.scale_stage", stage, dataset, spark.master, str(properties)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLOAKHOUSE_")}
    started = time.monotonic()
    process = subprocess.Popen(
        command, env={**environment, "CLOAKHOUSE_HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    daemons = [worker.pid for worker in spark.workers.values()]
    before = _spent(daemons)
    follower = Follower([process.pid, *daemons], spark.folder)
    thread = threading.Thread(target=follower.follow)
    thread.start()
    answer, _ = process.communicate()
    wall = time.monotonic() - started
    follower.end()
    thread.join()
    if process.returncode:
        raise SystemExit(f"the stage {stage} {dataset} failed with exit code {process.returncode}; run it by hand")
    made = json.loads(answer)
    if "made" in made:
        (home / "made.json").write_text(json.dumps(made["made"]))
    print(f"{home.name}: {stage} {dataset}: {wall:.1f} s", file=sys.stderr, flush=True)
    return Cost(wall, sum(follower.seconds.values()) - before, follower.peak, follower.spill)


def _spent(pids: Sequence[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def report(results: Results, price: float = PRICE_PER_HOUR) -> str:
    """Return both tables as Markdown."""
    return f"{table(results.costs, price)}\n{constants_table(list(results.counted.values()))}"


def table(found: Costs, price: float = PRICE_PER_HOUR) -> str:
    """Return the measures as Markdown, and what a billion lines would cost at `price` US dollars an hour."""
    lines = [
        "| stage | lines | executors | wall, s | lines a second | CPU s | CPU s a million lines | largest process "
        "| spill |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    total: dict[int, float] = {}
    for (size, executors, stage), cost in found.items():
        name, dataset = stage.split(" ", 1)
        if (name, dataset) in SHOWN:
            lines.append(_row(SHOWN[name, dataset], size, executors, cost))
        if executors != 1:
            total[size] = total.get(size, 0.0) + cost.cpu
    lines += ["", "| all stages | CPU s a million lines | US dollars a billion lines |", "| --- | --- | --- |"]
    for size, cpu in total.items():
        million = cpu / size * 1e6
        dollars = million * 1_000 / 3_600 / VIRTUAL_CPUS * price
        lines.append(f"| {size:,} lines | {million:.1f} | {dollars:.2f} |")
    return "\n".join([*lines, ""])


def _row(name: str, size: int, executors: int, cost: Cost) -> str:
    million = cost.cpu / size * 1e6
    peak, spill = f"{cost.peak / 2**20:.0f} MiB", f"{cost.spill / 2**20:.1f} MiB"
    where = str(executors) if executors else "none"
    took = f"{cost.wall:.1f} | {size / cost.wall:,.0f} | {cost.cpu:.1f} | {million:.2f}"
    return f"| {name} | {size:,} | {where} | {took} | {peak} | {spill} |"


def _points(results: Results, stage: str) -> list[tuple[int, float]]:
    """Return lines and CPU seconds of a stage, on two executors where it is on Spark."""
    return [
        (size, cost.cpu) for (size, executors, name), cost in results.costs.items() if name == stage and executors != 1
    ]


def main() -> None:
    """Measure what was asked for, print the tables, and draw the slope."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument(
        "--times", type=int, action="append", help="so many times the sample; may be given several times"
    )
    parser.add_argument("--weeks", type=int, default=53, help="the first so many weeks")
    parser.add_argument("--one-store", type=float, default=0.0, help="share of all lines that one store has")
    parser.add_argument("--price", type=float, default=PRICE_PER_HOUR, help="US dollars an hour of 4 virtual CPUs")
    parser.add_argument("--plot", type=Path, help="file for the slopes (SVG)")
    parser.add_argument("--results", type=Path, help="file (JSON) that keeps what was measured, and is added to")
    options = parser.parse_args()
    results = Results.of(options.results)
    with tempfile.TemporaryDirectory(prefix="cloakhouse-scale-", dir=os.environ.get("TMPDIR")) as folder:
        weeks = range(1, options.weeks + 1)
        measured(results, Path(folder), options.times or [1, 10], weeks, options.one_store)
    print(report(results, options.price))
    if options.plot:
        slopes = {name: _points(results, " ".join(key)) for key, name in SHOWN.items()}
        options.plot.write_text(plot(slopes))


if __name__ == "__main__":
    main()
