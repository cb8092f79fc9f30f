"""Progress of long work, told to whoever watches: a log line always, and an event file where one is named.

Events are JSON lines appended to the file in CLOAKHOUSE_PROGRESS (one write each, so that Airflow tasks, Spark
drivers and their children may share it). They hold stages, dataset names and counts; never a value from a feed.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "CLOAKHOUSE_PROGRESS"
log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Reports on one stage of one dataset. `file` is the event file, or None."""

    stage: str
    dataset: str
    file: Path | None = None
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, stage: str, dataset: str) -> Progress:
        """Return the reporter for `stage` of `dataset` with the event file of this process's environment."""
        name = os.environ.get(VARIABLE)
        return cls(stage, dataset, Path(name) if name else None)

    def step(self, done: int, total: int, unit: str) -> None:
        """Report that `done` of `total` units are finished."""
        self._emit("step", done=done, total=total, unit=unit)

    def finish(self, summary: str, **counts: int | float | str) -> None:
        """Report the end of the stage with a sentence for people and counts for programs."""
        self._emit("finish", summary=summary, seconds=round(time.monotonic() - self.started, 3), **counts)

    def trouble(self, message: str) -> None:
        """Report a refusal; `message` is a CloakhouseError's, which holds no value."""
        self._emit("trouble", message=message)

    def _emit(self, kind: str, **fields: object) -> None:
        event = {"kind": kind, "stage": self.stage, "dataset": self.dataset, "at": time.time(), **fields}
        told = {k: v for k, v in fields.items() if k != "message"}
        beside = {"cloakhouse_fields": {**told, "event": kind, "stage": self.stage, "dataset": self.dataset}}
        log.info("%s %s: %s", self.stage, self.dataset, told, extra=beside)  # see cloakhouse.logs
        if self.file is None:
            return
        line = (json.dumps(event) + "\n").encode()
        handle = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
