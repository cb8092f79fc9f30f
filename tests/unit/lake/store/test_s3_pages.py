"""Listings that a server doesn't end are no proof that nothing else is there.

No server here answers so; the pages stand in for one. tests/stores has the listings of real ones.
"""

from __future__ import annotations

from typing import Any

import pytest

from cloakhouse.errors import StorageError
from cloakhouse.lake.store import s3_versions
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.lake.store.s3_pages import pages
from cloakhouse.lake.store.s3_uri import Place

CALLS = Calls(Place.parse("s3://house/lake?region=eu-west-1"))
OLD = {"Key": "lake/a", "VersionId": "1", "IsLatest": False}


def answered(told: list[dict[str, Any]]) -> Any:
    left = iter(told)
    return lambda *_args, **_parameters: next(left)


@pytest.mark.parametrize("end", [{}, {"NextContinuationToken": "a"}])
def test_a_listing_of_objects_that_ends_before_its_end_is_an_error(
    monkeypatch: pytest.MonkeyPatch, end: dict[str, str]
) -> None:
    monkeypatch.setattr("cloakhouse.lake.store.s3_pages.examined", lambda _: None)
    cut = {"IsTruncated": True, **end}
    monkeypatch.setattr(Calls, "call", answered([cut, cut]))
    with pytest.raises(StorageError) as refusal:
        list(pages(CALLS, "list_objects_v2", "", "ContinuationToken", "NextContinuationToken"))
    assert refusal.value.code == "storage.protocol"


@pytest.mark.parametrize("end", [{}, {"NextKeyMarker": "lake/a"}])
def test_a_listing_of_versions_that_ends_before_its_end_is_an_error(
    monkeypatch: pytest.MonkeyPatch, end: dict[str, str]
) -> None:
    monkeypatch.setattr("cloakhouse.lake.store.s3_pages.examined", lambda _: None)
    cut = {"IsTruncated": True, **end}
    monkeypatch.setattr(Calls, "call", answered([cut, cut]))
    with pytest.raises(StorageError) as refusal:
        list(s3_versions._listed(CALLS, lambda _path: False))
    assert refusal.value.code == "storage.protocol"


def test_a_listing_that_ends_has_what_it_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloakhouse.lake.store.s3_pages.examined", lambda _: None)
    first = {"IsTruncated": True, "NextKeyMarker": "lake/a", "NextVersionIdMarker": "2"}
    monkeypatch.setattr(Calls, "call", answered([first, {"Versions": [OLD], "IsTruncated": False}]))
    found = list(s3_versions._listed(CALLS, lambda _path: False))
    assert found == [([], []), ([{"Key": "lake/a", "VersionId": "1"}], [])]
