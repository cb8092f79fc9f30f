"""How fast the console is with 1,000 datasets and a million events; the target is 200 ms at the 95th percentile."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.console import asked
from tests.support.console_scale import DATASETS, large, pages

EVENTS, ROUNDS = 1_000_000, 20


def measure(folder: Path) -> str:
    """Return a table of the pages: median and 95th percentile of 20 rounds each, asked one by one in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    console = asked(large(folder / "home", EVENTS))
    lines = [
        f"## The console with {DATASETS:,} datasets and {EVENTS:,} events",
        "",
        "| page | median, ms | 95th percentile, ms |",
        "| --- | --- | --- |",
    ]
    for path in pages(EVENTS):
        if console.get(path).status_code != 200:
            raise AssertionError(path)
        times = sorted(_asked_once(console, path) for _ in range(ROUNDS))
        lines.append(f"| `{path}` | {times[ROUNDS // 2]:.1f} | {times[int(ROUNDS * 0.95) - 1]:.1f} |")
    return "\n".join([*lines, ""])


def _asked_once(console: object, path: str) -> float:
    began = time.perf_counter()
    console.get(path)  # type: ignore[attr-defined]
    return 1000 * (time.perf_counter() - began)
