"""What (epsilon, delta) of a release promises, and what it doesn't, in words for the people who use the rows.

Sources: Dwork & Roth 2014, doi:10.1561/0400000042, section 2.3 (what the definition promises, groups); Kairouz, Oh,
Viswanath 2015, arXiv 1311.0776, theorem 2.1 (right accusations of present units are at most e^epsilon times the wrong
ones of absent units, plus delta); NIST SP 800-226, section 2 (units, neighbouring relations).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any

from cloakhouse.errors import ContractError
from cloakhouse.report.charts import bounds_chart, posterior
from cloakhouse.report.parts import bullets, facts, number, paragraph, percent, section, table, text

PRIORS = (0.001, 0.01, 0.1, 0.5, 0.9)
RARE = 0.001  # share of absent units that an attacker accuses, for an example
LOOSE = 5.0  # epsilon from which a guess of one half may become a certainty of more than 99 %
SWAPPED = ("replac", "substitut", "swap", "exchang", "chang")


@dataclass(frozen=True)
class Promise:
    """The guarantee of a card, checked.

    Attributes:
        epsilon, delta: above 0; 0 to less than 1.
        rho: of zero-concentrated differential privacy, or None.
        unit, neighbours, mechanism: as the card has them.
    """

    epsilon: float
    delta: float
    rho: float | None
    unit: str
    neighbours: str
    mechanism: str

    @classmethod
    def of(cls, privacy: Mapping[str, Any]) -> Promise | None:
        """Return the promise of a card's `privacy`; None when it says in words that there is none. Raises
        ContractError for an epsilon or delta that can't be one."""
        guarantee = privacy.get("guarantee")
        if isinstance(guarantee, str):
            return None
        told: Mapping[str, Any] = guarantee if isinstance(guarantee, Mapping) else {}
        epsilon, delta, rho = (_float(told.get(name)) for name in ("epsilon", "delta", "rho"))
        if epsilon is None or delta is None or epsilon <= 0 or not 0 <= delta < 1:
            raise ContractError(
                where="the guarantee of a dataset card",
                expected="an epsilon above 0 and a delta from 0 to less than 1, both finite; or words that say: none",
                found="something else",
                not_done="no page was written",
                remedy="publish the dataset again; report this if it stays",
            )
        unit = str(told.get("unit") or privacy.get("unit_of_privacy") or "unit of privacy")
        neighbours = str(told.get("neighbours") or "not stated on the card")
        return cls(epsilon, delta, rho, unit, neighbours, str(told.get("mechanism") or "not stated on the card"))

    @property
    def factor(self) -> str:
        """e^epsilon, rounded up, as text."""
        return factor(self.epsilon)

    @property
    def chance(self) -> str:
        """delta as one in so many, as text."""
        return "0" if not self.delta else f"1 in {number(1 / self.delta, 2)}"


def factor(epsilon: float) -> str:
    """Return e^epsilon as text."""
    return number(exp(epsilon)) if epsilon < 14 else "more than a million"


def summary(promise: Promise) -> str:
    """Return the figures of the promise and the sentence that they stand for."""
    unit = text(promise.unit)
    figures = [
        ("epsilon", number(promise.epsilon), "big"),
        ("delta", promise.chance, "big"),
        ("unit of privacy", promise.unit, ""),
        ("rho (zCDP)", number(promise.rho), "")
        if promise.rho is not None
        else ("delta in figures", number(promise.delta), ""),
        ("neighbouring data", promise.neighbours, "wide"),
        ("mechanism", promise.mechanism, "wide"),
    ]
    said = (
        f"Whether any one {unit} is in the real data or not changes the probability of anything that these rows can "
        f"show by a factor of at most <strong>e<sup>ε</sup> = {promise.factor}</strong>"
        + (f", but for a remainder of probability {promise.chance}." if promise.delta else ".")
    )
    return facts(figures) + paragraph(said, kind="lead")


def who(promise: Promise) -> str:
    """Return the section on unit and neighbours."""
    unit = text(promise.unit)
    return section(
        "who",
        "Who is protected",
        paragraph(
            f"The unit of privacy is the <strong>{unit}</strong>: all rows of one {unit} together, over the whole "
            "dataset, and not a single row or a single purchase.",
            f"The promise compares two sets of real data that are neighbours: {text(promise.neighbours)}.",
        ),
        paragraph(
            "It holds whatever else an attacker knows or will learn, whatever machines there are, and whatever is done "
            "with the rows afterwards: models trained on them, tables made from them and copies of them keep it and "
            "cost nothing more.",
        ),
    )


