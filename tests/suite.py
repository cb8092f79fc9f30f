"""Run a suite of tests; whatever fails beside others is run once more by itself, and named, whichever way that goes.

Tests here start Airflow, Spark, databases, stores, key services and browsers on machines that are shared, where a
process can be late for reasons of its neighbours. A fault of the platform fails alone as well; a neighbour's doesn't.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

SOME_FAILED = 1  # pytest's exit code
MOST_FILES = 5  # more than these are no neighbour's doing
LAST_FAILED = Path(".pytest_cache") / "v" / "cache" / "lastfailed"
AGAIN = ("-p", "no:cacheprovider", "--no-cov")

Run = Callable[[Sequence[str]], int]
COVERAGE = ("-m", "coverage", "report", "--format=total")


def pytest_of(arguments: Sequence[str]) -> int:
    """Run pytest on this Python; return its exit code."""
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


def failed_tests(root: Path) -> tuple[str, ...]:
    """Return the names of the tests (or files that couldn't be read) that failed in the last run under `root`."""
    listed = root / LAST_FAILED
    return tuple(sorted(json.loads(listed.read_text()))) if listed.exists() else ()


def alone(arguments: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return the arguments that run `files` by themselves: the same marker and settings, one process, no coverage."""
    kept = [pair for pair in itertools.pairwise(arguments) if pair[0] in ("-m", "-o")]
    return [*AGAIN, *itertools.chain.from_iterable(kept), *files]


def run_suite(arguments: Sequence[str], root: Path, run: Run = pytest_of) -> int:
    """Run the suite that `arguments` of pytest choose; return 0 when each test passed, at last by itself.

    The files of the tests that failed are run once more, alone and whole, since tests of one file may build on one
    another. Not when more than five files failed, nor when the run itself broke (exit codes above 1).
    """
    code = run(["--cache-clear", *arguments])
    failed = failed_tests(root)
    files = sorted({name.split("::")[0] for name in failed})
    if code != SOME_FAILED or not files or len(files) > MOST_FILES:
        return code
    print(f"\nfailed beside others: {', '.join(failed)}\neach file of these is run once more, by itself", flush=True)
    codes = {file: run(alone(arguments, [file])) for file in files}
    again = [file for file, second in codes.items() if second]
    print(f"\nfailed beside others, passed alone: {', '.join(f for f in files if f not in again) or 'none'}")
    print(f"failed twice: {', '.join(again) or 'none'}", flush=True)
    return SOME_FAILED if again or not covered(arguments) else 0


def covered(arguments: Sequence[str]) -> bool:
    """Return whether the coverage that the whole run measured reaches its floor, where it was asked for."""
    return "--cov" not in arguments or not subprocess.run([sys.executable, *COVERAGE], check=False).returncode


if __name__ == "__main__":
    sys.exit(run_suite(sys.argv[1:], Path.cwd()))
