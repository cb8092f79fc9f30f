"""A progress bar for people on standard error; programs never see one."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_S = 0.7  # what ends sooner shows no bar


class Meter:
    """Counts rows that were read, and shows them where it was entered, until the block ends.

    `progress`: True shows the bar at once, False never, None after a moment if standard error is a terminal.
    """

    def __init__(self, title: str, total: int, progress: bool | None) -> None:
        self._title = title
        self._total = total
        self._wanted = sys.stderr.isatty() if progress is None else progress
        self._after = time.monotonic() + (0 if progress else PATIENCE_S)
        self._done = 0
        self._bar: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_fault: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, rows: int) -> None:
        """Count `rows` more."""
        self._done += rows
        if not self._wanted:
            return
        if self._bar is None and time.monotonic() >= self._after:
            self._show()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=sys.stderr.isatty())
        self._task = self._bar.add_task(self._title, total=self._total)
        self._bar.start()
