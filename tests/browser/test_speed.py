"""What pages cost does not grow with the log: the steps of SQLite's machine, counted, never a time.

`make bench BENCH="--only console"` measures the times, with a million events.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.console import asked
from tests.support.console_scale import large, pages

pytestmark = pytest.mark.browser

FEW, MANY = 10_000, 160_000
GRAIN = 100  # steps
A_PAGE = 250_000  # steps: of a page that looks at all the entries it may (SCANNED); reading all takes 640,000


@contextmanager
def counted() -> Iterator[list[int]]:
    """Yield a list whose only number counts the steps that SQLite takes in connections opened meanwhile (hundreds)."""
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    def watch(connection: object, _record: object) -> None:
        if hasattr(connection, "set_progress_handler"):
            connection.set_progress_handler(step, GRAIN)

    sa.event.listen(sa.Engine, "connect", watch)
    try:
        yield steps
    finally:
        sa.event.remove(sa.Engine, "connect", watch)


def costs(home: Path, events: int) -> list[int]:
    """Return the steps that each page takes when it is asked again."""
    settings = large(home, events)
    found = []
    with counted() as steps:
        console = asked(settings)
        for path in pages(events):
            assert console.get(path).status_code == 200, path
            before = steps[0]
            console.get(path)
            found.append((steps[0] - before) * GRAIN)
    return found


def test_sixteen_times_the_events_cost_a_page_little_more(tmp_path: Path) -> None:
    few, many = costs(tmp_path / "few", FEW), costs(tmp_path / "many", MANY)
    assert max(few) > GRAIN  # something is counted
    grown = {
        path: (less, more) for path, less, more in zip(pages(MANY), few, many, strict=True) if more > 3 * less + A_PAGE
    }
    assert grown == {}
