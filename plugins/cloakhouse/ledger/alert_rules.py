"""Alerts: what a rule found, why it fired and what is normal, and the thresholds of all rules. Pure.

A rule is a function from facts to alerts: it reads no clock, no database and no file, so that a simulated month judges
it as a real one would. An alert names principals, actions, keys and numbers, never a value of the data.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

LOW, MEDIUM, HIGH, CRITICAL = "low", "medium", "high", "critical"
SEVERITIES = (LOW, MEDIUM, HIGH, CRITICAL)
LONGEST_SUBJECT = 200
MOST_ENTRIES = 20
_SIGMA = 1.4826  # of a normal distribution in units of its median absolute deviation


@dataclass(frozen=True)
class Alert:
    """Something that a person should look at.

    Attributes:
        rule: which rule fired.
        subject: who or what it is about.
        since: the begin of what it is about (UTC): rule, subject and since make an alert the same one.
        severity: `low`, `medium`, `high` or `critical`.
        why: what was found, with its numbers.
        normal: what would have been normal, with its numbers.
        entries: numbers of entries of the log to look at, at most 20: the first ones and the last one.
    """

    rule: str
    subject: str
    since: dt.datetime
    severity: str
    why: str
    normal: str
    entries: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES or self.since.tzinfo is None or len(self.entries) > MOST_ENTRIES:
            raise ValueError("an alert has a severity, a time with its zone, and at most 20 entries")
        if not self.subject or len(self.subject) > LONGEST_SUBJECT or not self.subject.isprintable():
            raise ValueError(f"the subject of an alert is a printable text of at most {LONGEST_SUBJECT} characters")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {**asdict(self), "since": self.since.isoformat(), "entries": list(self.entries)}


@dataclass(frozen=True)
class Thresholds:
    """When rules fire. The defaults are those that docs/alerts.md has measured.

    Attributes:
        baseline_days: days before the one that is judged, of which the normal is made.
        active_days: of them, the fewest on which somebody was active for the rule to say what is normal.
        factor, deviations, above: a volume is unusual above all of: this many medians, the median and this many robust
            standard deviations, and this many times the second largest of the baseline.
        least_events, least_values: no volume a day below them is unusual.
        least_burst, burst: values an hour: none below the first is a burst; one above the second is where there is no
            baseline.
        odd_events: the fewest events at an hour that somebody never worked at.
        refusals: refused in a row, nothing allowed in between.
        unused_days: days after which a grant's use is like a first one.
        known_days: the fewest days that the log must go back for that.
        budget: spent share of a privacy budget.
        rotation_grace_days: days after which a key that is due is overdue.
        stale_hours: age of the newest checkpoint, and of the newest verification.
        behind_entries, behind_hours: backlog of a receiver.
        clock_s: seconds by which an entry may be older than the one before.
    """

    baseline_days: int = 28
    active_days: int = 7
    factor: float = 3.0
    deviations: float = 6.0
    above: float = 1.25
    least_events: int = 20
    least_values: int = 200
    least_burst: int = 100
    burst: int = 200
    odd_events: int = 1
    refusals: int = 5
    unused_days: int = 90
    known_days: int = 14
    budget: float = 0.9
    rotation_grace_days: int = 7
    stale_hours: int = 36
    behind_entries: int = 10_000
    behind_hours: int = 1
    clock_s: int = 60


DEFAULTS = Thresholds()


@dataclass(frozen=True)
class Normal:
    """What is usual of some amount, told from a baseline: its median and robust deviation, and what is above it."""

    median: float
    deviation: float
    count: int
    limit: float

    def told(self, unit: str) -> str:
        """Return it in words."""
        spread = f"median {self.median:,.0f}, robust deviation {self.deviation:,.1f}"
        return f"{spread} over {self.count} {unit}; unusual is more than {self.limit:,.0f}"


def normal(amounts: Sequence[int], least: float, thresholds: Thresholds) -> Normal:
    """Return what is normal after `amounts` (one at least): median and median absolute deviation, which a few odd days
    among them don't move. Source: Iglewicz & Hoaglin 1993, section 3."""
    middle = float(statistics.median(amounts))
    deviation = _SIGMA * float(statistics.median(abs(amount - middle) for amount in amounts))
    second = sorted(amounts)[-2:][0]
    limit = max(
        least,
        thresholds.factor * middle,
        middle + thresholds.deviations * max(deviation, middle**0.5),  # counts vary by their root at least
        thresholds.above * second,
    )
    return Normal(middle, deviation, len(amounts), limit)


def subject_of(*parts: str) -> str:
    """Return the subject made of `parts`; one that is too long is cut, with a digest of the whole."""
    whole = ": ".join(part for part in parts if part) or "-"
    if len(whole) <= LONGEST_SUBJECT:
        return whole
    return f"{whole[: LONGEST_SUBJECT - 18]}~{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def chosen(numbers: Sequence[int]) -> tuple[int, ...]:
    """Return at most 20 of the entries' `numbers`, in order: the first ones, and the last."""
    found = sorted(set(numbers))
    return tuple(found if len(found) <= MOST_ENTRIES else [*found[: MOST_ENTRIES - 1], found[-1]])


def start_of_day(at: dt.datetime) -> dt.datetime:
    """Return the midnight (UTC) before `at`."""
    return at.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
