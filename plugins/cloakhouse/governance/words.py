"""How things are said in documents: classes of columns, treatments, retention, releases, in plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from cloakhouse.contracts.model import ColumnClass, Contract, Kind
from cloakhouse.governance.activity import Activity

CLASSES = {
    ColumnClass.DIRECT: "data that name a person, or reach one",
    ColumnClass.INDIRECT: "data that describe a person, and could tell one together",
    ColumnClass.SENSITIVE: "data on behaviour and circumstances",
    ColumnClass.PAYMENT: "means of payment",
    ColumnClass.PLAIN: "data that say little of a person",
}
KINDS = {
    Kind.FEED: "delivered, pseudonymized and kept encrypted",
    Kind.SYNTHETIC: "synthetic rows, made from protected data",
    Kind.AGGREGATE: "sums with noise, counted in protected data",
}
ZONES = {
    "landing": "as delivered",
    "quarantine": "rows that were refused",
    "protected": "pseudonymized",
    "synthetic": "synthetic rows",
    "aggregates": "sums",
}
NOT_STATED = "not stated"


def columns_by_class(contract: Contract) -> list[tuple[ColumnClass, list[str]]]:
    """Return the names of the columns of each class, in the order of ColumnClass."""
    named = [(one, [c.name for c in contract.columns if c.column_class is one]) for one in ColumnClass]
    return [(one, names) for one, names in named if names]


def treatments(contract: Contract) -> str:
    """Return what happens to how many columns, such as `7 drop, 2 token`."""
    counts = Counter(column.treatment.name for column in contract.columns)
    return joined(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def retention(contract: Contract) -> str:
    """Return how long data are kept, zone by zone."""
    return joined(f"{ZONES[zone]}: {days(number)}" for zone, number in contract.retention_days.items())


def days(number: int) -> str:
    """Return a number of days in words."""
    return f"{number:,} day{'s' if number != 1 else ''}"


def listed(items: Sequence[str] | None, none: str = "none") -> str:
    """Return a list in words: not stated, none, or its items."""
    if items is None:
        return NOT_STATED
    return joined(items, "; ") or none


def transfers(activity: Activity) -> str:
    """Return the transfers to other countries in words."""
    stated = activity.stated.transfers
    if stated is None:
        return NOT_STATED
    return listed([f"{t.country} ({t.safeguard or 'no safeguard stated'})" for t in stated])


def measures(activity: Activity) -> list[str]:
    """Return the technical and organisational measures that the platform takes for this activity."""
    contract = activity.contract
    said = ["Encryption at rest: every file, column by column, under keys of the column's class (AES-256-GCM)."]
    if contract.kind is Kind.FEED:
        said.append(f"Pseudonymisation and minimisation of {len(contract.columns)} columns: {treatments(contract)}.")
    if contract.kind is Kind.SYNTHETIC:
        said.append("Synthetic rows instead of real ones; a release must pass its attacks and its gate.")
    if contract.query is not None or (contract.synthesis is not None and contract.synthesis.privacy is not None):
        said.append("Differential privacy, with a budget that all releases from the same data share.")
    if activity.roles:
        said.append(f"Access by role and purpose, enforced by keys: {joined(activity.roles)}.")
    if contract.approval is not None:
        said.append("A person's approval before each publication, never that of who started it.")
    said.append("An audit log that only grows, with signed checkpoints; releases and manifests are signed.")
    return said


def joined(items: Iterable[str], by: str = ", ") -> str:
    """Return `items` in one line."""
    return by.join(items)


def number(value: float | None) -> str:
    """Return a figure with four significant digits; `withheld` for None."""
    return "withheld" if value is None else f"{value:.4g}"
