"""Whose law decides, and what it makes of somebody who made no choice."""

from __future__ import annotations

import pytest

from cloakhouse.contracts.jurisdictions import PROFILES, STRICTEST, profile_of
from cloakhouse.contracts.subject import PURPOSES


@pytest.mark.parametrize(
    ("countries", "name"),
    [
        (["DE", "FR", "NO", "IS", "LI", "GB", "CH", "GR"], "gdpr"),
        (["US"], "ccpa"),
        (["BR"], "lgpd"),
        (["CN"], "pipl"),
        (["JP", "", "de", "Germany", "EU", "XX", " US"], "other"),
    ],
)
def test_a_country_has_the_profile_of_its_law_and_any_other_text_the_strictest(countries: list[str], name: str) -> None:
    assert {profile_of(country).name for country in countries} == {name}


def test_without_a_choice_only_the_law_of_the_united_states_says_yes() -> None:
    yes = {(name, purpose) for name in PROFILES for purpose in PURPOSES if PROFILES[name].without_choice(purpose)}
    assert yes == {("ccpa", purpose) for purpose in PURPOSES}


def test_the_strictest_law_comes_first_and_each_names_its_articles() -> None:
    assert next(iter(PROFILES)) == STRICTEST
    assert list(PROFILES)[-1] == "ccpa"
    assert all(profile.source and len(name) <= 16 for name, profile in PROFILES.items())
