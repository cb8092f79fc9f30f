"""Recoding by a mapping: text and integers, values outside, layouts."""

from __future__ import annotations

import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.tokens.hierarchy import recode_by

REGIONS = {"Berlin": "East", "Potsdam": "East", "Köln": "West", "": "unknown"}
CITIES = pa.array(["Potsdam", None, "Köln", "Paris", "", "berlin"])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_labels_of_texts(kind: pa.DataType) -> None:
    recoded = recode_by(CITIES.cast(kind), REGIONS, "abroad")
    assert recoded.type == pa.string()
    assert recoded.to_pylist() == ["East", None, "West", "abroad", "unknown", "abroad"]
    assert recode_by(CITIES.cast(kind), REGIONS, None).to_pylist() == ["East", None, "West", None, "unknown", None]


def test_integers_by_their_digits() -> None:
    labels = {"7": "seven", "-7": "minus seven", "07": "never"}
    assert recode_by(pa.array([7, -7, 70, None]), labels, "o").to_pylist() == ["seven", "minus seven", "o", None]
    assert recode_by(pa.array([7, 8], pa.uint8()), labels, None).to_pylist() == ["seven", None]


def test_layouts() -> None:
    expected = recode_by(CITIES, REGIONS, "abroad").to_pylist()
    assert recode_by(CITIES.slice(2), REGIONS, "abroad").to_pylist() == expected[2:]
    assert recode_by(CITIES.dictionary_encode(), REGIONS, "abroad").to_pylist() == expected
    chunked = recode_by(pa.chunked_array([CITIES[:2], CITIES[:0], CITIES[2:]]), REGIONS, "abroad")
    assert chunked.num_chunks == 3
    assert chunked.to_pylist() == expected
    assert recode_by(pa.array([], pa.string()), REGIONS, None).type == pa.string()
    assert recode_by(pa.nulls(2, pa.string()), REGIONS, "abroad").to_pylist() == [None, None]


def test_refusals() -> None:
    with pytest.raises(ContractError):
        recode_by(CITIES, {}, None)
    with pytest.raises(TreatmentError, match="column city"):
        recode_by(pa.array([1.5]), REGIONS, None, column="city")
