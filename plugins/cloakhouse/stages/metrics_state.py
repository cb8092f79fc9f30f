"""Gauges from what is computed elsewhere: budgets, keys, retention, and how far receivers of the log are."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.protocol import KeyState
from cloakhouse.stages.forwarding import Forwarded
from cloakhouse.stages.key_status import KeyStatus
from cloakhouse.stages.metrics_model import Sample
from cloakhouse.stages.retention_plan import ZONES_OF, Item, State
from cloakhouse.stages.spending import AccountState


def budgets(states: Iterable[AccountState]) -> Iterator[Sample]:
    """Yield what is allowed, spent and left of each account."""
    for state in states:
        labels = (state.account.dataset, state.account.unit, state.account.consumer)
        total = state.balance.spent_rho + state.balance.left_rho
        yield Sample("cloakhouse_budget_epsilon", state.epsilon, labels)
        yield Sample("cloakhouse_budget_spent_share", state.balance.spent_rho / total if total > 0 else 1.0, labels)
        yield Sample("cloakhouse_budget_left_epsilon", state.left or 0.0, labels)


def keys(status: KeyStatus) -> Iterator[Sample]:
    """Yield age, rotation and state of each master key; a destroyed one has none."""
    for master in status.masters:
        state, name = master.description.state, (str(master.description.name),)
        if state is KeyState.DESTROYED:
            continue
        if master.description.versions:
            made = master.description.versions[-1].created.timestamp()
            yield Sample("cloakhouse_key_created_timestamp_seconds", made, name)
        if master.next_rotation is not None:
            due = master.next_rotation.timestamp()
            yield Sample("cloakhouse_key_rotation_due_timestamp_seconds", due, name)
        yield Sample("cloakhouse_key_enabled", float(state is KeyState.ENABLED), name)
        yield Sample("cloakhouse_key_dataset_keys_behind", master.behind, name)


def retention(items: Iterable[Item], contracts: Mapping[str, Contract], now: dt.datetime) -> Iterator[Sample]:
    """Yield what is past its day at `now`, by dataset and zone; 0 where nothing is."""
    due = [item for item in items if item.state is State.DUE and item.due <= now]
    counts = Counter((item.dataset, item.zone) for item in due if item.dataset in contracts)
    declared = {(name, zone) for name, one in contracts.items() for zone in ZONES_OF[one.kind]}
    for labels in sorted(declared | set(counts)):
        yield Sample("cloakhouse_retention_due", counts[labels], labels)
    if due:
        oldest = min(item.due for item in due)
        yield Sample("cloakhouse_retention_since_timestamp_seconds", oldest.timestamp())


def receivers(waiting: Iterable[Forwarded]) -> Iterator[Sample]:
    """Yield how far the receivers of the log are, all together: their names are the operator's, and no label."""
    known = list(waiting)
    yield Sample("cloakhouse_siem_receivers", len(known))
    if known:
        yield Sample("cloakhouse_siem_backlog_entries", max(0, *(one.backlog for one in known)))
        yield Sample("cloakhouse_siem_receivers_in_trouble", sum(bool(one.trouble) for one in known))
