"""The section of a report on the guarantee and the privacy budget, and the curve of utility against epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloakhouse.report.charts import account_chart, bounds_chart, curve_chart
from cloakhouse.report.parts import number, paragraph, section, table, text

Facts = Mapping[str, Any]


def budget_section(privacy: Facts, contract: Facts) -> str:
    """Return the section as HTML."""
    promise, account = privacy["guarantee"], privacy["account"]
    if promise is None:
        return section(
            "budget",
            "What is guaranteed?",
            paragraph(
                "<strong>Nothing is guaranteed:</strong> the release is not differentially private. The attacks above "
                f"bound only the leaks that they look for, per {text(contract['unit_of_privacy'])}.",
                kind="lead warn",
            ),
        )
    rows = [
        ("epsilon", number(promise["epsilon"])),
        ("delta", number(promise["delta"])),
        ("rho (zCDP)", number(promise["rho"], 6)),
        ("unit of privacy", str(promise["unit"])),
        ("charged to", str(promise["consumer"])),
    ]
    parts = [
        paragraph(
            f"Differential privacy with epsilon <strong>{number(promise['epsilon'])}</strong> per "
            f"{text(promise['unit'])}. The band shows how far a belief about any one of them can move."
        ),
        f"<figure>{bounds_chart('belief', float(promise['epsilon']))}</figure>",
        table("The guarantee", ("what", "promised"), rows),
    ]
    spent, left = (account or {}).get("spent_epsilon"), (account or {}).get("left_epsilon")
    if account and spent is not None and left is not None and spent + left > 0:
        renews = f" It is renewed on {text(account['renews'])}." if account["renews"] else " It is never renewed."
        parts += [
            "<h3>The account after this release</h3>",
            f"<figure>{account_chart('account', float(spent), float(left))}</figure>",
            paragraph(
                f"Account of {text(account['consumer'])} on {text(account['dataset'])}: {number(spent)} spent, "
                f"{number(left)} left for one release that would use up the rest.{renews}"
            ),
        ]
    return section("budget", "What is guaranteed, and what did it cost?", *parts)


def curve_figure(privacy: Facts) -> str:
    """Return the drawing of utility against epsilon, empty where there is none to draw."""
    promise, points = privacy["guarantee"], privacy["curve"]
    drawn = sorted({point["epsilon"]: point["tvd"] for point in points if point["epsilon"] > 0}.items())
    if promise is None or len(drawn) < 2:
        return ""
    told = "; ".join(f"{tvd:.3f} at epsilon {number(epsilon)}" for epsilon, tvd in drawn)
    chart = curve_chart("curve", "mean distance of pairs (lower is better)", drawn, float(promise["epsilon"]), told)
    rows = [(number(epsilon), f"{tvd:.3f}") for epsilon, tvd in drawn]
    return (
        "<h3>What another epsilon would give</h3>"
        + paragraph("Measured on the published rows, which stand in for real ones, so that it cost no budget.")
        + f"<figure>{chart}</figure>"
        + table("The same in figures", ("epsilon", "mean distance of pairs"), rows)
    )
