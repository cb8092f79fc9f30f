"""The page about epsilon: figures worked out by hand, what a release without a guarantee gets, and hostile texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from math import exp, inf, log, nan
from typing import Any

import pytest

from cloakhouse.client.epsilon_page import CurvePoint, epsilon_page
from cloakhouse.errors import ContractError
from cloakhouse.report.charts import between, curve_chart, posterior
from cloakhouse.report.parts import decimals, number, percent

HOSTILE = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"
VOID = {"meta", "link", "img", "br", "hr", "input"}
GUARANTEE = {
    "epsilon": 3.0,
    "delta": 1e-6,
    "rho": 0.1386,
    "unit": "household",
    "neighbours": "the rows of one household are added or removed",
    "mechanism": "discrete Gaussian noise on marginals",
}
CARD = {
    "title": "Synthetic baskets",
    "purpose": "model training",
    "privacy": {"unit_of_privacy": "household", "guarantee": GUARANTEE, "parameters": {"max_rows": 20, "share": 0.1}},
    "provenance": {"engine": "dp-marginals", "sources": {"transactions": 53}},
    "account": {"consumer": "basket models", "spent_epsilon": 3.0, "left_epsilon": 5.0, "renews": "2027-01-01"},
    "quality": {},
    "limits": "Rows are sampled, not copied.",
}
CURVE = [CurvePoint(8, 0.09, 0.84), CurvePoint(0.3, 0.29, 0.62), CurvePoint(3, 0.11, 0.82)]
UTILITY = {
    "marginals": [
        {"order": 1, "mean": 0.05, "holdout_mean": 0.03},
        {"order": 2, "mean": 0.1135, "holdout_mean": 0.055},
        {"order": 3, "mean": None, "holdout_mean": None},
    ],
    "correlations": {"error": 0.02, "holdout_error": 0.01},
    "tasks": [{"name": "big", "synthetic_auc": 0.82, "training_auc": 0.9, "loss": 0.08}, {"name": "odd", "loss": None}],
    "segments": [
        {
            "column": "age",
            "groups": [
                {"label": "65+", "holdout_rows": 61, "tvd": 0.4, "holdout_tvd": 0.1},
                {"label": "25-34", "holdout_rows": 4200, "tvd": 0.12, "holdout_tvd": 0.1},
                {"label": None, "holdout_rows": 5000, "tvd": 0.2, "holdout_tvd": 0.1},
                {"label": "19-24", "holdout_rows": 70, "tvd": None, "holdout_tvd": None},
            ],
            "small_groups": 4,
        }
    ],
}


class Reader(HTMLParser):
    """Reads a page strictly: every tag is closed in order. Keeps tags, ids, references and the text that is shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.shown = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.shown += data


def with_guarantee(**changes: Any) -> dict[str, Any]:
    return {**CARD, "privacy": {**CARD["privacy"], "guarantee": {**GUARANTEE, **changes}}}  # type: ignore[dict-item]


def shown(
    card: Mapping[str, Any], utility: Mapping[str, Any] | None = None, curve: list[CurvePoint] | None = None
) -> str:
    return re.sub(r"\s+", " ", Reader(epsilon_page(card, utility, curve or [])).shown)


def rounded(share: float, *, up: bool) -> str:
    """Return `percent` with a space that may break, as in `shown`."""
    return percent(share, up=up).replace("\u00a0", " ")