def conclusions(promise: Promise) -> str:
    """Return the section on what an attacker can conclude: table, chart, and what delta adds."""
    unit, epsilon = text(promise.unit), promise.epsilon
    rows = [
        (
            f"{number(100 * p)}\u00a0%",
            percent(posterior(p, -epsilon), up=False),
            percent(posterior(p, epsilon), up=True),
        )
        for p in PRIORS
    ]
    caption = f"What an attacker may believe before and after he has seen all synthetic rows, at ε = {number(epsilon)}"
    parts = [
        paragraph(
            f"Think of somebody who knows the real rows of every other {unit}, how this dataset was made, and what the "
            f"one {unit} that he is after bought. He wonders whether it is in the data, and has some belief before he "
            "looks. Afterwards his belief lies between these two (delta comes below).",
        ),
        table(caption, ("before", "after, at least", "after, at most"), rows),
        f"<figure>{bounds_chart('bounds', epsilon)}<figcaption>From a belief p the most that can become is "
        "p·e<sup>ε</sup> / (p·e<sup>ε</sup> + 1 − p), the least the same with −ε. On the dashed line nothing is learnt."
        "</figcaption></figure>",
        paragraph(*_swapping(promise)),
    ]
    if epsilon >= LOOSE:
        parts.append(
            paragraph(
                f"<strong>This is a loose bound.</strong> At ε = {number(epsilon)} a guess of one half may become a "
                "near certainty without breaking the promise. What protects beyond that is shown by the attacks in the "
                "evidence, not by epsilon.",
                kind="lead warn",
            )
        )
    return section("conclude", "What an attacker can conclude", *parts, *_remainder(promise))


def _swapping(promise: Promise) -> tuple[str, ...]:
    unit = text(promise.unit)
    if any(word in promise.neighbours.lower() for word in SWAPPED):
        return (
            f"Neighbours differ in what the {unit} did, so the same bound holds for the question which of two "
            f"histories a {unit} has.",
        )
    doubled = 2 * promise.epsilon
    return (
        f"Another question is which of two histories a {unit} has that is surely in the data: bought this, or that. "
        f"The way from one to the other leads over its absence, so there the bound is that of 2ε = {number(doubled)}: "
        f"a belief of 1 % may become {percent(posterior(0.01, doubled), up=True)} at most.",
    )


def _remainder(promise: Promise) -> tuple[str, ...]:
    if not promise.delta:
        return (paragraph("Delta is 0: the bound has no exception."),)
    odds = f"{exp(promise.epsilon) + promise.delta / RARE:,.5f}" if promise.epsilon < 14 else promise.factor
    exact = f"{exp(promise.epsilon):,.5f}" if promise.epsilon < 14 else promise.factor
    return (
        paragraph(
            "<strong>And delta?</strong> An attacker who wrongly accuses a share f of those that are not in the data "
            "is right about those that are in at most e<sup>ε</sup>·f + δ of the cases. So in the bound above "
            f"e<sup>ε</sup> becomes e<sup>ε</sup> + δ/f: at one wrong accusation in a thousand it is {odds} instead of "
            f"{exact}. About accusations as rare as δ, {promise.chance}, nothing is promised.",
        ),
    )


def limits(promise: Promise) -> str:
    """Return the section on what is not promised."""
    unit = text(promise.unit)
    two = factor(2 * promise.epsilon)
    return section(
        "not",
        "What it does not promise",
        bullets(
            [
                (
                    "What holds for many may be concluded about one.",
                    f"That people who buy this also buy that is what the rows are for. It can be said of any {unit}, "
                    "also of one that was never in the data; leaving one out doesn't change it.",
                ),
                (
                    "Groups are protected less than one.",
                    f"For k of them together the bound is that of k·ε: for two it is a factor of {two}, and delta "
                    "grows, too. A village, a company or a family in several accounts is a group.",
                ),
                (
                    "No row is right.",
                    "Rows are drawn from a model of noisy counts. None is somebody's; some can't exist; one may equal "
                    "a real row by chance.",
                ),
                (
                    "Small segments are mostly noise.",
                    "The noise is made to hide a few. It also hides what is true of a few.",
                ),
                (
                    "Other releases add up.",
                    "This is the price of this dataset alone. What others from the same data spend comes on top; "
                    "the account keeps the sum.",
                ),
                (
                    "Checks on the real data are not covered.",
                    "The figures of quality and risk in the evidence, also those below, were measured on real rows "
                    "without noise. They are figures over many rows, and outside of epsilon.",
                ),
            ]
        ),
    )


def _float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)
