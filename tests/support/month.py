"""A month as a retailer's platform might have it, four weeks before it, and anomalies planted in it: how well do the
rules of alerts find them, and how often do they cry wolf?

    python -m tests.support.month [--seeds 5]

Actors follow the hours of their work (Poisson counts by hour, weekday and person; sick days, holidays, late evenings
now and then), the platform runs at night. Everything is seeded. Anomalies of each kind are planted on days of the
judged month, at several strengths; a rule has found one when it raises an alert of that kind for that actor and day.
All other alerts of the month are false.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from cloakhouse.ledger.alert_rules import DEFAULTS, Alert, Thresholds, start_of_day
from cloakhouse.ledger.alert_rules_activity import (
    BURST,
    FIRST_USE,
    HOUR,
    REFUSALS,
    VOLUME,
    Refused,
    Tally,
    Use,
    bursts,
    first_uses,
    hours,
    refusals,
    volumes,
)
from cloakhouse.ledger.audit_event import Action

BEGIN = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)  # a Monday
BASELINE, JUDGED = 28, 30  # days
DAY, HOURS = dt.timedelta(days=1), 24
STRENGTHS = {"faint": 1.5, "clear": 4.0, "glaring": 20.0}


@dataclass(frozen=True)
class Role:
    """How principals of a role work: events an hour at the busiest, values an event, hours, share on weekends."""

    name: str
    people: int
    action: Action
    rate: float
    values: float
    begin: int = 7
    end: int = 17
    weekend: float = 0.0
    refused: float = 0.005


ROLES = (
    Role("analyst", 6, Action.QUERY, 9.0, 40.0),
    Role("model", 4, Action.READ, 4.0, 2_000.0, 8, 20, 0.15),
    Role("support", 5, Action.DETOKENIZE, 3.0, 1.6, 6, 20, 0.5, 0.02),
    Role("officer", 2, Action.EXPORT_LOG, 0.4, 1.0, 8, 16),
    Role("engineer", 3, Action.USE_KEY, 2.0, 1.0, 7, 18, 0.1, 0.01),
    Role("platform", 1, Action.USE_KEY, 40.0, 1.0, 1, 4, 1.0, 0.0),
)


@dataclass(frozen=True)
class Planted:
    """An anomaly: which rule should find it, whose it is, the day, and how strong it is."""

    rule: str
    actor: str
    day: dt.datetime
    strength: str


@dataclass
class Month:
    """What happened: tallies by hour, runs of refusals, uses of grants, and what was planted."""

    tallies: list[Tally] = field(default_factory=list)
    runs: list[Refused] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)


def simulated(seed: int) -> Month:
    """Return a seeded month with its four weeks before."""
    rng, numbers, month = np.random.default_rng(seed), itertools.count(), Month()
    people = [
        (role, f"{role.name}-{index}" if role.people > 1 else role.name)
        for role in ROLES
        for index in range(role.people)
    ]
    for role, actor in people:
        _work(month, rng, numbers, role, actor)
    _plant(month, rng, numbers, people)
    return month


def judged(month: Month, thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return the alerts of the judged days, each of them once, as calls on each of these days raise them."""
    days = [BEGIN + (BASELINE + n) * DAY for n in range(JUDGED)]
    begin = days[0]
    return [
        *volumes(month.tallies, days, thresholds),
        *hours(month.tallies, days, thresholds),
        *bursts(month.tallies, days, thresholds),
        *refusals((run for run in month.runs if run.since >= begin), thresholds),
        *first_uses((use for use in month.uses if use.at >= begin), BEGIN - 90 * DAY, thresholds),
    ]


@dataclass
class Score:
    """Of one rule: planted and found by strength, and the false alarms."""

    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    false: int = 0


def scored(month: Month, alerts: Iterable[Alert]) -> dict[str, Score]:
    """Return how the rules did; an alert of another rule about a planted anomaly (a burst is a volume, too) isn't
    false."""
    scores: dict[str, Score] = defaultdict(Score)
    raised = {(a.rule, a.subject.split(": ")[0], start_of_day(a.since)) for a in alerts}
    for one in month.planted:
        scores[one.rule].planted[one.strength] += 1
        scores[one.rule].found[one.strength] += (one.rule, one.actor, one.day) in raised
    explained = {(one.actor, one.day) for one in month.planted}
    for rule, actor, day in raised:
        scores[rule].false += (actor, day) not in explained
    return scores


