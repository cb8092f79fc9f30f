"""Rules of alerts: what fires, what doesn't, and what they say."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.support import month

from cloakhouse.ledger.alert_rules import MOST_ENTRIES, Thresholds, chosen, normal, subject_of
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
from cloakhouse.ledger.alert_rules_state import (
    BudgetState,
    LogState,
    ReceiverState,
    budgets,
    coverage,
    log_health,
    not_checked,
    receivers,
    rotations,
)

DAY, HOURS = dt.timedelta(days=1), dt.timedelta(hours=1)
TODAY = dt.datetime(2026, 11, 18, tzinfo=dt.UTC)  # a Wednesday
NOW = TODAY + 15 * HOURS


def week_days(amount: int = 30, action: str = "read", values: int = 1) -> list[Tally]:
    """Return four weeks of working days before today, `amount` events at ten o'clock each."""
    days = [TODAY - n * DAY for n in range(1, 29)]
    return [
        Tally("ann", action, day + 10 * HOURS, amount + i % 3, (amount + i % 3) * values, i, i)
        for i, day in enumerate(reversed(days))
        if day.weekday() < 5
    ]


def today(events: int, hour: int = 10, action: str = "read", values: int = 1) -> Tally:
    return Tally("ann", action, TODAY + hour * HOURS, events, events * values, 900, 999)


def test_a_volume_far_above_the_usual_is_told_with_its_numbers() -> None:
    assert volumes([*week_days(), today(90)], [TODAY]) == []
    (alert,) = volumes([*week_days(), today(120)], [TODAY])
    assert (alert.rule, alert.subject, alert.since, alert.severity) == (VOLUME, "ann: read", TODAY, "medium")
    assert alert.why == "ann: 120 events (read) on 2026-11-18"
    assert alert.normal == (
        "events a day: median 31, robust deviation 1.5 over 20 like days of the 28 before; unusual is more than 93"
    )
    assert alert.entries == (900, 999)
    assert volumes([*week_days(), today(400)], [TODAY])[0].severity == "high"


def test_values_count_as_well_as_events() -> None:
    (alert,) = volumes([*week_days(), today(31, values=50)], [TODAY])
    assert alert.why == "ann: 1,550 values (read) on 2026-11-18"


def test_without_a_baseline_and_for_small_numbers_no_volume_is_unusual() -> None:
    assert volumes([today(10_000)], [TODAY]) == []
    assert volumes([*week_days()[-6:], today(10_000)], [TODAY]) == []
    assert volumes([*week_days(1), today(20)], [TODAY]) == []
    assert volumes([*week_days(), today(500)], [TODAY + DAY]) == []


def test_one_odd_day_before_neither_hides_nor_raises_an_alert() -> None:
    odd = Tally("ann", "read", TODAY - 5 * DAY + 10 * HOURS, 10_000, 10_000, 1, 1)
    assert [a.subject for a in volumes([*week_days(), odd, today(120)], [TODAY])] == ["ann: read"]


def test_an_hour_never_worked_at_is_told_and_its_neighbours_are_not() -> None:
    assert hours([*week_days(), today(1, 9), today(1, 11)], [TODAY]) == []
    (alert,) = hours([*week_days(), today(2, 3), today(1, 23)], [TODAY])
    assert (alert.rule, alert.subject, alert.since) == (HOUR, "ann", TODAY)
    assert alert.why == "ann: 3 events in the hours 03, 23 (UTC) of Wednesday, 2026-11-18"
    assert alert.normal == "hours of working days at which ann was active (20 active days of the 28 before): 10"
    assert hours([*week_days()[:5], today(2, 3)], [TODAY]) == []


def test_weekends_are_weekends_but_for_who_works_on_them() -> None:
    saturday = TODAY + 3 * DAY
    then = Tally("ann", "read", saturday + 11 * HOURS, 3, 3, 5, 5)
    (alert,) = hours([*week_days(), then], [saturday])
    assert alert.normal.endswith(": none")
    before = Tally("ann", "read", saturday - 7 * DAY + 20 * HOURS, 3, 3, 5, 5)
    assert hours([*week_days(), before, then], [saturday]) == []


def test_midnight_has_neighbours_on_both_sides() -> None:
    late = [Tally("ann", "read", t.hour + 13 * HOURS, 3, 3, t.first, t.last) for t in week_days()]  # 23:00
    assert hours([*late, today(1, 0)], [TODAY]) == []


def test_a_burst_is_above_the_usual_hours_or_above_a_fixed_number() -> None:
    assert bursts([today(200, action="detokenize")], [TODAY]) == []
    (alert,) = bursts([today(201, action="detokenize")], [TODAY])
    assert (alert.rule, alert.since, alert.severity) == (BURST, TODAY + 10 * HOURS, "high")
    usual = week_days(5, "detokenize")
    assert bursts([*usual, today(100, action="detokenize")], [TODAY]) == []
    (alert,) = bursts([*usual, today(101, action="detokenize")], [TODAY])
    assert "20 hours in which there were any" in alert.normal
    assert bursts([today(5_000)], [TODAY]) == []


@pytest.mark.parametrize(("count", "severity"), [(4, None), (5, "medium"), (19, "medium"), (20, "high")])
def test_refusals_in_a_row(count: int, severity: str | None) -> None:
    found = refusals([Refused("ann", count, NOW, 3, 8)])
    assert [a.severity for a in found] == ([severity] if severity else [])
    assert all((a.rule, a.since, a.entries) == (REFUSALS, NOW, (3, 8)) for a in found)


