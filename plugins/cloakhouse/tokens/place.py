"""Where a batch of rows stands, for treatments that draw by row and for keys of a period."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Dataset, partition (the ISO date that it starts on), number of the split in it, number of the batch in that."""

    dataset: str
    partition: str
    split: int = 0
    block: int = 0

    def __bytes__(self) -> bytes:
        return f"{self.dataset}/{self.partition}/{self.split}/{self.block}".encode()

    def period(self, kind: str | None) -> str:
        """Return the period that the partition starts in; see `period_of`."""
        return period_of(dt.date.fromisoformat(self.partition), kind) if kind else ""


def period_of(day: dt.date, kind: str) -> str:
    """Return the `month`, `quarter` or `year` of a day: `2026-11`, `2026Q4`, `2026`. ValueError for another kind."""
    if kind == "month":
        return f"{day.year:04d}-{day.month:02d}"
    if kind == "quarter":
        return f"{day.year:04d}Q{(day.month + 2) // 3}"
    if kind == "year":
        return f"{day.year:04d}"
    raise ValueError(f"no period of kind {kind}")