def _work(month: Month, rng: np.random.Generator, numbers: Iterator[int], role: Role, actor: str) -> None:
    own = float(rng.lognormal(0, 0.3))
    away = set(rng.choice(BASELINE + JUDGED, 3, replace=False)) if role.name != "platform" else set()
    for day in range(BASELINE + JUDGED):
        at = BEGIN + day * DAY
        share = role.weekend if at.weekday() >= 5 else 1.0
        if day in away or (share < 1 and rng.random() > share):
            continue
        busy = own * float(rng.lognormal(0, 0.35)) * (0.7 if at.weekday() >= 5 else 1.0)
        late = rng.random() < 0.1
        for hour in range(role.begin, role.end + (1 if late else 0)):
            lull = 0.3 if hour in (role.begin, role.end - 1, role.end) else 0.6 if hour == 12 else 1.0
            count = int(rng.poisson(role.rate * busy * lull))
            refused = int(rng.binomial(count, role.refused))
            if count:
                amount = int(rng.poisson(role.values * float(rng.lognormal(0, 0.5)) * count))
                _tally(month, numbers, actor, role.action, at + dt.timedelta(hours=hour), count, amount)
            if refused > 1:
                month.runs.append(Refused(actor, refused, at + dt.timedelta(hours=hour), 0, 0))


def _plant(month: Month, rng: np.random.Generator, numbers: Iterator[int], people: list[tuple[Role, str]]) -> None:
    """Plant one anomaly of each kind and strength, each with another actor or on another day."""
    free = [(role, actor, day) for role, actor in people if role.name != "platform" for day in range(BASELINE, 58)]
    rng.shuffle(free)  # type: ignore[arg-type]
    usual = _usual(month)

    def place(fits: Iterable[tuple[Role, str, int]]) -> tuple[Role, str, dt.datetime]:
        chosen = next(iter(fits))
        free.remove(chosen)
        return chosen[0], chosen[1], BEGIN + chosen[2] * DAY

    def workdays(names: tuple[str, ...]) -> Iterator[tuple[Role, str, int]]:
        return (f for f in free if f[0].name in names and (BEGIN + f[2] * DAY).weekday() < 5)

    for strength, times in STRENGTHS.items():
        role, actor, day = place(workdays(("analyst", "model", "engineer")))
        extra = int(times * usual[actor])
        _tally(month, numbers, actor, role.action, day + dt.timedelta(hours=11), extra, int(extra * role.values))
        month.planted.append(Planted(VOLUME, actor, day, strength))

        odd = {one.actor for one in month.planted if one.rule == HOUR}  # an odd hour is none for the next 28 days
        role, actor, day = place(f for f in workdays(("analyst", "officer", "engineer")) if f[1] not in odd)
        events = max(1, int(times))
        _tally(month, numbers, actor, role.action, day + dt.timedelta(hours=2), events, events)
        month.planted.append(Planted(HOUR, actor, day, strength))

        _, actor, day = place(workdays(("support",)))
        _tally(month, numbers, actor, Action.DETOKENIZE, day + dt.timedelta(hours=10), 10, int(40 * times))
        month.planted.append(Planted(BURST, actor, day, strength))

        _, actor, day = place(workdays(("analyst", "model", "support")))
        month.runs.append(Refused(actor, int(2 * times), day + dt.timedelta(hours=10), next(numbers), next(numbers)))
        month.planted.append(Planted(REFUSALS, actor, day, strength))

        _, actor, day = place(workdays(("engineer", "support")))
        silent = {"faint": 60, "clear": 100, "glaring": None}[strength]
        before = None if silent is None else day - silent * DAY
        month.uses.append(Use(actor, "protected/direct", "audit", day + dt.timedelta(hours=10), next(numbers), before))
        month.planted.append(Planted(FIRST_USE, actor, day, strength))


def _usual(month: Month) -> dict[str, float]:
    """Return the median events of each actor's active working days."""
    days: dict[str, Counter[dt.datetime]] = defaultdict(Counter)
    for tally in month.tallies:
        if tally.hour.weekday() < 5:
            days[tally.actor][start_of_day(tally.hour)] += tally.events
    return {actor: float(np.median(list(counts.values()))) for actor, counts in days.items()}


def _tally(
    month: Month, numbers: Iterator[int], actor: str, action: Action, hour: dt.datetime, events: int, values: int
) -> None:
    first = next(numbers)
    month.tallies.append(Tally(actor, action.value, hour, events, values, first, first))


def main() -> None:
    """Print recall by rule and strength, and false alarms a week, over several seeds."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.month", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="months to simulate")
    options = parser.parse_args()
    total: dict[str, Score] = defaultdict(Score)
    for seed in range(options.seeds):
        month = simulated(seed)
        for rule, score in scored(month, judged(month)).items():
            total[rule].planted += score.planted
            total[rule].found += score.found
            total[rule].false += score.false
    weeks = options.seeds * JUDGED / 7
    print(f"{options.seeds} months of {JUDGED} days after {BASELINE}, {sum(r.people for r in ROLES)} principals\n")
    print("| rule | " + " | ".join(f"recall, {name}" for name in STRENGTHS) + " | false alarms a week |")
    print("| --- |" + " ---: |" * (len(STRENGTHS) + 1))
    for rule, score in sorted(total.items()):
        recalls = [f"{score.found[s] / score.planted[s]:.2f}" if score.planted[s] else "-" for s in STRENGTHS]
        print(f"| {rule} | " + " | ".join(recalls) + f" | {score.false / weeks:.2f} |")
    print(f"| all | | | | {sum(score.false for score in total.values()) / weeks:.2f} |")


if __name__ == "__main__":
    main()
