"""Substitutes over drawn columns: a function of value and key alone, by the draws that are written down."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.fictional import LOCALES, fiction
from cloakhouse.tokens.prf import value_words
from cloakhouse.tokens.substitute import CHOICES, substitute

TEXTS = st.lists(st.none() | st.text(max_size=20), max_size=12)
WHAT = st.tuples(st.sampled_from(sorted(CHOICES)), st.sampled_from(LOCALES))
KEYS = st.binary(min_size=32, max_size=32)


@given(TEXTS, WHAT, KEYS, st.integers(0, 12))
@settings(deadline=None, max_examples=100)
def test_a_substitute_depends_on_its_value_only(
    texts: list[str | None], what: tuple[str, str], key: bytes, cut: int
) -> None:
    column, secret = pa.array(texts, pa.string()), SecretKey(key)
    whole = substitute(column, *what, secret)
    parts = [substitute(column.slice(0, cut), *what, secret), substitute(column.slice(cut), *what, secret)]
    assert pa.concat_arrays(parts).equals(whole)
    assert substitute(column.dictionary_encode(), *what, secret).equals(whole)
    assert substitute(pa.chunked_array([column]), *what, secret).combine_chunks().equals(whole)
    for text, made in zip(texts, whole.to_pylist(), strict=True):
        assert (made is None) == (text is None)
        assert (made == "") == (text == "")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8), st.sampled_from(LOCALES), KEYS)
@settings(deadline=None, max_examples=100)
def test_draws_are_the_digits_of_a_word_in_a_mixed_radix(numbers: list[int], locale: str, key: bytes) -> None:
    """The reference: whole numbers in Python, piece after piece, none fused."""
    column, secret, lists = pa.array(numbers, pa.int64()), SecretKey(key), fiction(locale)
    names = substitute(column, "name", locale, secret).to_pylist()
    phones = substitute(column, "phone", locale, secret).to_pylist()
    for (first, second), name, phone in zip(value_words(column, secret).tolist(), names, phones, strict=True):
        assert name == _reference(first, (lists.given, (" ",), lists.family))
        assert phone == _reference(second, lists.phone)


def _reference(word: int, pieces: tuple[tuple[str, ...], ...]) -> str:
    made = ""
    for choices in pieces:
        place, word = divmod(word * len(choices), 2**64)
        made += choices[place]
    return made
