"""Masks: examples, types and refusals."""

from __future__ import annotations

import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.tokens.mask import fixed, mask


@pytest.mark.parametrize(
    ("value", "prefix", "suffix", "expected"),
    [
        ("4111111111111234", 6, 4, "411111******1234"),
        ("4111111111", 6, 4, "**********"),
        ("41111111112", 6, 4, "411111*1112"),
        ("abc", 0, 0, "***"),
        ("abc", 1, 0, "a**"),
        ("abc", 0, 2, "*bc"),
        ("", 0, 0, ""),
        ("äöüß", 1, 1, "ä**ß"),
        (None, 1, 1, None),
    ],
)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_masks(value: str | None, prefix: int, suffix: int, expected: str | None, kind: pa.DataType) -> None:
    assert mask(pa.array(["x", value], kind).slice(1), prefix, suffix).to_pylist() == [expected]


def test_other_layouts_and_characters() -> None:
    values = pa.array(["abcd", None, "efgh", "abcd"])
    assert mask(values.dictionary_encode(), 1, 0, "•").to_pylist() == ["a•••", None, "e•••", "a•••"]
    chunked = pa.chunked_array([["abcd"], []], pa.string())
    assert mask(chunked, 1).equals(pa.chunked_array([["a***"], []], pa.string()))
    assert mask(pa.array([], pa.string()), 1, 1).to_pylist() == []


@pytest.mark.parametrize("arguments", [(-1, 0, "*"), (0, -1, "*"), (0, 0, ""), (0, 0, "**")])
def test_unusable_settings(arguments: tuple[int, int, str]) -> None:
    with pytest.raises(ContractError):
        mask(pa.array(["x"]), *arguments)


def test_only_text_is_masked() -> None:
    with pytest.raises(TreatmentError):
        mask(pa.array([4111]))


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.float64(), pa.null(), pa.list_(pa.int8())])
def test_a_fixed_text_for_every_value_of_any_type(kind: pa.DataType) -> None:
    assert fixed(pa.nulls(2, kind), "removed").to_pylist() == [None, None]
    assert fixed(pa.array([], kind), "removed").type == pa.string()


def test_fixed_leaves_null_as_null() -> None:
    values = pa.array(["a", None, "b", "a"])
    for column in (values, values.dictionary_encode(), pa.chunked_array([values])):
        assert fixed(column, "removed").to_pylist() == ["removed", None, "removed", "removed"]


def test_a_refusal_of_settings_says_what_is_wrong() -> None:
    with pytest.raises(ContractError) as caught:
        mask(pa.array(["x"]), -1, 2, "**")
    assert caught.value.code == "contract.mask"
    assert caught.value.found == "kept lengths -1 and 2, 2 masking characters"
