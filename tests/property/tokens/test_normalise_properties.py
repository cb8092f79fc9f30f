"""Normalisation by column equals the table read value by value, and normalising twice changes nothing."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.errors import TreatmentError
from cloakhouse.tokens.normalise import HOWS, normalisable, normalise

SIGNS = "0079+-./() \t\n\x1c\xa0\u2003\u202f٣７aAßÉe\u0301İΣx@＋ſ"
TEXT = st.text(st.sampled_from(SIGNS), max_size=10) | st.text(max_size=8)
COLUMNS = st.lists(st.none() | TEXT, max_size=12)
TYPES = st.sampled_from([pa.string(), pa.large_string(), pa.string_view()])


def one(text: str, how: str) -> str | None:
    """Return the normal form, or None where the table refuses the text."""
    if how == "exact":
        return text
    if how == "email":
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).strip().lower())
    if how == "name":
        folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
        return unicodedata.normalize("NFC", " ".join(folded.split()))
    text = "".join(letter for letter in text if not letter.isspace() and letter not in "-./()")
    text = "".join(str(unicodedata.decimal(letter, letter)) for letter in text)
    sign = ""
    if how == "phone" and text[:1] in ("+", "＋"):
        sign, text = "+", text[1:]
    elif how == "phone" and text.startswith("00"):
        sign, text = "+", text[2:]
    return sign + text if text.isascii() and text.isdigit() else None


@pytest.mark.parametrize("how", HOWS)
@given(COLUMNS, TYPES, st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_a_column_equals_the_table_value_by_value(
    how: str, values: list[str | None], kind: pa.DataType, start: int
) -> None:
    column = pa.array(values, kind).slice(start)
    expected = [None if value is None else one(value, how) for value in values[start:]]
    accepted = [value is None or form is not None for value, form in zip(values[start:], expected, strict=True)]
    assert normalisable(column, how).to_pylist() == accepted
    if not all(accepted):
        with pytest.raises(TreatmentError):
            normalise(column, how)
    kept = pa.array(column.to_pylist(), pa.string()).filter(pa.array(accepted, pa.bool_()))
    result = normalise(kept, how)
    result.validate(full=True)
    assert result.to_pylist() == [form for form, good in zip(expected, accepted, strict=True) if good]
    if len(result):
        assert normalise(result, how).equals(result)
