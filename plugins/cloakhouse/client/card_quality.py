"""The section of a card's page on how good the dataset is: charts, and the same figures in tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloakhouse.client.card_figures import NOISE, REAL, RELEASED
from cloakhouse.client.epsilon_curve import CurvePoint, curve_section
from cloakhouse.client.epsilon_promise import Promise
from cloakhouse.client.epsilon_use import ORDERS
from cloakhouse.report.charts import Bar, bars_chart
from cloakhouse.report.parts import NONE, bullets, decimals, facts, number, paragraph, section, table, text

Facts = Mapping[str, Any]
NAME, TITLE = "good", "How good is it?"
SIDES = ("these rows", "other real rows")


def quality_section(card: Facts, promise: Promise | None) -> str:
    """Return the section or sections as HTML. Raises ContractError for a curve that holds no usable number."""
    figures = card["utility"]
    measured = figures["measured_on"]
    checks = _checks(card)
    if measured == REAL:
        return section(NAME, TITLE, checks, *_distances(figures), *_tasks(figures))
    if measured == NOISE:
        return section(NAME, TITLE, checks, *_noise(figures))
    if measured == RELEASED and promise is not None:
        points = [CurvePoint(float(point["epsilon"]), float(point["tvd"])) for point in figures["curve"]]
        said = section(
            NAME,
            TITLE,
            checks,
            paragraph(text(figures["withheld"])),
            bullets(
                [
                    ("Closest:", "single columns, and the relations that were measured with noise."),
                    ("Weaker:", "relations of many columns at once; rules between columns are learnt in part only."),
                    ("Weakest:", f"what few {text(promise.unit)}s have in common: the noise hides it."),
                ]
            ),
        )
        return said + "\n" + curve_section(promise.epsilon, None, points)
    return section(NAME, TITLE, checks, paragraph("No figures of its utility may be shown, or none were measured."))


def _checks(card: Facts) -> str:
    quality = card.get("quality") or {}
    checks, suite = quality.get("checks", NONE), quality.get("suite", "its suite")
    return paragraph(
        f"{text(checks)} checks of {text(suite)} " + ("passed." if quality.get("passed") else "did not pass.")
    )


def _distances(figures: Facts) -> list[str]:
    bars: list[Bar] = [
        (ORDERS[item["order"]], item["mean"], item["holdout_mean"])
        for item in figures["marginals"]
        if item["order"] in ORDERS and item["mean"] is not None
    ]
    correlations, quality = figures["correlations"], figures["quality_report"]
    if not bars:
        return []
    rows = [(f"distance, {label}", decimals(mine), decimals(other)) for label, mine, other in bars]
    rows.append(("error of correlations", decimals(correlations["error"]), decimals(correlations["holdout_error"])))
    told = "; ".join(f"{label}: {decimals(mine)} against {decimals(other)}" for label, mine, other in bars)
    report = (
        paragraph(
            f"SDMetrics' quality report gives {decimals(quality['score'])} (1 is best): "
            f"{decimals(quality['column_shapes'])} for columns, {decimals(quality['column_pair_trends'])} for pairs."
        )
        if quality["score"] is not None
        else ""
    )
    return [
        "<h3>How close the rows are</h3>",
        paragraph(
            "Total variation distance from the real rows that the engine saw: 0 is equal, 1 has nothing in common. "
            "Other real rows, which it did not see, show what sampling alone does."
        ),
        f"<figure>{bars_chart('distance', 'distance (lower is better)', bars, SIDES, told)}</figure>",
        table("The same in figures", ("measure", *SIDES), rows),
        report,
    ]


def _tasks(figures: Facts) -> list[str]:
    tasks = figures["tasks"]
    if not tasks:
        return []
    bars: list[Bar] = [
        (str(task["name"]), task["synthetic_auc"], task["training_auc"])
        for task in tasks
        if task["synthetic_auc"] is not None and task["training_auc"] is not None
    ]
    names = ("trained on these rows", "trained on real rows")
    told = "; ".join(f"{label}: {decimals(mine)} against {decimals(other)}" for label, mine, other in bars)
    chart = (
        f"<figure>{bars_chart('auc', 'AUC on unseen real rows, from 0.5 on', bars, names, told, start=0.5)}</figure>"
        if bars
        else ""
    )
    keys = ("synthetic_auc", "training_auc", "loss")
    rows = [(str(task["name"]), *(decimals(task[key]) for key in keys)) for task in tasks]
    caption = "AUC on real rows that neither model has seen; 0.5 is guessing, 1 is perfect. – : can't be told."
    return ["<h3>What a model loses</h3>", chart, table(caption, ("task", *names, "loss"), rows)]


def _noise(figures: Facts) -> list[str]:
    error = figures["expected_relative_error"]
    return [
        facts(
            [
                ("standard error of each figure", number(figures["standard_error"]), "big"),
                ("expected relative error", number(error), "big"),
                ("norm to which units are clipped", number(figures["clip_norm"], 6), "wide"),
            ]
        ),
        paragraph("The scale of the noise is public. In 95 of 100 cells low to high holds the figure without noise."),
    ]
