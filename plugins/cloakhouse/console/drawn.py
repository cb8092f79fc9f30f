"""What takes seconds of a processor to make: two at a time, and a PDF in a process of its own, so that the other pages
answer meanwhile.

`python -m cloakhouse.console.drawn` draws one: a report's payload (JSON) comes in, its PDF goes out.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator

from cloakhouse.errors import StageError
from cloakhouse.stages.reporting import Report

AT_ONCE = 2
WAIT_S = 2.0  # for one of the two
DRAWN_WITHIN_S = 120.0
_places = threading.BoundedSemaphore(AT_ONCE)


@contextlib.contextmanager
def place() -> Iterator[None]:
    """Hold one of the places for heavy work. Raises StageError (`stage.busy`) when none gets free in two seconds."""
    if not _places.acquire(timeout=WAIT_S):
        raise StageError(
            where="this download",
            expected=f"at most {AT_ONCE} reports and bundles being made",
            found="as many already",
            not_done="nothing was made",
            remedy="ask again in a moment",
            code="busy",
        )
    try:
        yield
    finally:
        _places.release()


def pdf(report: Report) -> bytes:
    """Return the report as PDF, drawn by another process. Raises StageError (`stage.pdf`) when it fails or takes longer
    than two minutes."""
    command = [sys.executable, "-m", "cloakhouse.console.drawn"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            command, input=report.to_bytes(), capture_output=True, timeout=DRAWN_WITHIN_S, check=False
        )
        if done.returncode == 0 and done.stdout.startswith(b"%PDF-"):
            return done.stdout
    raise StageError(
        where="the report as PDF",
        expected=f"a document within {DRAWN_WITHIN_S:g} s",
        found="none",
        not_done="nothing was given out",
        remedy="take the report as HTML, and print it; `cloakhouse report --format pdf` tells what is wrong",
        code="pdf",
    )


def main() -> None:
    """Draw the report that comes in."""
    from cloakhouse.report.pdf import report_pdf

    sys.stdout.buffer.write(report_pdf(Report(json.load(sys.stdin.buffer))))


if __name__ == "__main__":
    main()
