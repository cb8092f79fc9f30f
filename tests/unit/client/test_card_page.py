from __future__ import annotations

import re
from typing import Any

import pytest
from tests.support.cards import (
    COUNTED,
    EVIDENCE,
    GUARANTEE,
    UTILITY,
    CardRelease,
    Page,
    aggregate_release,
    inner_card,
    plain_release,
    private_release,
)

from cloakhouse.client.card import Standing, dataset_card
from cloakhouse.client.card_page import card_page
from cloakhouse.errors import ContractError
from cloakhouse.report.charts import BAR_ROOM, bars_chart

HOSTILE = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"
RELEASES = {"private": private_release, "plain": plain_release, "aggregate": aggregate_release}


def page_of(release: Any, evidence: Any = EVIDENCE, standing: Standing | None = None) -> str:
    return card_page(dataset_card(release, evidence, standing))


def shown(release: Any, evidence: Any = EVIDENCE, standing: Standing | None = None) -> str:
    return re.sub(r"\s+", " ", Page(page_of(release, evidence, standing)).shown)


@pytest.mark.parametrize("kind", RELEASES)
def test_the_page_stands_alone_is_well_formed_and_readable_by_ear(kind: str) -> None:
    page = page_of(RELEASES[kind](), standing=Standing())
    read = Page(page)
    ids = [value for name, value in read.attributes if name == "id"]
    assert page.startswith("<!DOCTYPE html>")
    assert ("lang", "en") in read.attributes
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert not [name for name, _ in read.attributes if name in ("src", "href", "xlink:href") or name.startswith("on")]
    assert "url(" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert len(ids) == len(set(ids))
    named = [value.split() for name, value in read.attributes if name == "aria-labelledby"]
    assert all(one in ids for several in named for one in several)
    assert read.tags.count("h1") == 1
    assert read.tags.count("svg") == read.tags.count("desc")
    assert read.tags.count("caption") == read.tags.count("table")
    assert [value for name, value in read.attributes if (name, value) == ("scope", "col")]


def test_its_sections_answer_a_model_team_in_order() -> None:
    text = shown(plain_release())
    asked = ["May I use it?", "How good is it?", "How private is it?", "What is in it?", "Where does it come from?"]
    places = [text.index(question) for question in (*asked, "How do I open it?")]
    assert places == sorted(places)
    assert "Use it for analytics. Yes: this is its purpose." in text
    assert "Ask retail-data first" in text
    assert "It is kept 365 days." in text
    assert 'cloakhouse.connect().dataset("baskets_synthetic@3").to_arrow()' in text
    assert "version 1.2.0, digest c3c3c3c3c3c3c3c3" in text
    assert "dag: publish_baskets_private; run: manual__1" in text
    assert "transactions22016-12-262017-01-02" in text


def test_a_release_without_a_guarantee_has_charts_of_distances_and_tasks() -> None:
    page = page_of(plain_release())
    text = shown(plain_release())
    assert page.count("<svg") == 2
    assert "single columns: 0.123 against 0.046; pairs of columns: 0.234 against 0.087" in text
    assert "distance, single columns0.1230.046" in text
    assert "triples" not in text  # none was tested
    assert "big0.8710.9680.097" in text
    assert "odd–––" in text
    assert "SDMetrics' quality report gives 0.846" in text
    assert "Not differentially private: there is no bound" in text
    assert "Pass it on as anonymous. No." in text
    assert "2 of 2 figures within their thresholds." in text
    assert "exact copies: excess0.004320.01" in text
    assert "hold-out units" not in text  # at least, not at most


def test_a_release_under_a_guarantee_shows_its_curve_and_no_figure_of_real_rows() -> None:
    page = page_of(private_release())
    text = shown(private_release())
    assert not [figure for figure in COUNTED if figure in text]
    assert page.count("<svg") == 1
    assert "this release, ε = 3" in text
    assert "outside of the guarantee" in text
    assert "eε = 20.1" in text
    assert "Pass it on as anonymous" not in text


