from __future__ import annotations

import numpy as np
import pytest

from cloakhouse.sample import is_luhn_valid
from cloakhouse.sample.cards import issue_cards


@pytest.mark.parametrize("number", ["4242424242424242", "79927398713", "00", "4111111111111111"])
def test_published_numbers_are_valid(number: str) -> None:
    assert is_luhn_valid(number)


@pytest.mark.parametrize("number", ["4242424242424241", "79927398710", "", "0", "4242 4242 4242 4242", "４２"])
def test_other_numbers_are_not(number: str) -> None:
    assert not is_luhn_valid(number)


def test_baskets_are_paid_with_the_households_cards() -> None:
    book = issue_cards(np.arange(10, 500, dtype=np.int64), seed=3)
    households = np.repeat(book.household_ids, 200)
    paid = book.pay(households, np.random.default_rng(4)).reshape(-1, 200)
    for row, cards in enumerate(paid):
        used = set(cards.tolist())
        assert used <= set(book.cards[row, : 1 + book.others[row]].tolist())
        assert book.cards[row, 0] in used
        assert (len(used) == 1) == (book.others[row] == 0)
