"""Alerts: looking at the log and the installation, raising what is new, and acknowledging.

1. aggregates of the log and the state of budgets, keys, lake and receivers are read;
2. the rules (`cloakhouse.ledger.alert_rules*`) say what is unusual, and what would be normal;
3. what isn't in the register yet is added, each with its event.

Each part that can't be looked at (the key service is away) is an alert itself, and keeps no other part waiting.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError
from cloakhouse.ledger import alert_rules_activity as activity
from cloakhouse.ledger import alert_rules_state as state
from cloakhouse.ledger.alert_rules import DEFAULTS, Alert, Thresholds, start_of_day
from cloakhouse.ledger.alert_windows import LogWindows
from cloakhouse.ledger.alerts import AlertRegister, Raised
from cloakhouse.ledger.allowance import RELEASED
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import FAILED, Action, Event
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.forwarding import Positions
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, record
from cloakhouse.stages.authority import actor, check_reason
from cloakhouse.stages.forwarding_receivers import receivers_of
from cloakhouse.stages.key_status import key_status
from cloakhouse.stages.spending import allowance

_DAY = dt.timedelta(days=1)
_MEASURED = ("encrypted_bytes", "plaintext_bytes", "findings")


def evaluate(settings: Settings, now: dt.datetime, thresholds: Thresholds = DEFAULTS) -> tuple[Alert, ...]:
    """Return the alerts that were raised by this call: what the rules find at `now` (UTC) and isn't registered yet.

    Judged are today and yesterday, so that nothing is missed by a call that comes late. Calling it again raises
    nothing twice. Raises StorageError.
    """
    return tuple(raised.alert for raised in evaluated(settings, now, thresholds))


def evaluated(settings: Settings, now: dt.datetime, thresholds: Thresholds = DEFAULTS) -> tuple[Raised, ...]:
    """Return what `evaluate` does, with the numbers that the register gave. Raises StorageError."""
    return AlertRegister(settings.database).raise_(found(settings, now, thresholds), at=now)


def found(settings: Settings, now: dt.datetime, thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return everything that the rules find at `now` (UTC), registered or not. Raises StorageError."""
    windows = LogWindows(AuditLog(settings.database).engine)
    alerts = of_log(windows, now, thresholds)
    parts: Mapping[str, Callable[[], list[Alert]]] = {
        "privacy budgets": lambda: _budgets(settings, now, thresholds),
        "rotation of keys": lambda: _rotations(settings, now, thresholds),
        "encryption of the lake": lambda: _coverage(settings, windows, now),
        "receivers of the log": lambda: _receivers(settings, windows, now, thresholds),
    }
    for what, look in parts.items():
        try:
            alerts += look()
        except (CloakhouseError, OSError) as fault:
            code = fault.code if isinstance(fault, CloakhouseError) else type(fault).__name__
            alerts.append(state.not_checked(what, code, now))
    return alerts


def of_log(windows: LogWindows, now: dt.datetime, thresholds: Thresholds = DEFAULTS) -> list[Alert]:
    """Return what the rules find in the log alone. Raises StorageError."""
    today = start_of_day(now)
    judged = (today - _DAY, today)
    tallies = windows.tallies(judged[0] - thresholds.baseline_days * _DAY, now + _DAY)
    health = windows.health(judged[0], thresholds.clock_s)
    return [
        *activity.volumes(tallies, judged, thresholds),
        *activity.hours(tallies, judged, thresholds),
        *activity.bursts(tallies, judged, thresholds),
        *activity.refusals(windows.refusals(judged[0], thresholds.refusals), thresholds),
        *activity.first_uses(
            windows.uses(judged[0] - thresholds.unused_days * _DAY, judged[0]), health.begin, thresholds
        ),
        *state.log_health(health, now, thresholds),
    ]


def acknowledge(settings: Settings, number: int, note: str, who: str = "") -> Raised:
    """Note that alert `number` was seen, and return it. `who` is the person at a console; else the principal.

    Raises as `AlertRegister.acknowledge`, ConfigurationError (`configuration.reason`) for a note that can't stand,
    KeyServiceError and AccessRefused for somebody unknown.
    """
    return AlertRegister(settings.database).acknowledge(number, who or actor(settings), check_reason(note))


def _budgets(settings: Settings, now: dt.datetime, thresholds: Thresholds) -> list[Alert]:
    from cloakhouse.ledger.allowance import Account

    ledger = PrivacyLedger(settings.database)
    states = []
    for name, contract in sorted(load_contracts(settings.contracts).items()):
        budget = contract.privacy_budget
        for consumer in sorted(budget.epsilon) if budget else ():
            assert budget is not None
            account, allowed = Account(name, budget.unit, consumer), allowance(budget, consumer)
            balance = ledger.balance(account, allowed, now)
            total = balance.spent_rho + balance.left_rho
            if not balance.spent_rho:
                continue
            begin, renews = allowed.window(now)
            spends = [s.reserved_at for s in ledger.spends(account) if s.state != RELEASED]
            states.append(
                state.BudgetState(
                    str(account),
                    balance.spent_rho / total if total else 1.0,
                    begin if renews else min(spends, default=now),
                )
            )
    return state.budgets(states, thresholds)


def _rotations(settings: Settings, now: dt.datetime, thresholds: Thresholds) -> list[Alert]:
    masters = key_status(settings, now).masters
    due = [(m.description.name, m.next_rotation) for m in masters if m.next_rotation is not None]
    return state.rotations(due, now, thresholds)


def _coverage(settings: Settings, windows: LogWindows, now: dt.datetime) -> list[Alert]:
    """Judge the day's measurement of the lake, which its first call makes and records: every file is opened for it,
    with keys whose uses are events themselves."""
    known = windows.measured(start_of_day(now)) or _measured(settings)
    if known is None:
        return []
    encrypted, plaintext, findings = (int(known.facts[name]) for name in _MEASURED)
    total = encrypted + plaintext
    return state.coverage(encrypted / total if total else 1.0, findings, now)


def _measured(settings: Settings) -> Event | None:
    """Measure how much of the lake is encrypted, record it, and return its event; None for an empty lake."""
    from cloakhouse.lake.coverage import coverage
    from cloakhouse.lake.store.opening import open_store

    found = coverage(open_store(settings), open_ring(settings))
    if not found.parts:
        return None
    facts = dict(zip(_MEASURED, (found.encrypted_bytes, found.plaintext_bytes, len(found.findings)), strict=True))
    files = sum(part.files for part in found.parts)
    done = event(settings, Action.MEASURE_COVERAGE, "lake", count=files, facts=facts)
    record(settings, done if found.complete else replace(done, decision=FAILED, code="integrity.coverage"))
    return done


def _receivers(settings: Settings, windows: LogWindows, now: dt.datetime, thresholds: Thresholds) -> list[Alert]:
    wanted = receivers_of(settings)
    known = {position.receiver: position for position in Positions(settings.database).all()} if wanted else {}
    return state.receivers([windows.receiver(one.name, known.get(one.name)) for one in wanted], now, thresholds)
