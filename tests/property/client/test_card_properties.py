"""Cards of any release: JSON, never a figure of real rows under a guarantee, pages without markup of their own."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cards import GUARANTEE, CardRelease, File, Page, inner_card

from cloakhouse.client.card import dataset_card
from cloakhouse.client.card_page import card_page
from cloakhouse.client.croissant import croissant

TEXTS = st.text(st.sampled_from("<>&\"'/ab=\x00\u202e"), min_size=1, max_size=12)
SECRET = 0.617283945
PATHS = st.from_regex(r"synthetic/d/[0-9a-f]{2}/part-[0-9]{5}\.parquet", fullmatch=True)
NUMBERS = st.none() | st.floats(allow_nan=True)
COUNTED = st.recursive(
    st.just(SECRET), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=4
)


@settings(max_examples=25, deadline=None)
@given(
    utility=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("marginals", "correlations", "quality_report", "tasks", "rows"), COUNTED)
    ),
    epsilon=st.floats(1e-3, 1e3),
)
def test_no_evidence_whatever_reaches_the_card_of_a_release_under_a_guarantee(utility: Any, epsilon: float) -> None:
    release = CardRelease(inner_card(GUARANTEE | {"epsilon": epsilon}))
    evidence = {"utility": utility, "gate": [{"name": "x", "value": SECRET}]}
    assert dataset_card(release, evidence) == dataset_card(release, None)
    assert croissant(release, evidence) == croissant(release, None)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(TEXTS, min_size=5, max_size=5), figures=st.lists(NUMBERS, min_size=4, max_size=4))
def test_any_texts_and_figures_make_json_and_a_page_without_markup_of_their_own(
    texts: list[str], figures: list[float | None]
) -> None:
    mean, other, auc, real = figures
    evidence = {
        "utility": {
            "marginals": [{"order": 1, "mean": mean, "holdout_mean": other}],
            "tasks": [{"name": "t", "synthetic_auc": auc, "training_auc": real}],
        }
    }

    def made(title: str, owner: str, purpose: str, limits: str, column: str) -> dict[str, Any]:
        card = inner_card(title=title, owner=owner, purpose=purpose, limits=limits)
        release = CardRelease(card, columns=({"name": column, "type": "string", "class": "plain"},))
        json.dumps(croissant(release, evidence), allow_nan=False)
        return dataset_card(release, evidence)

    found, plain = card_page(made(*texts)), card_page(made("t", "o", "p", "l", "c"))
    Page(found)
    json.dumps(made(*texts), allow_nan=False)
    assert (found.count("<"), found.count(">")) == (plain.count("<"), plain.count(">"))
    assert "nan" not in plain.lower().replace("governance", "")


@settings(max_examples=25, deadline=None)
@given(paths=st.lists(PATHS, unique=True, max_size=6))
def test_every_file_is_named_once_and_lies_in_an_included_folder(paths: list[str]) -> None:
    release = CardRelease(inner_card(), dataset="d", files=tuple(map(File, paths)))
    *files, everything = croissant(release, None)["distribution"]
    included = everything["includes"]
    folders = [included] if isinstance(included, str) else included
    assert [file["contentUrl"] for file in files] == paths
    assert {path.rpartition("/")[0] + "/*.parquet" for path in paths} <= set(folders)