def test_the_page_stands_alone_and_is_well_formed() -> None:
    page = epsilon_page(CARD, UTILITY, CURVE)
    read = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert ("lang", "en") in read.attributes
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert not [
        value for name, value in read.attributes if name in ("src", "href", "xlink:href") or name.startswith("on")
    ]
    assert "url(" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_charts_have_titles_descriptions_and_a_table_beside() -> None:
    read = Reader(epsilon_page(CARD, UTILITY, CURVE))
    ids = [value for name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    named = [value.split() for name, value in read.attributes if name == "aria-labelledby"]
    assert all(one in ids for several in named for one in several)
    assert read.tags.count("svg") == read.tags.count("desc") == 4
    assert read.tags.count("title") == 4 + 1
    assert read.tags.count("caption") == read.tags.count("table") == 5
    assert read.tags.count("h1") == 1


def test_the_bounds_are_those_of_the_formula() -> None:
    text = shown(CARD)
    for prior in (0.001, 0.01, 0.1, 0.5, 0.9):
        most, least = (prior * f / (prior * f + 1 - prior) for f in (exp(3), exp(-3)))
        assert posterior(prior, 3) == pytest.approx(most, rel=1e-12)
        assert posterior(prior, -3) == pytest.approx(least, rel=1e-12)
        assert f"{rounded(least, up=False)}{rounded(most, up=True)}" in text
    assert "eε = 20.1" in text
    assert "1 in 1,000,000" in text
    assert f"it is {exp(3) + 1e-6 / 0.001:.5f} instead of {exp(3):.5f}" in text
    assert "2ε = 6" in text  # which of two histories: over the household's absence
    assert "factor of 403" in text  # two households together


def test_who_is_protected_and_what_is_not_promised() -> None:
    text = shown(CARD)
    assert "neighbours: the rows of one household are added or removed." in text
    for said in (
        "What holds for many",
        "Groups are protected less",
        "No row is right",
        "Small segments",
        "not covered",
    ):
        assert said in text
    assert "Rows are sampled, not copied." in text
    assert "max_rows: 20; share: 0.1." in text


def test_neighbours_by_replacement_need_no_second_bound() -> None:
    text = shown(with_guarantee(neighbours="one household is replaced by another"))
    assert "2ε" not in text
    assert "which of two histories" in text


def test_without_delta_there_is_no_exception_and_without_rho_delta_is_shown_in_figures() -> None:
    text = shown(with_guarantee(delta=0.0, rho=None))
    assert "Delta is 0: the bound has no exception." in text
    assert "but for a remainder" not in text
    assert "rho" not in text
    assert "The account adds up ρ" not in text


def test_a_large_epsilon_is_called_loose() -> None:
    assert "This is a loose bound." not in shown(CARD)
    for epsilon, ends in ((5.0, "5.7 %99.93 %"), (20.0, "under 0.01 %100 %"), (1e5, "0 %100 %")):
        text = shown(with_guarantee(epsilon=epsilon))
        assert "This is a loose bound." in text
        assert f"90 %{ends}" in text
    assert "eε = more than a million" in shown(with_guarantee(epsilon=1e5))


def test_the_account() -> None:
    text = shown(CARD)
    assert (
        "from the budget of basket models. On that account ε = 3 is spent and ε = 5 is left; it renews: 2027-01-01."
        in text
    )
    assert "doesn't say what is left" in shown({**CARD, "account": None})
    odd = shown({**CARD, "account": {"spent_epsilon": nan, "left_epsilon": True}})
    assert "ε = – is spent and ε = – is left; it does not say that it renews." in odd


def test_the_curve_marks_the_release_and_says_what_it_was_measured_on() -> None:
    page = epsilon_page(CARD, UTILITY, CURVE)
    text = shown(CARD, UTILITY, CURVE)
    assert "The curve cost no budget." in text
    assert "published synthetic rows, as a stand-in for the real population" in text
    assert "it is post-processing" in text
    assert "distance of 0.114" in text or "distance of 0.113" in text
    assert page.count('class="release"') == 2
    assert re.search(r'<tr class="here"><th scope="row">3 \(this release\)</th><td class="n">0.110</td>', page)
    assert text.index("0.30.290") < text.index("3 (this release)") < text.index("80.090")  # ascending, as in the chart


def test_a_release_between_points_lies_on_the_line_and_outside_it_has_no_point() -> None:
    middle = exp((log(3) + log(8)) / 2)
    inside = epsilon_page(with_guarantee(epsilon=middle), None, CURVE)
    assert f'{number(middle)} (this release, between)</th><td class="n">0.100</td><td class="n">0.830</td>' in inside
    outside = epsilon_page(with_guarantee(epsilon=30.0), None, CURVE)
    assert outside.count('class="mark"') == 2
    assert 'class="release"' not in outside
    assert '30 (this release)</th><td class="n">–</td><td class="n">–</td>' in outside
    assert between([(1.0, 0.5), (1.0, 0.5)], 1.0) == 0.5
    assert between([(1.0, 0.5), (2.0, 0.5)], 3.0) is None


def test_a_curve_without_tasks_or_of_one_point() -> None:
    assert epsilon_page(CARD, None, [CurvePoint(1, 0.2), CurvePoint(3, 0.1)]).count("<svg") == 3
    assert "No curve was measured" in shown(CARD, None, [CurvePoint(1, 0.2)])
    assert "<svg" in curve_chart("c", "t", [(2.3, 0.5), (2.4, 0.5)], 2.35, "")  # no round number of epsilon in between
    assert "<svg" in curve_chart("c", "t", [(0.001, 0.5), (1000.0, 0.1)], 1.0, "")


def test_the_weakest_groups_and_what_models_lose() -> None:
    page, text = epsilon_page(CARD, UTILITY, CURVE), shown(CARD, UTILITY)
    assert page.index("age 65+") < page.index("age, group 3") < page.index("age 25-34")
    assert "age 19-24" not in page
    assert "Groups too small to be measured one by one: age: 4." in text
    assert "big0.8200.9000.080" in text
    assert "odd–––" in text
    assert "This release has no utility figures." in shown(CARD)


def test_without_a_guarantee_the_page_says_so_and_has_neither_curve_nor_bounds() -> None:
    gate = [{"name": "excess of exact copies", "value": 4.5e-5, "threshold": 0.01}]
    privacy = {"unit_of_privacy": "household", "guarantee": "none: not differentially private", "gate": gate}
    text = shown({**CARD, "privacy": privacy}, UTILITY, CURVE)
    assert "This dataset is not differentially private." in text
    assert "there is no bound on what its rows may reveal about a household" in text
    assert "<svg" not in epsilon_page({**CARD, "privacy": privacy}, UTILITY, CURVE)
    assert "after, at most" not in text
    assert "excess of exact copies4.5 × 10⁻⁵0.01" in text
    assert "epsilonnone" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon": 0},
        {"epsilon": -1},
        {"epsilon": nan},
        {"epsilon": inf},
        {"epsilon": "3"},
        {"epsilon": True},
        {"delta": 1},
        {"delta": -0.1},
        {"delta": None},
    ],
)
def test_a_guarantee_that_is_none_gets_no_page(changes: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        epsilon_page(with_guarantee(**changes), None, [])


def test_a_card_without_a_guarantee_at_all_gets_no_page() -> None:
    for card in ({}, {"privacy": {}}, {"privacy": {"guarantee": None}}, {"privacy": "none"}):
        with pytest.raises(ContractError):
            epsilon_page(card, None, [])


@pytest.mark.parametrize(
    "point", [CurvePoint(0, 0.1), CurvePoint(nan, 0.1), CurvePoint(1, 1.1), CurvePoint(1, 0.1, inf)]
)
def test_a_curve_with_a_point_that_is_none_is_refused(point: CurvePoint) -> None:
    with pytest.raises(ContractError):
        epsilon_page(CARD, None, [*CURVE, point])


def hostile(value: Any) -> Any:
    """Return `value` with every text in it, keys of parameters too, replaced by markup."""
    if isinstance(value, dict):
        return {key: hostile(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_texts_are_shown_as_texts() -> None:
    card = hostile(CARD)
    card["privacy"]["parameters"] = {HOSTILE: HOSTILE}
    card["provenance"]["sources"] = {HOSTILE: 1}
    plain = {**card, "privacy": {"unit_of_privacy": HOSTILE, "guarantee": HOSTILE, "gate": [{"name": HOSTILE}]}}
    for one in (card, plain):
        read = Reader(epsilon_page(one, hostile(UTILITY), CURVE))
        assert not {"script", "img"} & set(read.tags)
        assert not [name for name, _ in read.attributes if name.startswith("on")]
        assert HOSTILE in read.shown


def test_evidence_of_another_shape_is_left_out() -> None:
    for utility in ({}, {"marginals": 3, "tasks": None, "segments": [{"groups": "x"}]}, {"correlations": []}):
        assert "How to use the data" in shown(CARD, utility)


def test_numbers_are_rounded_to_the_safe_side() -> None:
    assert [rounded(p, up=True) for p in (0.0, 0.00001, 0.01, 0.16874, 0.9525, 0.99946, 0.999999, 1.0)] == [
        "0 %",
        "0.01 %",
        "1.0 %",
        "17 %",
        "95.3 %",
        "99.95 %",
        "100 %",
        "100 %",
    ]
    assert [rounded(p, up=False) for p in (0.00001, 0.01, 0.1687, 0.9525, 0.999999)] == [
        "under 0.01 %",
        "1.0 %",
        "16 %",
        "95.2 %",
        "99.99 %",
    ]
    assert [number(n) for n in (0, 3.0, 20.0855, 1234567, 1e-6, -0.5, nan, None, True, "3")] == [
        "0",
        "3",
        "20.1",
        "1,234,567",
        "1 × 10⁻⁶",
        "-0.5",
        "–",
        "–",
        "–",
        "–",
    ]
    assert (decimals(0.12345), decimals(None), decimals(inf)) == ("0.123", "–", "–")
