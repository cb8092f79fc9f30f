"""FF1 by column equals FF1 value by value, round-trips, and keeps the format."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.errors import TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import CHUNK_ROWS, AesPermutation
from cloakhouse.tokens.ff1 import DIGITS, ff1_decrypt, ff1_encrypt, ff1_valid
from cloakhouse.tokens.ff1_batch import fits
from cloakhouse.tokens.ff1_format import Ff1Format
from cloakhouse.tokens.ff1_reference import Ff1Shape, ff1_one

KEY = SecretKey(bytes(range(32)))
ALPHABETS = [
    "01",
    "cba",
    DIGITS,
    "0123456789abcdef",
    "abcdefghijklmnopqrstuvwxyz",
    DIGITS + "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
]
TYPES = st.sampled_from([pa.string(), pa.large_string()])


def scalar(value: str | None, layout: Ff1Format) -> str | None:
    if value is None:
        return None
    end = len(value) - layout.keep_suffix
    head, middle, tail = value[: layout.keep_prefix], value[layout.keep_prefix : end], value[end:]
    numerals = [layout.alphabet.index(letter) for letter in middle]
    sealed = ff1_one(numerals, layout.radix, (head + tail).encode(), AesPermutation(KEY))
    return head + "".join(layout.alphabet[numeral] for numeral in sealed) + tail


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[str | None], Ff1Format]:
    alphabet = draw(st.sampled_from(ALPHABETS))
    layout = Ff1Format(alphabet, draw(st.integers(0, 20)), draw(st.integers(0, 20)))
    lengths = st.integers(layout.shortest, layout.shortest + 40)
    value = lengths.flatmap(lambda n: st.text(alphabet, min_size=n, max_size=n))
    return draw(st.lists(st.none() | value, max_size=12)), layout


def settings_of(layout: Ff1Format) -> dict[str, Any]:
    return {
        "alphabet": layout.alphabet,
        "keep_prefix": layout.keep_prefix,
        "keep_suffix": layout.keep_suffix,
    }


@given(columns(), TYPES, st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_slices_equal_the_scalar_reference_and_round_trip(
    drawn: tuple[list[str | None], Ff1Format], kind: pa.DataType, start: int
) -> None:
    values, layout = drawn
    column = pa.array(values, kind).slice(start)
    assert ff1_valid(column, **settings_of(layout)).to_pylist() == [True] * len(column)
    treated = ff1_encrypt(column, KEY, **settings_of(layout))
    treated.validate(full=True)
    assert treated.type == kind
    assert treated.to_pylist() == [scalar(value, layout) for value in values[start:]]
    assert ff1_decrypt(treated, KEY, **settings_of(layout)).equals(column)


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_every_length_up_to_past_the_vectorised_limit(alphabet: str) -> None:
    draw, layout = random.Random(5), Ff1Format(alphabet, 3, 2)
    lengths = range(layout.shortest, layout.shortest + 60)
    values = ["".join(draw.choices(alphabet, k=length)) for length in lengths for _ in range(3)]
    extremes = [letter * length for length in lengths for letter in (alphabet[0], alphabet[-1])]
    column = pa.array(values + extremes)
    treated = ff1_encrypt(column, KEY, **settings_of(layout))
    assert treated.to_pylist() == [scalar(value, layout) for value in values + extremes]
    assert ff1_decrypt(treated, KEY, **settings_of(layout)).equals(column)


def test_the_vectorised_path_reaches_eighteen_digits_a_half() -> None:
    assert fits(Ff1Shape(10, 36, 0))
    assert not fits(Ff1Shape(10, 38, 0))


@pytest.mark.parametrize("rows", [CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1])
def test_rows_around_the_borders_of_scratch_chunks(rows: int) -> None:
    draw, layout = random.Random(rows), Ff1Format(DIGITS, 6, 4)
    values = [f"{draw.randrange(10**16):016}" for _ in range(rows)]
    treated = ff1_encrypt(pa.array(values), KEY, **settings_of(layout))
    assert ff1_decrypt(treated, KEY, **settings_of(layout)).to_pylist() == values
    for row in {0, rows - 1, *range(CHUNK_ROWS - 3, min(rows, CHUNK_ROWS + 3)), *draw.sample(range(rows), 60)}:
        assert treated[row].as_py() == scalar(values[row], layout)


@given(st.lists(st.none() | st.text("0123456789xé", max_size=12), max_size=10), st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_mask_tells_exactly_what_is_refused(values: list[str | None], dictionary: bool) -> None:
    column = pa.array(values, pa.string())
    column = column.dictionary_encode() if dictionary else column
    layout = {"alphabet": DIGITS, "keep_prefix": 1, "keep_suffix": 2}
    expected = [value is None or (len(value.encode()) >= 9 and value.isascii() and value.isdigit()) for value in values]
    accepted = ff1_valid(column, **layout)
    assert accepted.to_pylist() == expected
    if not all(expected):
        with pytest.raises(TreatmentError):
            ff1_encrypt(column, KEY, **layout)
    ff1_encrypt(column.filter(accepted), KEY, **layout)


@given(st.lists(st.text(DIGITS, min_size=16, max_size=16), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_card_numbers_keep_their_format(cards: list[str]) -> None:
    treated = ff1_encrypt(pa.array(cards), KEY, alphabet=DIGITS, keep_prefix=6, keep_suffix=4).to_pylist()
    for card, sealed in zip(cards, treated, strict=True):
        assert (sealed[:6], sealed[-4:], len(sealed)) == (card[:6], card[-4:], 16)
        assert set(sealed) <= set(DIGITS)
    assert len(set(treated)) == len(set(cards))


@given(
    st.lists(st.text(DIGITS, min_size=7, max_size=40), max_size=12), st.sampled_from(["valid", "invalid"]), st.data()
)
@settings(max_examples=100, deadline=None)
def test_luhn_numbers_stay_apart_and_round_trip(bodies: list[str], mode: Any, data: st.DataObject) -> None:
    numbers = [body + str(-luhn(body + "0") % 10) for body in bodies]
    layout = {"alphabet": DIGITS, "keep_prefix": data.draw(st.integers(0, 1)), "luhn": mode}
    column = pa.array(numbers, pa.string())
    assert ff1_valid(column, **layout).to_pylist() == [True] * len(numbers)
    treated = ff1_encrypt(column, KEY, **layout)
    assert {luhn(text) for text in treated.to_pylist()} <= {0 if mode == "valid" else 5}
    assert len(set(treated.to_pylist())) == len(set(numbers))
    assert ff1_decrypt(treated, KEY, **layout).equals(column)


def luhn(number: str) -> int:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return sum(value // 10 + value % 10 for value in doubled) % 10


@given(st.integers(2, 36), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_any_alphabet_up_to_36(radix: int, draw: random.Random) -> None:
    alphabet = "".join(draw.sample([chr(code) for code in range(33, 127)], radix))
    layout = Ff1Format(alphabet)
    values = ["".join(draw.choices(alphabet, k=layout.shortest + more)) for more in range(4)]
    treated = ff1_encrypt(pa.array(values), KEY, alphabet=alphabet)
    assert treated.to_pylist() == [scalar(value, layout) for value in values]
    assert ff1_decrypt(treated, KEY, alphabet=alphabet).to_pylist() == values
