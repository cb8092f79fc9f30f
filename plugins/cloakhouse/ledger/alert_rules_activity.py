"""Rules over what principals do: unusual volumes and hours, bursts, refusals in a row, grants used after a long time.

Judged are the days in `judged`, each against the 28 before it, working days against working days and weekends against
weekends: what is usual is each actor's own. All pure.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloakhouse.ledger.alert_rules import (
    DEFAULTS,
    HIGH,
    LOW,
    MEDIUM,
    Alert,
    Normal,
    Thresholds,
    chosen,
    normal,
    start_of_day,
    subject_of,
)
from cloakhouse.ledger.audit_event import Action

PLATFORM = "platform"
VOLUME, HOUR, BURST, REFUSALS, FIRST_USE = (
    "unusual-volume",
    "unusual-hour",
    "detokenization-burst",
    "refusals-in-a-row",
    "first-use-of-grant",
)
WATCHED = (
    *(Action.READ, Action.QUERY, Action.DETOKENIZE, Action.LINK, Action.USE_KEY, Action.EXPORT_TOKENIZATION),
    *(Action.EXPORT_LOG, Action.DELETE, Action.GRANT, Action.REVOKE, Action.ENROL, Action.SHRED_KEY),
)
BURSTS = (Action.DETOKENIZE, Action.LINK)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Tally:
    """What one actor did of one action within one hour: events, values (their counts), first and last number."""

    actor: str
    action: str
    hour: dt.datetime
    events: int
    values: int
    first: int
    last: int


@dataclass(frozen=True)
class Refused:
    """Refusals of one actor with nothing allowed in between: how many, when they began, first and last number."""

    actor: str
    count: int
    since: dt.datetime
    first: int
    last: int


@dataclass(frozen=True)
class Use:
    """The first use of a grant within the days judged; `before` is the last one before them, None for none known."""

    actor: str
    key: str
    purpose: str
    at: dt.datetime
    number: int | None
    before: dt.datetime | None


def volumes(tallies: Sequence[Tally], judged: Sequence[dt.datetime], thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return an alert for each actor, action and day with far more events, or values, than on days before."""
    found = []
    for (actor, action), mine in _grouped(tallies).items():
        for day in judged:
            days = _by_day(mine, day - thresholds.baseline_days * _DAY, day + _DAY)
            today = days.pop(day, None)
            before = _alike(days, day, thresholds.active_days)
            if today is None or before is None:
                continue
            for what, least in (("events", thresholds.least_events), ("values", thresholds.least_values)):
                amount = sum(getattr(t, what) for t in today)
                usual = normal([sum(getattr(t, what) for t in one) for one in before], least, thresholds)
                if amount > usual.limit:
                    found.append(_volume(actor, action, day, today, amount, what, usual))
                    break
    return found


