"""Events of the audit log as stages write them: who acts, in which run, and what came of it.

An event is written before what it describes can be seen. Where the act is a change of the control database, the event
goes with it, in one transaction (`cloakhouse.ledger.audit.append`); else it is recorded first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from cloakhouse.ledger.acting import described, role_of, unsuccessful
from cloakhouse.ledger.audit import log_of
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.audited_keys import leased, recorded_first
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import actor

__all__ = ["changing", "event", "failures_recorded", "leased", "record", "role_of"]


def event(
    settings: Settings,
    action: Action,
    what: str,
    *,
    dataset: str = "",
    count: int = 0,
    reason: str = "",
    facts: Mapping[str, str | int] | None = None,
) -> Event:
    """Return the event of this process's principal doing `action` on `what`, allowed, not recorded yet.

    Raises KeyServiceError, AccessRefused (`access.identity`).
    """
    return described(settings, actor(settings), action, what, dataset=dataset, count=count, reason=reason, facts=facts)


def record(settings: Settings, *events: Event) -> int:
    """Add `events` to the log in one commit and return the number of the first. Raises StorageError: then what they
    describe must not be done."""
    return log_of(settings.database).record(*events)


def changing(settings: Settings, described: Event) -> contextlib.AbstractContextManager[None]:
    """Return the context in which what `described` tells is done: it is recorded first, and a failure after it with
    the number of the first entry (fact `entry`). Raises StorageError, and then the block isn't begun."""
    return recorded_first(log_of(settings.database).record, described)


@contextlib.contextmanager
def failures_recorded(settings: Settings, described: Event) -> Iterator[None]:
    """Record `described` as refused or failed, with the code, when the block raises; nothing when it doesn't."""
    try:
        yield
    except Exception as problem:
        record(settings, unsuccessful(described, problem))
        raise
