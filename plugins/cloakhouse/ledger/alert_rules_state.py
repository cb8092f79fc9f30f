"""Rules over the state of an installation: budgets, keys, encryption, the log's own health, receivers. All pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from cloakhouse.ledger.alert_rules import (
    CRITICAL,
    DEFAULTS,
    HIGH,
    LOW,
    MEDIUM,
    Alert,
    Thresholds,
    chosen,
    start_of_day,
    subject_of,
)

BUDGET, ROTATION, COVERAGE = "privacy-budget-nearly-gone", "rotation-overdue", "coverage-under-100"
VERIFICATION, CHECKPOINT, CLOCK = "verification-failed", "checkpoint-stale", "clock-went-backwards"
UNVERIFIED, FORWARDING, NOT_CHECKED = "verification-stale", "forwarding-behind", "not-checked"
_LOG = "audit log"


@dataclass(frozen=True)
class BudgetState:
    """A privacy budget: its account, spent share (0 to 1, of rho), and the begin of what was spent of it (UTC)."""

    account: str
    share: float
    since: dt.datetime


@dataclass(frozen=True)
class LogState:
    """How the log is: sizes, and times (UTC) of what keeps it honest; None for what never was.

    Attributes:
        size: entries there are.
        begin: time of the first one.
        signed_size, signed_at: of the newest checkpoint.
        verified_at: of the newest verification that found nothing.
        failed: (number, time) of the newest one that found something or broke off, if none passed since.
        backwards: (number, time, seconds) of entries that are older than the one before.
    """

    size: int
    begin: dt.datetime | None = None
    signed_size: int = 0
    signed_at: dt.datetime | None = None
    verified_at: dt.datetime | None = None
    failed: tuple[int, dt.datetime] | None = None
    backwards: tuple[tuple[int, dt.datetime, float], ...] = ()


@dataclass(frozen=True)
class ReceiverState:
    """A receiver of the log: its backlog, trouble (code), and the time of the oldest entry that waits for it."""

    name: str
    backlog: int
    trouble: str
    oldest: dt.datetime | None


def budgets(states: Iterable[BudgetState], thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return an alert for each budget of which too much is spent."""
    told = f"less than {thresholds.budget:.0%} of the budget spent"
    return [
        Alert(
            BUDGET,
            subject_of(state.account),
            state.since,
            HIGH if state.share >= 1 else MEDIUM,
            f"{_percent(state.share)} of the budget of {state.account} is spent or reserved (share of rho)",
            told,
        )
        for state in states
        if state.share >= thresholds.budget
    ]


def rotations(
    due: Iterable[tuple[str, dt.datetime]], now: dt.datetime, thresholds: Thresholds = DEFAULTS
) -> list[Alert]:
    """Return an alert for each master key (name, when its rotation is due) that is overdue."""
    grace = dt.timedelta(days=thresholds.rotation_grace_days)
    return [
        Alert(
            ROTATION,
            subject_of(name),
            at,
            MEDIUM,
            f"the rotation of {name} was due on {at:%Y-%m-%d}, {(now - at).days} days ago",
            f"rotated within {thresholds.rotation_grace_days} days of the day it is due",
        )
        for name, at in due
        if now - at > grace
    ]


def coverage(share: float, findings: int, now: dt.datetime) -> list[Alert]:
    """Return an alert when not every byte of the lake is encrypted as agreed: one a day."""
    if share >= 1 and not findings:
        return []
    why = f"{_percent(share)} of the bytes are encrypted; {findings:,} files are not as agreed"
    return [Alert(COVERAGE, "lake", start_of_day(now), CRITICAL, why, "100.00 %, and no such file")]


def log_health(log: LogState, now: dt.datetime, thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return alerts of the log itself: verification failed or long ago, checkpoint old, times running backwards."""
    stale = dt.timedelta(hours=thresholds.stale_hours)
    found = [_backwards(*one, thresholds) for one in log.backwards if one[2] > thresholds.clock_s]
    if log.failed is not None:
        number, at = log.failed
        why = f"verification failed at {at:%Y-%m-%d %H:%M} UTC (entry {number}), and none has passed since"
        found.append(Alert(VERIFICATION, _LOG, at, CRITICAL, why, "every verification passes", (number,)))
    if log.begin is None:
        return found
    normal = f"within {thresholds.stale_hours} hours"
    checks = (
        (CHECKPOINT, "checkpoint", "a checkpoint " + normal + " while entries are added", log.signed_at, HIGH),
        (UNVERIFIED, "passed verification", "verified " + normal, log.verified_at, MEDIUM),
    )
    for rule, what, told, done, severity in checks:
        since = done or log.begin
        if now - since > stale and not (rule == CHECKPOINT and log.signed_size >= log.size):
            age = f"{(now - since).total_seconds() / 3600:,.0f} hours"
            why = f"the newest {what} is {age} old" if done else f"no {what} yet, {age} after the first entry"
            found.append(Alert(rule, _LOG, since, severity, why, told))
    return found


def receivers(states: Iterable[ReceiverState], now: dt.datetime, thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return an alert for each receiver that is far behind: one for each day from which entries wait."""
    found = []
    limit = dt.timedelta(hours=thresholds.behind_hours)
    for state in states:
        late = state.oldest is not None and now - state.oldest > limit
        if state.oldest is None or (state.backlog < thresholds.behind_entries and not late):
            continue
        trouble = f"; trouble: {state.trouble}" if state.trouble else ""
        why = f"{state.backlog:,} entries wait for {state.name}, the oldest from {state.oldest:%Y-%m-%d %H:%M} UTC"
        told = f"fewer than {thresholds.behind_entries:,} waiting, none for more than {thresholds.behind_hours} h"
        severity = HIGH if state.trouble else MEDIUM
        since = start_of_day(state.oldest)
        found.append(Alert(FORWARDING, subject_of(state.name), since, severity, why + trouble, told))
    return found


def not_checked(what: str, code: str, now: dt.datetime) -> Alert:
    """Return the alert that something could not be looked at, with the code of the error: one a day."""
    why = f"{what} could not be looked at ({code})"
    return Alert(NOT_CHECKED, subject_of(what), start_of_day(now), LOW, why, "every check can be made")


def _backwards(number: int, at: dt.datetime, seconds: float, thresholds: Thresholds) -> Alert:
    why = f"entry {number} of {at:%Y-%m-%d %H:%M:%S} UTC is {seconds:,.0f} s older than the one before it"
    told = f"times that don't go back by more than {thresholds.clock_s} s"
    return Alert(CLOCK, _LOG, at, MEDIUM, why, told, chosen((number - 1, number)))


def _percent(share: float) -> str:
    return f"{int(share * 10_000) / 100:.2f} %"
