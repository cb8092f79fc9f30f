"""The page that explains to a model team what the epsilon of their dataset means.

One HTML page without script or anything from outside. It shows what the card, the utility evidence and the curve say,
all of it escaped; a dataset without differential privacy gets a page that says so and has no curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from cloakhouse.client.epsilon_curve import CurvePoint, curve_section
from cloakhouse.client.epsilon_promise import Promise, conclusions, limits, summary, who
from cloakhouse.client.epsilon_use import use
from cloakhouse.report.charts import account_chart
from cloakhouse.report.parts import (
    bullets,
    document,
    facts,
    number,
    paragraph,
    section,
    table,
    text,
)

__all__ = ["CurvePoint", "epsilon_page"]
Facts = Mapping[str, Any]


def epsilon_page(card: Facts, utility: Facts | None, curve: Sequence[CurvePoint]) -> str:
    """Return the page as HTML.

    `card` is the dataset card, `utility` what `Utility.as_dict` gives, `curve` was measured on the published rows.
    Raises ContractError when the card's guarantee or a point of the curve holds no usable number.
    """
    privacy = _mapping(card.get("privacy"))
    promise = Promise.of(privacy)
    title, purpose = str(card.get("title") or "Synthetic dataset"), str(card.get("purpose") or "")
    said = str(card.get("limits") or "")
    head = [
        '<p class="kicker">What the epsilon of this dataset means</p>',
        f"<h1>{text(title)}</h1>",
        paragraph(text(purpose), kind="purpose") if purpose else "",
    ]
    if promise is None:
        body = [*_without(card, privacy), use(utility, False, said)]
    else:
        body = [
            summary(promise),
            who(promise),
            conclusions(promise),
            limits(promise),
            _account(promise, card.get("account")),
            curve_section(promise.epsilon, utility, curve),
            use(utility, True, said),
        ]
    return document(f"{title}: what its epsilon means", *head, *body, _making(card, privacy))


def _without(card: Facts, privacy: Facts) -> list[str]:
    unit = text(privacy.get("unit_of_privacy") or "unit")
    gate = (
        [g for g in privacy.get("gate", ()) if isinstance(g, Mapping)] if isinstance(privacy.get("gate"), list) else []
    )
    figures = [(str(g.get("name")), number(g.get("value")), number(g.get("threshold"))) for g in gate]
    return [
        facts([("epsilon", "none", "big"), ("unit of privacy", str(privacy.get("unit_of_privacy") or "–"), "")]),
        paragraph(
            "<strong>This dataset is not differentially private.</strong> It has no epsilon: there is no bound on what "
            f"its rows may reveal about a {unit}.",
            kind="lead warn",
        ),
        section(
            "means",
            "What that means",
            bullets(
                [
                    (
                        "Treat it as confidential.",
                        "Use it for the purpose on its card, and don't pass it on as anonymous.",
                    ),
                    (
                        "Tests found no leak that they look for.",
                        f"Before the release it was attacked, and compared with a hold-out of {unit}s that the engine "
                        "never saw. Such tests bound only the leaks they test for; other leaks are possible.",
                    ),
                    (
                        "No curve.",
                        "Utility against epsilon can't be drawn, as the engine adds no noise that could be turned up.",
                    ),
                ]
            ),
            table("What the release was tested for", ("figure", "value", "limit"), figures) if figures else "",
        ),
    ]


def _account(promise: Promise, account: object) -> str:
    if not isinstance(account, Mapping):
        return section("account", "The account", paragraph("The card doesn't say what is left of the budget."))
    spent, left = (_amount(account.get(name)) for name in ("spent_epsilon", "left_epsilon"))
    consumer, renews = text(account.get("consumer") or "its consumer"), account.get("renews")
    parts = [
        paragraph(
            f"This release was made at ε = {number(promise.epsilon)}, from the budget of <strong>{consumer}</strong>.",
            f"On that account ε = {number(spent)} is spent and ε = {number(left)} is left"
            + (f"; it renews: {text(renews)}." if renews else "; it does not say that it renews."),
            "When it is used up, requests are refused; none is answered with a weaker promise.",
        )
    ]
    if spent is not None and left is not None and spent + left > 0:
        parts.append(f"<figure>{account_chart('spent', spent, left)}</figure>")
    if promise.rho is not None:
        parts.append(
            paragraph(
                "The account adds up ρ (zero-concentrated differential privacy), and ε follows from the sum. So two "
                "releases cost less together than their epsilons added.",
            )
        )
    return section("account", "The account", *parts)


def _making(card: Facts, privacy: Facts) -> str:
    provenance, parameters = _mapping(card.get("provenance")), _mapping(privacy.get("parameters"))
    sources = provenance.get("sources")
    rows = [("engine", str(provenance.get("engine") or "–"))]
    if isinstance(sources, Mapping | list | tuple) and sources:
        rows.append(("made from", ", ".join(str(name) for name in sources)))
    rows += [(str(name), _shown(value)) for name, value in parameters.items()]
    told = "; ".join(f"{text(name)}: {text(value)}" for name, value in rows)
    return f'<p class="foot">How it was made. {told}.</p>'


def _shown(value: object) -> str:
    return number(value, 6) if isinstance(value, float) else str(value)


def _amount(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        return None
    return float(value)


def _mapping(value: object) -> Facts:
    return value if isinstance(value, Mapping) else {}