@pytest.mark.parametrize(
    ("actor", "before", "log_days", "fires"),
    [
        ("ann", None, 100, True),
        ("ann", 91, 100, True),
        ("ann", 89, 100, False),
        ("ann", None, 13, False),
        ("ann", None, None, False),
        ("platform", None, 100, False),
    ],
)
def test_a_grant_used_for_the_first_time_in_90_days(
    actor: str, before: int | None, log_days: int | None, fires: bool
) -> None:
    use = Use(actor, "protected/direct", "audit", NOW, 7, None if before is None else NOW - before * DAY)
    found = first_uses([use], None if log_days is None else NOW - log_days * DAY)
    assert [(a.rule, a.subject, a.since, a.entries) for a in found] == (
        [(FIRST_USE, "ann: protected/direct: audit", TODAY, (7,))] if fires else []
    )


def test_a_use_that_only_the_counter_of_readers_knows_has_no_entry() -> None:
    (alert,) = first_uses([Use("ann", "synthetic/plain", "", NOW, None, None)], NOW - 30 * DAY)
    assert alert.entries == ()
    assert "for no purpose" in alert.why
    assert "never in the 30 days" in alert.why


@pytest.mark.parametrize(("share", "severity"), [(0.89, None), (0.9, "medium"), (1.0, "high")])
def test_a_budget_nearly_gone(share: float, severity: str | None) -> None:
    found = budgets([BudgetState("baskets (per household, for default)", share, TODAY)])
    assert [a.severity for a in found] == ([severity] if severity else [])
    assert all(f"{share * 100:.2f} %" in a.why for a in found)


def test_a_rotation_is_overdue_after_its_grace() -> None:
    due = [("landing/file", NOW - 7 * DAY), ("protected/direct", NOW - 8 * DAY)]
    assert [(a.subject, a.since) for a in rotations(due, NOW)] == [("protected/direct", NOW - 8 * DAY)]


@pytest.mark.parametrize(("share", "findings", "fires"), [(1.0, 0, False), (0.99999, 0, True), (1.0, 1, True)])
def test_coverage_under_100(share: float, findings: int, fires: bool) -> None:
    found = coverage(share, findings, NOW)
    assert bool(found) == fires
    assert all(a.severity == "critical" and a.since == TODAY for a in found)
    assert all("100.00 %" not in a.why for a in found if share < 1)


def test_a_healthy_log_and_an_empty_one_say_nothing() -> None:
    assert log_health(LogState(0), NOW) == []
    fresh = LogState(9, NOW - 30 * DAY, 9, NOW - HOURS, NOW - HOURS)
    assert log_health(fresh, NOW) == []
    still = LogState(9, NOW - 30 * DAY, 9, NOW - 9 * DAY, NOW - HOURS)
    assert log_health(still, NOW) == []  # nothing was added since the checkpoint
    assert log_health(LogState(9, NOW - HOURS), NOW) == []


def test_what_is_wrong_with_a_log() -> None:
    log = LogState(9, NOW - 30 * DAY, 5, NOW - 2 * DAY, None, (8, NOW), ((4, TODAY, 61.0), (6, TODAY, 60.0)))
    found = log_health(log, NOW)
    assert [(a.rule, a.severity) for a in found] == [
        ("clock-went-backwards", "medium"),
        ("verification-failed", "critical"),
        ("checkpoint-stale", "high"),
        ("verification-stale", "medium"),
    ]
    assert found[0].entries == (3, 4)
    assert found[2].why == "the newest checkpoint is 48 hours old"
    assert found[3].why == "no passed verification yet, 720 hours after the first entry"


@pytest.mark.parametrize(
    ("backlog", "age_h", "trouble", "severity"),
    [(0, None, "", None), (5, 0.5, "", None), (5, 2, "", "medium"), (10_000, 0.1, "", "medium"), (5, 2, "x.y", "high")],
)
def test_a_receiver_far_behind(backlog: int, age_h: float | None, trouble: str, severity: str | None) -> None:
    oldest = None if age_h is None else NOW - age_h * HOURS
    found = receivers([ReceiverState("siem", backlog, trouble, oldest)], NOW)
    assert [a.severity for a in found] == ([severity] if severity else [])
    assert all(a.why.endswith(f"; trouble: {trouble}") for a in found if trouble)


def test_what_could_not_be_looked_at_is_told_once_a_day() -> None:
    alert = not_checked("privacy budgets", "key.unreachable", NOW)
    assert (alert.since, alert.severity, alert.why) == (
        TODAY,
        "low",
        "privacy budgets could not be looked at (key.unreachable)",
    )


def test_long_subjects_stay_apart_and_entries_are_few() -> None:
    one, two = subject_of("a" * 999, "x"), subject_of("a" * 999, "y")
    assert one != two
    assert len(one) == 200 - 1
    assert subject_of("", "") == "-"
    assert chosen(range(100)) == (*range(MOST_ENTRIES - 1), 99)
    assert chosen([3, 1, 3]) == (1, 3)


def test_a_normal_is_robust() -> None:
    found = normal([10, 10, 10, 10, 1_000], 0, Thresholds())
    assert (found.median, found.deviation) == (10, 0)
    assert found.limit == 30
    assert normal([4], 0, Thresholds()).limit == 16  # six roots above


def test_planted_anomalies_are_found_and_false_alarms_are_rare() -> None:
    weeks, false = 0.0, 0
    for seed in (1, 2, 3):
        simulated = month.simulated(seed)
        scores = month.scored(simulated, month.judged(simulated))
        weeks += month.JUDGED / 7
        false += sum(score.false for score in scores.values())
        for rule in (VOLUME, HOUR, BURST, REFUSALS, FIRST_USE):
            for strength in ("clear", "glaring"):
                assert scores[rule].found[strength] == scores[rule].planted[strength] == 1, (seed, rule, strength)
    assert false / weeks <= 1
