"""How good the rows of a release are, where they are weakest, and how to use them, from its utility evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloakhouse.report.parts import NONE, bullets, decimals, number, paragraph, section, table, text

ORDERS = {1: "single columns", 2: "pairs of columns", 3: "triples of columns"}
WEAKEST = 6  # groups shown
Facts = Mapping[str, Any]


def use(utility: Facts | None, private: bool, limits: str) -> str:
    """Return the section on use: the evidence's figures, the weakest groups, and what to heed."""
    parts = [*_figures(utility), *_groups(utility)] if utility else [paragraph("This release has no utility figures.")]
    return section("use", "How to use the data", *parts, _advice(private), *_limits(limits))


def mean_distance(utility: Facts | None, order: int) -> float | None:
    """Return the mean distance of marginals of `order` from the training rows, or None."""
    for item in _items(utility, "marginals"):
        if item.get("order") == order and isinstance(item.get("mean"), int | float):
            return float(item["mean"])
    return None


def _figures(utility: Facts) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [
        (f"distance, {ORDERS[order]}", decimals(item.get("mean")), decimals(item.get("holdout_mean")))
        for order in ORDERS
        for item in _items(utility, "marginals")
        if item.get("order") == order
    ]
    correlations = utility.get("correlations")
    if isinstance(correlations, Mapping):
        found = (decimals(correlations.get(name)) for name in ("error", "holdout_error"))
        rows.append(("error of correlations", *found))
    if rows:
        yield "<h3>How close the rows are</h3>"
        caption = (
            "Against the real rows that the engine saw; 0 is equal, 1 has nothing in common. Beside it other real "
            "rows: what sampling alone does."
        )
        yield table(caption, ("measure", "these rows", "real rows"), rows)
    tasks = [
        (str(t.get("name")), *(decimals(t.get(name)) for name in ("synthetic_auc", "training_auc", "loss")))
        for t in _items(utility, "tasks")
    ]
    if tasks:
        yield "<h3>What a model loses</h3>"
        caption = "AUC on real rows that neither model has seen; 0.5 is guessing, 1 is perfect. – : can't be told."
        yield table(caption, ("task", "trained on these", "trained on real", "loss"), tasks)


def _groups(utility: Facts) -> Iterator[str]:
    found = []
    pooled = []
    for segment in _items(utility, "segments"):
        column = str(segment.get("column"))
        for at, group in enumerate(_items(segment, "groups"), 1):
            mine, theirs = group.get("tvd"), group.get("holdout_tvd")
            if isinstance(mine, int | float) and isinstance(theirs, int | float):
                label = group.get("label")
                name = f"{column}, group {at}" if label is None else f"{column} {label}"
                found.append(
                    (mine - theirs, (name, number(group.get("holdout_rows"), 9), decimals(mine), decimals(theirs)))
                )
        small = segment.get("small_groups")
        if isinstance(small, int) and small:
            pooled.append(f"{column}: {number(small, 9)}")
    found.sort(key=lambda one: -one[0])
    if found:
        yield "<h3>Where the rows are weakest</h3>"
        caption = (
            "Groups that are imitated worst, by the mean distance of their columns. Check these before you use them."
        )
        yield table(caption, ("group", "real rows", "these rows", "real rows, other"), [r for _, r in found[:WEAKEST]])
    if pooled:
        yield paragraph(f"Groups too small to be measured one by one: {text('; '.join(pooled))}.")


def _advice(private: bool) -> str:
    noise = (
        "Every figure from these rows carries the noise that protects, on top of sampling: a difference as small as "
        "the distances above is none."
        if private
        else "A figure from these rows is that of a model, not of the real data: a difference as small as the "
        "distances above is none."
    )
    return "<h3>Before you rely on it</h3>" + bullets(
        [
            (
                "Weights.",
                "All rows count the same, and how many there are was chosen. Use shares, not totals; for totals "
                "multiply with sums that you know from elsewhere.",
            ),
            (
                "Small groups.",
                "Leave out, or join, groups of a few hundred rows or fewer, and don't look for outliers.",
            ),
            ("Differences.", noise),
            (
                "Rules.",
                "Relations of many columns at once and rules between columns are learnt in part only: check those that "
                "your model needs.",
            ),
            (
                "The last test is on real rows.",
                "Tune on these rows, then have the final model tested on real ones by those who may.",
            ),
            ("Which version.", "A version never changes: name it in what you train."),
        ]
    )


def _limits(said: str) -> tuple[str, ...]:
    return ("<h3>Limits, as on the card</h3>", paragraph(text(said))) if said and said != NONE else ()


def _items(facts: Facts | None, name: str) -> Sequence[Facts]:
    found = facts.get(name) if isinstance(facts, Mapping) else None
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list | tuple) else []
