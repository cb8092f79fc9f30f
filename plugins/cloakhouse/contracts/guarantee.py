"""The guarantee that a release promises, and the budget that a protected dataset has for such releases."""

from __future__ import annotations

from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.model import Kind, Privacy, PrivacyBudget
from cloakhouse.contracts.source import Path, Source

MAX_EPSILON = 20.0  # above, a guarantee says nothing any more
MAX_BUDGET = 50.0  # epsilon of all releases of a period together
MAX_DELTA = 9.99e-5
RENEWALS = ("never", "year", "quarter", "month")
MAX_ROWS = 1_000_000


def read_privacy(fields: Fields, *, required: bool) -> Privacy | None:
    """Return the checked `privacy` below `fields`, None for an engine that gives no guarantee and so must claim none.

    Raises ContractError.
    """
    if not required:
        if "privacy" in fields.data:
            expected = "an engine that gives a guarantee"
            raise fields.fault("privacy", expected, "another", "use dp-marginals, or remove it")
        return None
    table = fields.child("privacy")
    privacy = Privacy(
        epsilon=table.number("epsilon", 0.0, MAX_EPSILON),
        delta=table.number("delta", 0.0, MAX_DELTA),
        consumer=table.text("consumer"),
        max_rows=table.whole("maxRows", 1, MAX_ROWS) if "maxRows" in table.data else None,
        max_groups=table.whole("maxGroups", 1, MAX_ROWS) if "maxGroups" in table.data else None,
    )
    table.nothing_else()
    return privacy


def read_budget(source: Source, properties: dict[str, Path], kind: Kind) -> PrivacyBudget | None:
    """Return the checked `privacyBudget` of a feed, None without one. Raises ContractError."""
    if kind is not Kind.FEED or "privacyBudget" not in properties:
        return None
    fields = Fields(source, properties["privacyBudget"])
    consumers = fields.child("epsilon")
    budget = PrivacyBudget(
        unit=fields.text("unit"),
        delta=fields.number("delta", 0.0, MAX_DELTA),
        renewal=fields.choice("renewal", RENEWALS),
        epsilon={str(name): consumers.number(name, 0.0, MAX_BUDGET) for name in consumers.data},
    )
    consumers.nothing_else()
    fields.nothing_else()
    if not budget.epsilon:
        raise fields.fault("epsilon", "a budget by consumer, or `default`", "none", "e.g. epsilon: {default: 10}")
    return budget
