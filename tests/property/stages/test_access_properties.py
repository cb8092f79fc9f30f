"""From any policy to any other: what the decision shows is what the keys open, for everybody and every dataset."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.access import CLASSES, DATASETS, AccessHouse

from cloakhouse.contracts.access_reader import VERSION
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import FOOTER
from cloakhouse.settings import Settings
from cloakhouse.stages.access_apply import apply, planned
from cloakhouse.stages.reading_access import access_of, reading_ring

PURPOSES = ("training", "reporting")
RULES = st.fixed_dictionaries(
    {
        "zones": st.lists(st.sampled_from(["synthetic", "protected"]), min_size=1, max_size=2, unique=True),
        "datasets": st.lists(st.sampled_from(["*", "private", "b*", "people"]), min_size=1, max_size=2, unique=True),
        "classes": st.lists(st.sampled_from([c.value for c in ColumnClass]), min_size=1, max_size=3, unique=True),
    }
)
ROLES = st.fixed_dictionaries(
    {
        "purposes": st.lists(st.sampled_from(PURPOSES), min_size=1, max_size=2, unique=True),
        "reviewBy": st.just("2027-01-01"),
        "reads": st.lists(RULES, min_size=1, max_size=3),
    }
)
HELD = st.lists(st.sampled_from(["one", "two-b"]), min_size=1, max_size=2, unique=True)
POLICIES = st.fixed_dictionaries(
    {
        "apiVersion": st.just(VERSION),
        "roles": st.fixed_dictionaries({"one": ROLES, "two-b": ROLES}),
        "principals": st.dictionaries(
            st.sampled_from(["mia", "dan"]), st.fixed_dictionaries({"roles": HELD}), max_size=2
        ),
    }
)


@pytest.fixture(scope="module")
def house() -> Iterator[AccessHouse]:
    with tempfile.TemporaryDirectory(prefix="access-of-tests-") as folder:
        yield AccessHouse.make(Path(folder))


def opens(who: Settings, zone: str, dataset: str) -> set[str]:
    """Return the columns of which the newest key, and the footer's, open."""
    ring, found = reading_ring(who), set()
    for column, column_class in CLASSES.items():
        try:
            ring.require(DatasetKey(zone, use, dataset) for use in (FOOTER, column_class.key_name))
        except AccessRefused:
            continue
        found.add(column)
    return found


def shown(who: Settings, zone: str, dataset: str) -> set[str]:
    try:
        return set(access_of(who)(zone, dataset, CLASSES).readable)
    except AccessRefused:
        return set()


@settings(max_examples=8)
@given(policy=POLICIES)
def test_the_keys_open_what_the_decision_shows_and_nothing_more(house: AccessHouse, policy: dict[str, Any]) -> None:
    house.say(yaml.safe_dump(policy).replace("'2027-01-01'", "2027-01-01"))
    assert not apply(house.settings).refused
    assert planned(house.settings).done.empty
    for name in ("mia", "dan", "eve"):
        for purpose in PURPOSES:
            who = house.seen_by(name, purpose)
            for zone, dataset in (path.split("/") for path in DATASETS):
                assert opens(who, zone, dataset) == shown(who, zone, dataset), (name, purpose, zone, dataset)