def hours(tallies: Sequence[Tally], judged: Sequence[dt.datetime], thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return an alert for each actor and day with something done at an hour at which, an hour before and an hour
    after it the actor did nothing on any such day (working days, or weekends) of the baseline."""
    found = []
    by_actor: dict[str, list[Tally]] = defaultdict(list)
    for tally in tallies:
        by_actor[tally.actor].append(tally)
    for actor, mine in sorted(by_actor.items()):
        for day in judged:
            days = _by_day(mine, day - thresholds.baseline_days * _DAY, day + _DAY)
            today = days.pop(day, None)
            if today is None or len(days) < thresholds.active_days:
                continue
            seen = _hours_alike(days, day)
            odd = [t for t in today if not {(t.hour.hour + by) % 24 for by in (-1, 0, 1)} & seen]
            if sum(t.events for t in odd) >= max(1, thresholds.odd_events):
                found.append(_hour(actor, day, odd, seen, len(days)))
    return found


def bursts(tallies: Sequence[Tally], judged: Sequence[dt.datetime], thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return an alert for each actor and hour with far more values detokenized or linked than in hours before."""
    found = []
    for (actor, action), mine in _grouped(t for t in tallies if t.action in BURSTS).items():
        for day in judged:
            days = _by_day(mine, day - thresholds.baseline_days * _DAY, day + _DAY)
            today = days.pop(day, [])
            before = [t.values for ones in days.values() for t in ones]
            usual = (
                normal(before, thresholds.least_burst, thresholds)
                if len(before) >= thresholds.active_days
                else Normal(0, 0, len(before), thresholds.burst)
            )
            for tally in today:
                if tally.values > usual.limit:
                    why = (
                        f"{actor}: {tally.values:,} values ({action}) in the hour from {tally.hour:%Y-%m-%d %H:%M} UTC"
                    )
                    subject, entries = subject_of(actor, action), chosen((tally.first, tally.last))
                    told = usual.told("hours in which there were any, of the 28 days before")
                    found.append(Alert(BURST, subject, tally.hour, HIGH, why, told, entries))
    return found


def refusals(runs: Iterable[Refused], thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return an alert for each run of refusals that is long enough."""
    told = f"fewer than {thresholds.refusals} refusals with nothing allowed in between"
    return [
        Alert(
            REFUSALS,
            subject_of(run.actor),
            run.since,
            HIGH if run.count >= 4 * thresholds.refusals else MEDIUM,
            f"{run.actor} was refused {run.count:,} times in a row from {run.since:%Y-%m-%d %H:%M} UTC on",
            told,
            chosen((run.first, run.last)),
        )
        for run in runs
        if run.count >= thresholds.refusals
    ]


def first_uses(uses: Iterable[Use], log_begin: dt.datetime | None, thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return an alert for each grant that was used for the first time in 90 days, or in what the log goes back.

    None while the log goes back too few days, and none of the platform's own uses: it holds no grant.
    """
    found = []
    for use in uses:
        known = (use.at - log_begin).days if log_begin else 0
        if use.actor == PLATFORM or known < thresholds.known_days:
            continue
        if use.before is not None and use.at - use.before < thresholds.unused_days * _DAY:
            continue
        before = (
            f"last on {use.before:%Y-%m-%d}" if use.before else f"never in the {known:,} days that the log goes back"
        )
        why = f"{use.actor} used {use.key} for {use.purpose or 'no purpose'} on {use.at:%Y-%m-%d %H:%M} UTC; {before}"
        told = f"grants are in use at least every {thresholds.unused_days} days, or given back"
        entries = () if use.number is None else (use.number,)
        since = start_of_day(use.at)
        found.append(Alert(FIRST_USE, subject_of(use.actor, use.key, use.purpose), since, LOW, why, told, entries))
    return found


def _grouped(tallies: Iterable[Tally]) -> dict[tuple[str, str], list[Tally]]:
    found: dict[tuple[str, str], list[Tally]] = defaultdict(list)
    for tally in tallies:
        found[tally.actor, tally.action].append(tally)
    return dict(sorted(found.items()))


def _by_day(tallies: Iterable[Tally], begin: dt.datetime, end: dt.datetime) -> dict[dt.datetime, list[Tally]]:
    found: dict[dt.datetime, list[Tally]] = defaultdict(list)
    for tally in tallies:
        if begin <= tally.hour < end:
            found[start_of_day(tally.hour)].append(tally)
    return found


def _alike(days: Mapping[dt.datetime, list[Tally]], day: dt.datetime, fewest: int) -> list[list[Tally]] | None:
    """Return the days of the same kind as `day` where there are enough, else all, else None."""
    if len(days) < fewest:
        return None
    same = [ones for when, ones in days.items() if _kind(when) == _kind(day)]
    return same if len(same) >= min(4, fewest) else list(days.values())


def _hours_alike(days: Mapping[dt.datetime, list[Tally]], day: dt.datetime) -> set[int]:
    """Return the hours of the days of the same kind as `day`; weekends are few, so that for somebody who does work on
    them the hours of working days count there, too."""
    same = {t.hour.hour for when, ones in days.items() if _kind(when) == _kind(day) for t in ones}
    return same | {t.hour.hour for ones in days.values() for t in ones} if same and _kind(day) else same


def _kind(day: dt.datetime) -> bool:
    return day.weekday() >= 5


def _volume(
    actor: str, action: str, day: dt.datetime, today: list[Tally], amount: int, what: str, usual: Normal
) -> Alert:
    severity = HIGH if amount > 3 * usual.limit else MEDIUM
    why = f"{actor}: {amount:,} {what} ({action}) on {day:%Y-%m-%d}"
    told = f"{what} a day: " + usual.told("like days of the 28 before")
    entries = chosen([n for t in today for n in (t.first, t.last)])
    return Alert(VOLUME, subject_of(actor, action), day, severity, why, told, entries)


def _hour(actor: str, day: dt.datetime, odd: list[Tally], seen: set[int], days: int) -> Alert:
    at = ", ".join(f"{hour:02}" for hour in sorted({t.hour.hour for t in odd}))
    events = sum(t.events for t in odd)
    kind = "weekends" if _kind(day) else "working days"
    usual = ", ".join(f"{hour:02}" for hour in sorted(seen)) or "none"
    why = f"{actor}: {events:,} events in the hours {at} (UTC) of {day:%A, %Y-%m-%d}"
    told = f"hours of {kind} at which {actor} was active ({days} active days of the 28 before): {usual}"
    return Alert(HOUR, subject_of(actor), day, MEDIUM, why, told, chosen([n for t in odd for n in (t.first, t.last)]))
