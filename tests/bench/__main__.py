"""`make bench`: the measures of the path, printed as Markdown with the machine they were taken on.

1. the full year with one command: wall, CPU of all processes, peak memory of all processes together;
2. landing against copying the same file, against tink and aws-encryption-sdk, CPU side by side, interleaved;
3. encrypted Parquet against plaintext Parquet, and calls to the key service per 1,000 files;
4. memory of landing and of pseudonymizing one delivery as the delivery grows 16 times.

Nothing here passes or fails: machines differ. `--weeks A-B` narrows the first measure, `--skip-run` leaves it out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tests.bench import growth, landing, machine, parquet, path


def main() -> None:
    """Run the measures that were asked for and print them."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--weeks", default=None, help="weeks of the sample feed, e.g. 1-4; default the full year")
    parser.add_argument("--skip-run", action="store_true", help="leave the whole path out")
    options = parser.parse_args()
    print(f"{machine.describe()}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="cloakhouse-bench-", dir=os.environ.get("TMPDIR")) as folder:
        root = Path(folder)
        if not options.skip_run:
            print(path.measure(root / "path", options.weeks), flush=True)
        print(landing.measure(root / "landing"), flush=True)
        print(parquet.measure(root / "parquet"), flush=True)
        print(growth.measure(root / "growth"), flush=True)


if __name__ == "__main__":
    main()
