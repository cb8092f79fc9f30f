"""Following the event file of a run and printing a line per stage as it ends."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

POLL_S = 0.1


class EventWatcher:
    """Reads events while the block runs, prints them, and keeps those that end a stage in `events`."""

    def __init__(self, file: Path, console: Console) -> None:
        self.events: list[dict[str, Any]] = []
        self._file = file
        self._console = console
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="events", daemon=True)
        self._shown: set[tuple[str, str, int]] = set()

    def __enter__(self) -> EventWatcher:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _follow(self) -> None:
        with self._file.open(encoding="utf-8") as stream:
            while True:
                last = self._stop.is_set()
                for line in stream:
                    self._show(json.loads(line))
                if last:
                    return
                self._stop.wait(POLL_S)

    def _show(self, event: dict[str, Any]) -> None:
        head = f"{event['stage']:<13} {event['dataset']:<22}"
        if event["kind"] == "finish":
            self.events.append(event)
            self._console.print(f"[bold]{head}[/] {event['summary']}  [dim]{event['seconds']:.1f} s[/]")
        elif event["kind"] == "trouble":
            self.events.append(event)
            self._console.print(f"[bold red]{head}[/]")
            self._console.print(event["message"], style="red", markup=False)
        else:
            self._step(head, event)

    def _step(self, head: str, event: dict[str, Any]) -> None:
        """Print progress at the quarters of long work only, so that the screen stays readable."""
        total = max(int(event["total"]), 1)
        quarter = 4 * int(event["done"]) // total
        mark = (event["stage"], event["dataset"], quarter)
        if quarter in (1, 2, 3) and total >= 8 and mark not in self._shown:
            self._shown.add(mark)
            self._console.print(f"[dim]{head} {event['done']:,} of {event['total']:,} {event['unit']}[/]")
