from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.cards import (
    COUNTED,
    EVIDENCE,
    GUARANTEE,
    CardRelease,
    aggregate_release,
    inner_card,
    plain_release,
    private_release,
)

from cloakhouse.client.card import Standing, dataset_card, licence, statement
from cloakhouse.client.card_figures import WITHHELD, is_private, utility_figures
from cloakhouse.errors import ContractError


def test_the_card_keeps_what_the_release_says_and_adds_what_names_it() -> None:
    release = plain_release()
    card = dataset_card(release, EVIDENCE, Standing(tags=("certified",)))
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert {key: card[key] for key in ("title", "owner", "purpose", "limits", "quality", "curve")} == {
        key: release.card[key] for key in ("title", "owner", "purpose", "limits", "quality", "curve")
    }
    assert card["privacy"]["gate"] == release.card["privacy"]["gate"]
    assert card["provenance"]["engine"] == "an engine"
    assert (card["name"], card["version"], card["zone"], card["rows"]) == ("baskets_synthetic", 3, "synthetic", 1_830)
    assert card["identifier"] == "urn:cloakhouse:dataset:baskets_synthetic:3"
    assert card["published"] == "2026-11-22T10:30:00Z"
    assert card["columns"][0] == {"name": "month", "type": "integer", "class": "indirect identifier"}
    assert card["standing"] == {"state": "published", "reason": "", "tags": ["certified"]}
    assert card["open"] == {
        "python": 'cloakhouse.connect().dataset("baskets_synthetic@3").to_arrow()',
        "command": "cloakhouse read baskets_synthetic@3",
    }


def test_provenance_names_contract_run_code_and_the_span_of_each_source() -> None:
    provenance = dataset_card(private_release(), None)["provenance"]
    assert provenance["contract"] == {"version": "1.2.0", "digest": "c3" * 32}
    assert provenance["run"] == {"dag": "publish_baskets_private", "run": "manual__1"}
    assert provenance["code"] == {"cloakhouse": "0.1.0"}
    assert provenance["partitions"] == {
        "transactions": {"count": 2, "first": "2016-12-26", "last": "2017-01-02"},
        "products": {"count": 1, "first": "2016-12-26", "last": "2016-12-26"},
    }
    none = dataset_card(private_release(parents={"transactions": []}), None)["provenance"]["partitions"]
    assert none == {"transactions": {"count": 0, "first": None, "last": None}}


def test_without_a_standing_none_is_told() -> None:
    assert dataset_card(plain_release(), None)["standing"] is None


def test_a_release_without_a_guarantee_shows_means_over_many_rows_and_no_group() -> None:
    utility = dataset_card(plain_release(), EVIDENCE)["utility"]
    assert utility["measured_on"] == "real rows"
    assert utility["marginals"][0] == {"order": 1, "tested": 8, "mean": 0.1231, "holdout_mean": 0.0461}
    assert utility["correlations"] == {"error": 0.3453, "holdout_error": 0.0273}
    assert utility["quality_report"]["score"] == 0.8464
    assert [(task["name"], task["loss"]) for task in utility["tasks"]] == [("big", 0.0966), ("odd", None)]
    assert set(utility) == {"measured_on", "marginals", "correlations", "quality_report", "tasks"}
    assert "771771" not in json.dumps(utility)


def test_a_release_under_a_guarantee_shows_nothing_that_was_counted_in_real_rows() -> None:
    card = dataset_card(private_release(), EVIDENCE)
    written = json.dumps(card)
    assert not [figure for figure in COUNTED if figure in written]
    assert card["utility"] == {
        "measured_on": "published rows",
        "curve": [{"epsilon": 0.5, "tvd": 0.6}, {"epsilon": 3.0, "tvd": 0.15}],
        "withheld": WITHHELD,
    }
    assert [figure for figure in COUNTED if figure in json.dumps(dataset_card(plain_release(), EVIDENCE))]


@pytest.mark.parametrize("guarantee", [None, {}, "epsilon 3", "", 3])
def test_a_guarantee_that_is_not_denied_in_words_counts_as_one(guarantee: Any) -> None:
    card = {"privacy": {"guarantee": guarantee}}
    assert is_private(card)
    assert utility_figures(card, EVIDENCE, "synthetic")["measured_on"] == "published rows"
    assert is_private({})
    assert not is_private({"privacy": {"guarantee": "None: not differentially private"}})


def test_an_aggregate_shows_the_scale_of_its_noise() -> None:
    card = dataset_card(aggregate_release(), EVIDENCE | {"answer": {"inputs": {"transactions": 771771}}})
    assert card["utility"] == {
        "measured_on": "noise",
        "standard_error": 38.5,
        "clip_norm": 120.0,
        "expected_relative_error": 0.05,
    }
    assert "771771" not in json.dumps(card)
    bare = utility_figures({"privacy": {"standard_error": float("inf")}}, None, "aggregates")
    assert bare == {"measured_on": "noise", "standard_error": None, "clip_norm": None, "expected_relative_error": None}


@pytest.mark.parametrize("evidence", [None, {}, {"utility": None}])
def test_without_utility_in_the_evidence_nothing_was_measured(evidence: Any) -> None:
    assert dataset_card(plain_release(), evidence)["utility"] == {"measured_on": "nothing"}


def test_the_licence_is_that_of_the_contract_or_the_purpose() -> None:
    assert licence({"licence": "CC-BY-4.0", "purpose": "x"}) == "CC-BY-4.0"
    assert licence({"purpose": "analytics"}) == "internal: for analytics only"
    assert licence({}) == "internal: for the purpose of its contract only"
    assert dataset_card(CardRelease(inner_card(licence="CC-BY-4.0")), None)["licence"] == "CC-BY-4.0"


def test_the_statement_says_epsilon_in_words() -> None:
    first, second, last = statement({"guarantee": GUARANTEE}, "synthetic")
    assert first == (
        "Whether any one household is in the real data or not changes the probability of anything that these rows can "
        "show by a factor of at most e^epsilon = 20.1 (epsilon 3), but for a remainder of probability 1 in 10,000,000."
    )
    assert second.startswith("Neighbouring data: add or remove one household")
    assert "add up" in last
    assert "these figures can show" in statement({"guarantee": GUARANTEE}, "aggregates")[0]
    pure = statement({"guarantee": GUARANTEE | {"delta": 0.0}}, "synthetic")[0]
    assert pure.endswith("(epsilon 3).")


def test_a_large_epsilon_is_called_a_loose_bound() -> None:
    assert not any("loose" in said for said in statement({"guarantee": GUARANTEE | {"epsilon": 4.9}}, "synthetic"))
    assert any("loose" in said for said in statement({"guarantee": GUARANTEE | {"epsilon": 5.0}}, "synthetic"))


def test_no_guarantee_is_said_first() -> None:
    said = statement({"guarantee": "none: not differentially private", "unit_of_privacy": "household"}, "synthetic")
    assert said[0] == "Not differentially private: there is no bound on what these rows may reveal about a household."
    assert "confidential" in said[-1]


@pytest.mark.parametrize("guarantee", [None, {}, GUARANTEE | {"epsilon": float("nan")}, GUARANTEE | {"delta": 1.0}])
def test_a_guarantee_without_a_usable_number_is_refused(guarantee: Any) -> None:
    with pytest.raises(ContractError):
        dataset_card(CardRelease(inner_card() | {"privacy": {"guarantee": guarantee}}), None)
