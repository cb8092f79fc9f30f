"""The section of a report on how close the released rows are to the real ones: aggregates over many rows only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloakhouse.report.charts import Bar, bars_chart
from cloakhouse.report.parts import decimals, number, paragraph, section, table

Facts = Mapping[str, Any]
ORDERS = {1: "single columns", 2: "pairs of columns", 3: "triples of columns"}
SIDES = ("released rows", "other real rows")


def utility_section(found: Facts | None, curve: str) -> str:
    """Return the section as HTML; `curve` is added to it. Empty for an answer to a query."""
    if found is None:
        return ""
    bars: list[Bar] = [
        (ORDERS[item["order"]], item["mean"], item["holdout_mean"])
        for item in found["marginals"]
        if item["order"] in ORDERS and item["mean"] is not None
    ]
    told = "; ".join(f"{name}: {decimals(mine)} against {decimals(other)}" for name, mine, other in bars)
    return section(
        "utility",
        "How close are its rows to the real ones?",
        paragraph(
            "Total variation distance from the real rows that the engine saw: 0 is equal, 1 has nothing in common. "
            "Other real rows, which it never saw, show what sampling alone does."
        ),
        f"<figure>{bars_chart('distance', 'mean distance (lower is better)', bars, SIDES, told)}</figure>"
        if bars
        else "",
        _marginals(found),
        _rest(found),
        _tasks(found),
        _segments(found),
        curve,
    )


def _marginals(found: Facts) -> str:
    rows = [
        (
            ORDERS.get(item["order"], "other"),
            number(item["tested"], 6),
            *(decimals(item[key]) for key in ("mean", "holdout_mean", "worst", "holdout_at_worst")),
            ", ".join(item["worst_columns"]) or "–",
        )
        for item in found["marginals"]
    ]
    heads = ("marginals of", "tested", "mean", "other rows", "worst", "other rows", "worst in")
    return table("Distances", heads, rows) if rows else ""


def _rest(found: Facts) -> str:
    correlations, quality = found["correlations"], found["quality_report"]
    rows = [
        ("error of correlations", decimals(correlations["error"]), decimals(correlations["holdout_error"])),
        (
            "... of numbers (Pearson)",
            decimals(correlations["pearson_error"]),
            decimals(correlations["holdout_pearson_error"]),
        ),
        ("SDMetrics' quality report (1 is best)", decimals(quality["score"]), "–"),
    ]
    return table("Other measures", ("measure", *SIDES), rows)


def _tasks(found: Facts) -> str:
    keys = ("synthetic_auc", "training_auc", "loss", "loss_upper_bound")
    rows = [(str(task["name"]), *(decimals(task[key]) for key in keys)) for task in found["tasks"]]
    heads = ("task", "trained on released rows", "on real rows", "loss", "at most")
    return table("Models: area under the curve on unseen real rows (0.5 is guessing)", heads, rows) if rows else ""


def _segments(found: Facts) -> str:
    rows = [
        (
            str(item["column"] or "–"),
            number(item["groups"], 6),
            number(item["small_groups"], 6),
            decimals(item["worst_tvd"]),
            decimals(item["worst_excess"]),
        )
        for item in found["segments"]
    ]
    heads = ("groups by", "groups", "too small to tell", "worst distance", "worst beyond sampling")
    return table("Groups of rows, counted and not named", heads, rows) if rows else ""