def test_an_aggregate_shows_the_scale_of_its_noise() -> None:
    text = shown(aggregate_release())
    assert "standard error of each figure38.5" in text
    assert "Add up cells. No." in text
    assert "askedsum of value by week" in text
    assert "It is kept 30 days." in text


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (Standing("withdrawn", "the suite had a fault"), "This version is withdrawn. the suite had a fault"),
        (Standing(tags=("deprecated",)), "This version is deprecated. Take a newer one."),
    ],
)
def test_what_a_reader_must_not_miss_stands_above(standing: Standing, said: str) -> None:
    text = shown(plain_release(), standing=standing)
    assert text.index(said) < text.index("May I use it?")
    assert "This version is" not in shown(plain_release(), standing=Standing(tags=("certified",)))
    assert "statenot told" in shown(plain_release())


@pytest.mark.parametrize("evidence", [None, {"utility": {**UTILITY, "marginals": [], "tasks": []}}])
def test_figures_that_were_not_measured_are_not_drawn(evidence: Any) -> None:
    assert "<svg" not in page_of(plain_release(), evidence)


def test_tasks_without_a_figure_have_a_table_and_no_chart() -> None:
    evidence = {"utility": {**UTILITY, "tasks": [{"name": "odd"}], "quality_report": {}}}
    page = page_of(plain_release(), evidence)
    assert page.count("<svg") == 1
    assert "odd" in page
    assert "SDMetrics" not in page


def test_a_guarantee_without_a_curve_says_so() -> None:
    release = CardRelease(inner_card(GUARANTEE, curve=[]))
    assert "No curve was measured" in shown(release)


def test_a_curve_without_usable_numbers_is_refused() -> None:
    bad = CardRelease(inner_card(GUARANTEE, curve=[{"epsilon": 1.0, "tvd": 7.0}, {"epsilon": 2.0, "tvd": 0.1}]))
    with pytest.raises(ContractError):
        page_of(bad)


def test_a_card_that_says_little_makes_a_page_all_the_same() -> None:
    bare = CardRelease({"privacy": {"guarantee": "none"}}, parents={}, run={}, code={}, columns=())
    text = shown(bare, None)
    assert "No figures of its utility may be shown" in text
    assert "outside of Airflow" in text
    assert "No limits are stated." in text
    assert "What the release had to pass" not in text


def test_hostile_texts_stay_texts() -> None:
    hostile = inner_card(title=HOSTILE, owner=HOSTILE, purpose=HOSTILE, limits=HOSTILE, legal_basis=HOSTILE)
    hostile["provenance"] = {"engine": HOSTILE, "library": HOSTILE, "query": HOSTILE}
    column = {"name": HOSTILE, "type": HOSTILE, "class": HOSTILE}
    release = CardRelease(
        hostile, columns=(column,), run={HOSTILE: HOSTILE}, parents={HOSTILE: [{"partition": HOSTILE}]}
    )
    evidence = {"utility": {**UTILITY, "tasks": [{**UTILITY["tasks"][0], "name": HOSTILE}]}}  # type: ignore[index]
    page = page_of(release, evidence, Standing("withdrawn", HOSTILE, (HOSTILE,)))
    assert "<script" not in page
    assert "<img" not in page
    assert HOSTILE in Page(page).shown


def test_bars_are_as_long_as_their_figures_and_begin_where_told() -> None:
    chart = bars_chart("c", "t", [("a", 0.75, 1.0), ("b", None, 0.4)], ("one", "two"), "about", start=0.5)
    widths = [float(width) for width in re.findall(r'x="0" y="[\d.]+" width="([\d.]+)" height="10"', chart)]
    assert widths == [10.0, BAR_ROOM / 2, BAR_ROOM, 0.0, 0.0]  # the legend's first, then a, then b
    assert chart.count(">–<") == 1
    assert "nan" not in bars_chart("c", "t", [], ("one", "two"), "about")
