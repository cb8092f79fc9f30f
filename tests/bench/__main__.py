"""`make bench`: the measures of the path, printed as Markdown with the machine they were taken on.

1. the full year with one command: wall, CPU of all processes, peak memory of all processes together;
2. landing against copying the same file, against tink and aws-encryption-sdk, CPU side by side, interleaved;
3. tokens by column against the best that goes row by row, and against the limit of AES;
4. three tokens in a Spark job, Parquet to Parquet, against Spark's own ways;
5. encrypted Parquet against plaintext Parquet, and calls to the key service per 1,000 files;
6. memory of landing and of pseudonymizing one delivery as the delivery grows 16 times;
7. synthesis: dp-marginals beside SDV's GaussianCopula, speed on a million lines, fidelity on baskets and households;
8. sampling a sealed model through Spark, as the release grows;
9. attacks: planted leaks and false alarms on honest engines, and what the attacks cost;
10. the governed lake: reading beside plaintext Parquet, publishing 10,000 files, listing, collecting, connecting;
11. the audit log: appending from 8 processes, verifying a million entries;
12. pages of the console with a thousand datasets and a million events;
13. consent: pseudonymizing a week with and without asking whose rows may be used;
14. the closing search of an erasure: raw bytes, CSV and Parquet columns, decoding told apart;
15. every stage on a cluster as the feed grows 10 times, on one and two executors.

Nothing here passes or fails: machines differ. `--only NAME` takes some of them, `--weeks A-B` narrows the first, and
`--large` adds a Spark job over 100 million rows, 50 million sampled rows, the collection of 100,000 files, and a feed
of 60 million lines.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import (
    attacks,
    audit_log,
    consent,
    console,
    erasure,
    growth,
    lake,
    landing,
    machine,
    parquet,
    path,
    sampling,
    scale,
    spark,
    sweep,
    synthesis,
    tokens,
)

NAMES = (
    "path",
    "landing",
    "tokens",
    "spark",
    "parquet",
    "growth",
    "synthesis",
    "sampling",
    "attacks",
    "lake",
    "audit_log",
    "console",
    "erasure",
    "consent",
    "sweep",
    "scale",
)


def main() -> None:
    """Run the measures that were asked for and print them."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--weeks", default=None, help="weeks of the sample feed, e.g. 1-4; default the full year")
    parser.add_argument("--only", action="append", choices=NAMES, help="measure this; may be given several times")
    parser.add_argument("--large", action="store_true", help="also a Spark job over 100 million rows (6 GB of disk)")
    options = parser.parse_args()
    print(f"{machine.describe()}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="cloakhouse-bench-", dir=os.environ.get("TMPDIR")) as folder:
        root = Path(folder)
        works: dict[str, Callable[[], str]] = {
            "path": lambda: path.measure(root / "path", options.weeks),
            "landing": lambda: landing.measure(root / "landing"),
            "tokens": tokens.measure,
            "spark": lambda: spark.measure(root / "spark", large=options.large),
            "parquet": lambda: parquet.measure(root / "parquet"),
            "growth": lambda: growth.measure(root / "growth"),
            "synthesis": synthesis.measure,
            "sampling": lambda: sampling.measure(root / "sampling", large=options.large),
            "attacks": attacks.measure,
            "lake": lambda: lake.measure(root / "lake", large=options.large),
            "audit_log": lambda: audit_log.measure(root / "audit_log"),
            "console": lambda: console.measure(root / "console"),
            "sweep": lambda: sweep.measure(root / "sweep"),
            "erasure": lambda: erasure.measure(root / "erasure"),
            "consent": lambda: consent.measure(root),
            "scale": lambda: scale.measure(root / "scale", large=options.large),
        }
        for name in options.only or NAMES:
            print(works[name](), flush=True)


if __name__ == "__main__":
    main()
