"""What FF1 refuses and how it says so, and that nothing in clear slips through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, KeyServiceError, TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.ff1 import DIGITS, MAX_LENGTH, ff1_decrypt, ff1_encrypt, ff1_valid

KEY = SecretKey(bytes(range(32)))


@pytest.mark.parametrize(
    ("value", "code"),
    [("411111111111111", "domain"), ("411111x111111111", "format"), ("4111111111111é11", "format"), ("", "domain")],
)
def test_refusals_count_and_never_quote(value: str, code: str) -> None:
    with pytest.raises(TreatmentError) as caught:
        ff1_encrypt(
            pa.array(["5" * 16, value, None]), KEY, alphabet=DIGITS, keep_prefix=6, keep_suffix=4, column="card"
        )
    assert caught.value.code == f"treatment.{code}"
    assert "column card" in caught.value.where
    assert "of 3 values, 1 too short" in caught.value.found or ", 1 with characters" in caught.value.found
    assert not value or value not in str(caught.value)
    assert "1,000,000" in caught.value.expected


@pytest.mark.parametrize(
    ("alphabet", "shortest"),
    [("01", 20), (DIGITS, 6), ("0123456789abcdef", 5), ("abcdefghijklmnopqrstuvwxyz012345", 4)],
)
def test_the_domain_must_reach_a_million(alphabet: str, shortest: int) -> None:
    assert len(alphabet) ** (shortest - 1) < 1_000_000 <= len(alphabet) ** shortest
    values = pa.array([alphabet[0] * (shortest - 1), alphabet[0] * shortest])
    assert ff1_valid(values, alphabet=alphabet).to_pylist() == [False, True]


def test_the_longest_value() -> None:
    values = pa.array(["7" * MAX_LENGTH, "7" * (MAX_LENGTH + 1)])
    assert ff1_valid(values, alphabet=DIGITS).to_pylist() == [True, False]
    with pytest.raises(TreatmentError, match="1 too long"):
        ff1_encrypt(values, KEY, alphabet=DIGITS)
    once = ff1_encrypt(values[:1], KEY, alphabet=DIGITS)
    assert ff1_decrypt(once, KEY, alphabet=DIGITS).equals(values[:1])


def test_kept_characters_may_have_their_own_alphabet() -> None:
    values = pa.array(["LC-1234567", "LC-12-4567", "lc-1234567"])
    layout = {"alphabet": DIGITS, "keep_prefix": 3, "kept_alphabet": "LC-"}
    assert ff1_valid(values, **layout).to_pylist() == [True, False, False]
    assert ff1_valid(values, alphabet=DIGITS, keep_prefix=3).to_pylist() == [False] * 3
    treated = ff1_encrypt(values[:1], KEY, **layout)
    assert treated[0].as_py().startswith("LC-")
    assert ff1_decrypt(treated, KEY, **layout).equals(values[:1])


def test_the_kept_part_is_the_tweak() -> None:
    values = pa.array(["1123456789", "2123456789"])
    first, second = ff1_encrypt(values, KEY, alphabet=DIGITS, keep_prefix=1).to_pylist()
    assert first[1:] != second[1:]


def test_nothing_in_clear_is_left_behind_in_the_buffers() -> None:
    """Neither a neighbour of the slice nor what lies under a null may travel along."""
    text = b"111111112222222233333333"
    buffers = [pa.py_buffer(np.array([0, 8, 16, 24], np.int32)), pa.py_buffer(text)]
    hidden = pa.StringArray.from_buffers(3, *buffers, pa.py_buffer(np.array([0b101], np.uint8)))
    plain = pa.StringArray.from_buffers(3, *buffers)
    for values in (hidden, plain.slice(0, 1), plain.slice(2)):
        treated = ff1_encrypt(values, KEY, alphabet=DIGITS)
        assert b"2222" not in treated.buffers()[2].to_pybytes()
        assert b"1111" not in treated.buffers()[2].to_pybytes()
        assert b"3333" not in treated.buffers()[2].to_pybytes()
    sealed = ff1_encrypt(hidden, KEY, alphabet=DIGITS)
    assert sealed[1].as_py() is None
    assert np.frombuffer(sealed.buffers()[1], np.int32).tolist() == [0, 8, 8, 16]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_empty_all_null_and_chunked_columns(kind: pa.DataType) -> None:
    assert ff1_encrypt(pa.array([], kind), KEY, alphabet=DIGITS).type == kind
    assert ff1_encrypt(pa.nulls(2, kind), KEY, alphabet=DIGITS).to_pylist() == [None, None]
    assert ff1_encrypt(pa.chunked_array([], kind), KEY, alphabet=DIGITS).type == kind
    chunked = pa.chunked_array([["12345678"], [], ["87654321", None]], kind)
    treated = ff1_encrypt(chunked, KEY, alphabet=DIGITS)
    assert treated.combine_chunks().equals(ff1_encrypt(chunked.combine_chunks(), KEY, alphabet=DIGITS))
    assert ff1_valid(chunked, alphabet=DIGITS).to_pylist() == [True] * 3


def test_views_and_dictionaries() -> None:
    plain = pa.array(["12345678", None, "87654321", "12345678"])
    expected = ff1_encrypt(plain, KEY, alphabet=DIGITS).to_pylist()
    assert ff1_encrypt(plain.cast(pa.string_view()), KEY, alphabet=DIGITS).to_pylist() == expected
    assert ff1_encrypt(plain.dictionary_encode(), KEY, alphabet=DIGITS).to_pylist() == expected


def test_a_bad_dictionary_entry_that_no_row_uses_is_no_reason_to_refuse() -> None:
    column = pa.array(["12345678", "bad", "12345678"]).dictionary_encode()
    kept = column.filter(ff1_valid(column, alphabet=DIGITS))
    assert "bad" in kept.dictionary.to_pylist()
    assert len(ff1_encrypt(kept, KEY, alphabet=DIGITS)) == 2


@pytest.mark.parametrize(
    "layout",
    [
        {"alphabet": "0"},
        {"alphabet": "00"},
        {"alphabet": "0é"},
        {"alphabet": "".join(map(chr, range(48, 85)))},
        {"alphabet": DIGITS, "keep_prefix": -1},
        {"alphabet": DIGITS, "keep_suffix": -1},
        {"alphabet": DIGITS, "keep_prefix": MAX_LENGTH},
        {"alphabet": DIGITS, "kept_alphabet": "é"},
    ],
)
def test_unusable_settings_are_the_contracts_fault(layout: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        ff1_valid(pa.array(["1"]), **layout)
    with pytest.raises(ContractError):
        ff1_encrypt(pa.array([], pa.string()), KEY, **layout)


def test_other_types_and_keys_are_refused() -> None:
    with pytest.raises(TreatmentError, match="int64"):
        ff1_encrypt(pa.array([12345678]), KEY, alphabet=DIGITS)
    with pytest.raises(TreatmentError):
        ff1_valid(pa.array([b"12345678"]), alphabet=DIGITS)
    with pytest.raises(KeyServiceError):
        ff1_encrypt(pa.array(["12345678"]), SecretKey(bytes(48)), alphabet=DIGITS)


CARDS = ["4111111111111111", "5500005555555559", "378282246310005"]


def luhn(number: str) -> int:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return sum(value // 10 + value % 10 for value in doubled) % 10


@pytest.mark.parametrize(("mode", "expected"), [("valid", 0), ("invalid", 5)])
@pytest.mark.parametrize(("prefix", "suffix"), [(0, 0), (6, 0), (4, 4), (0, 3)])
def test_the_luhn_digit_of_encrypted_cards(mode: str, expected: int, prefix: int, suffix: int) -> None:
    settings = {"alphabet": DIGITS, "keep_prefix": prefix, "keep_suffix": suffix, "luhn": mode}
    column = pa.array([*CARDS, None])
    treated = ff1_encrypt(column, KEY, **settings)
    assert [None if text is None else luhn(text) for text in treated.to_pylist()] == [expected] * 3 + [None]
    assert all(new != old for new, old in zip(treated.to_pylist()[:3], CARDS, strict=True))
    assert ff1_decrypt(treated, KEY, **settings).equals(column)


def test_numbers_with_a_wrong_luhn_digit_are_refused_both_ways() -> None:
    layout = {"alphabet": DIGITS, "keep_prefix": 6, "luhn": "valid"}
    column = pa.array([CARDS[0], CARDS[0][:-1] + "2", None, "411111x111111111"])
    assert ff1_valid(column, **layout).to_pylist() == [True, False, True, False]
    for treat in (ff1_encrypt, ff1_decrypt):
        with pytest.raises(TreatmentError, match="1 of another Luhn sum"):
            treat(column, KEY, **layout)
    invalid = ff1_encrypt(column[:1], KEY, **(layout | {"luhn": "invalid"}))
    with pytest.raises(TreatmentError, match="1 of another Luhn sum"):
        ff1_decrypt(invalid, KEY, **layout)


def test_the_luhn_digit_takes_one_digit_of_the_domain() -> None:
    column = pa.array([CARDS[0]])
    assert ff1_valid(column, alphabet=DIGITS, keep_prefix=6, keep_suffix=3, luhn="valid").to_pylist() == [True]
    assert ff1_valid(column, alphabet=DIGITS, keep_prefix=6, keep_suffix=4, luhn="valid").to_pylist() == [False]
    assert ff1_valid(column, alphabet=DIGITS, keep_prefix=6, keep_suffix=4).to_pylist() == [True]


@pytest.mark.parametrize(
    "layout",
    [
        {"alphabet": "0123456789abcdef", "luhn": "valid"},
        {"alphabet": "9876543210", "luhn": "valid"},
        {"alphabet": DIGITS, "kept_alphabet": "AB", "keep_prefix": 1, "luhn": "invalid"},
        {"alphabet": DIGITS, "luhn": "maybe"},
    ],
)
def test_a_luhn_digit_needs_digits(layout: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        ff1_valid(pa.array(["1"]), **layout)


def test_a_dictionary_is_treated_once_per_entry() -> None:
    entries = pa.array(["12345678", "bad", None, "87654321"])
    short = pa.DictionaryArray.from_arrays(pa.array([0, 3, None, 0, 2]), entries)
    long = pa.DictionaryArray.from_arrays(pa.array([3, 0]), entries)
    for column in (short, long, pa.chunked_array([short, long])):
        plain = pa.array(column.to_pylist(), pa.string())
        assert (
            ff1_encrypt(column, KEY, alphabet=DIGITS).to_pylist()
            == ff1_encrypt(plain, KEY, alphabet=DIGITS).to_pylist()
        )
    none = pa.chunked_array([], short.type)
    assert ff1_encrypt(none, KEY, alphabet=DIGITS).type == pa.string()
    with pytest.raises(TreatmentError, match="1 too short"):
        ff1_encrypt(pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0]), entries), KEY, alphabet=DIGITS)


@pytest.mark.parametrize("alphabet", [DIGITS, "0123456789abcdef", "pqrstuvwxyz{|}~"])
def test_the_characters_of_an_alphabet_are_told_from_all_others(alphabet: str) -> None:
    others = [chr(code) for code in range(128)] + ["é", "\uff10"]  # one has two bytes, one is a wide zero
    values = pa.array([alphabet[0] * 12 + other for other in others])
    expected = [other in alphabet for other in others]
    assert ff1_valid(values, alphabet=alphabet).to_pylist() == expected
    assert ff1_valid(values.slice(5, 90), alphabet=alphabet).to_pylist() == expected[5:95]


def test_one_length_among_others_is_treated_like_one_alone() -> None:
    numbers = [f"{number * 982_451_653:016}" for number in range(300)]
    alone = ff1_encrypt(pa.array(numbers), KEY, alphabet=DIGITS, keep_prefix=6).to_pylist()
    mixed = ff1_encrypt(pa.array(["7" * 12, None, *numbers]), KEY, alphabet=DIGITS, keep_prefix=6).to_pylist()
    assert mixed[2:] == alone
