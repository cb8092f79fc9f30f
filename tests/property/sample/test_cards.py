"""The Luhn check (ISO/IEC 7812-1, annex B): what it must catch, and the two ways that compute it."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from cloakhouse.sample import is_luhn_valid, luhn_check_digit
from cloakhouse.sample.cards import complete_luhn, issue_cards

payloads = st.text("0123456789", min_size=1, max_size=30)


@given(payloads)
def test_exactly_one_digit_completes_a_payload(payload: str) -> None:
    valid = [digit for digit in "0123456789" if is_luhn_valid(payload + digit)]
    assert valid == [luhn_check_digit(payload)]


@given(payloads, st.data())
def test_a_single_wrong_digit_is_caught(payload: str, data: st.DataObject) -> None:
    number = payload + luhn_check_digit(payload)
    at = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != number[at]]))
    assert not is_luhn_valid(number[:at] + wrong + number[at + 1 :])


@given(payloads, st.data())
def test_swapped_neighbours_are_caught_but_for_09_and_90(payload: str, data: st.DataObject) -> None:
    number = payload + luhn_check_digit(payload)
    at = data.draw(st.integers(0, len(number) - 2))
    pair = number[at : at + 2]
    assume(pair[0] != pair[1])
    swapped = number[:at] + pair[::-1] + number[at + 2 :]
    assert is_luhn_valid(swapped) == (pair in {"09", "90"})


@given(st.lists(st.integers(0, 10**17 - 1), min_size=1, max_size=20))
def test_arrays_and_texts_agree(numbers: list[int]) -> None:
    completed = complete_luhn(np.array(numbers, dtype=np.int64))
    assert completed.tolist() == [int(str(n) + luhn_check_digit(str(n))) for n in numbers]


@given(st.text(max_size=6).filter(lambda text: not (text.isascii() and text.isdigit())) | st.just("0"))
def test_other_texts_are_not_valid(text: str) -> None:
    assert not is_luhn_valid(text)


@given(st.integers(0, 2**31), st.sets(st.integers(1, 10**6), min_size=1, max_size=50))
def test_no_card_is_issued_twice(seed: int, households: set[int]) -> None:
    book = issue_cards(np.array(sorted(households), dtype=np.int64), seed)
    numbers = [*book.cards.ravel().tolist(), *book.spare.tolist()]
    assert len(set(numbers)) == len(numbers) == 4 * len(households) + 2
    assert all(is_luhn_valid(str(number)) and str(number).startswith("400000") for number in numbers)
