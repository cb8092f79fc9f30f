"""Files that can't be read, as stores and pyarrow tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from tests.support.acting import by

from cloakhouse.client.api import Dataset, connect
from cloakhouse.client.plain_files import write_plain
from cloakhouse.errors import AccessRefused, IntegrityError, VersionWithdrawn
from cloakhouse.lake.parquet import TableStore

FAULTS = [FileNotFoundError("absent"), OSError("424242"), pa.ArrowInvalid("424242")]


@pytest.fixture(params=FAULTS, ids=lambda fault: type(fault).__name__)
def failing(request: pytest.FixtureRequest, house: Any, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    def fail(*_given: Any) -> Iterator[pa.RecordBatch]:
        raise request.param

    monkeypatch.setattr(TableStore, "batches", fail)
    return connect(house.home).dataset("people_synthetic")


def test_what_does_not_open_is_an_integrity_error_without_the_librarys_text(failing: Dataset) -> None:
    with pytest.raises(IntegrityError) as caught:
        failing.to_arrow()
    assert "424242" not in caught.value.explain()
    assert caught.value.found in ("no file", "one that does not (OSError)", "one that does not (ArrowInvalid)")


def test_of_a_version_that_was_withdrawn_meanwhile_the_reason_is_told(failing: Dataset, house: Any) -> None:
    house.register.withdraw("people_synthetic", 1, by("ann", "the noise was too small"))
    with pytest.raises(VersionWithdrawn, match="the noise was too small"):
        failing.to_arrow()


def test_a_dataset_of_people_is_not_exported(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = connect(house.home).dataset("people_synthetic")
    monkeypatch.setattr(Dataset, "zone", "protected")
    with pytest.raises(AccessRefused) as caught:
        write_plain(dataset, house.home.parent / "people.csv")
    assert caught.value.code == "access.export"
    assert [path.name for path in house.home.parent.iterdir()] == ["home"]
