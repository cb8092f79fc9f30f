"""Who does what tests do to the ledger's tables: events as stages would give them."""

from __future__ import annotations

from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.merkle import Frontier, leaf_hash

Said = tuple[str, str, str, int]


def by(name: str = "ann", reason: str = "") -> Event:
    """Return an event that says who acts and why; what is done, the ledger says."""
    return Event(name, Action.TASK, "a test", reason=reason)


def said(log: str, *actions: str, keys: bool = False) -> list[Said]:
    """Return action, object, decision and count of every event in the log at the URL `log`, in order; only `actions`
    where some are given, and uses of keys only with `keys`."""
    found = [(e.action, e.object, e.decision, e.count) for e in AuditLog(log).events()]
    silent = () if keys or actions else (Action.USE_KEY, Action.MAKE_KEY)
    return [one for one in found if one[0] not in silent and (not actions or one[0] in actions)]


def sound(url: str) -> int:
    """Check the log's numbers, its entries' hashes and its root, and return its size."""
    log = AuditLog(url)
    entries = log.entries(limit=2**31)
    assert [entry.number for entry in entries] == list(range(len(entries)))
    frontier = Frontier(0, [])
    for entry in entries:
        frontier.add(leaf_hash(entry.content))
    assert log.size() == len(entries)
    assert log.root(len(entries)) == frontier.root()
    return len(entries)
