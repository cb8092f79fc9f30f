"""Card numbers of the households: 16 digits, prefix 400000, a valid check digit (ISO/IEC 7812-1, annex B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

PREFIX: Final = 400000  # six digits of a test range
OTHER_TENDERS: Final = 3  # at most, beside the household's own card
_OTHERS_SHARES: Final = (0.45, 0.35, 0.15, 0.05)  # share of households with 0, 1, 2, 3 other tenders
_OTHER_TENDER_SHARE: Final = 0.15  # of the baskets of a household that has other tenders
_STREAM: Final = 101  # keeps these draws apart from the other draws of the same seed


@dataclass(frozen=True)
class CardBook:
    """The cards of all households, one row per household.

    Attributes:
        household_ids: ascending, int64, shape (n,).
        cards: 16-digit numbers, int64, shape (n, 4): the household's own card, then its other tenders.
        others: how many of the other tenders the household uses (0 to 3), int64, shape (n,).
        spare: 2 cards of no household, int64, shape (2,).
    """

    household_ids: NDArray[np.int64]
    cards: NDArray[np.int64]
    others: NDArray[np.int64]
    spare: NDArray[np.int64]

    def pay(self, households: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the card that each basket was paid with, int64, given the household of each basket."""
        row = np.searchsorted(self.household_ids, households)
        others = self.others[row]
        other = (rng.random(len(row)) < _OTHER_TENDER_SHARE) & (others > 0)
        tender = 1 + (rng.random(len(row)) * others).astype(np.int64)
        return self.cards[row, np.where(other, tender, 0)]


def issue_cards(household_ids: NDArray[np.int64], seed: int) -> CardBook:
    """Return the cards of `household_ids` (ascending): no number is issued twice."""
    rng = np.random.default_rng([seed, _STREAM])
    count = len(household_ids)
    accounts = rng.choice(10**9, size=count * (1 + OTHER_TENDERS) + 2, replace=False)
    numbers = complete_luhn(PREFIX * 10**9 + accounts.astype(np.int64))
    others = rng.choice(len(_OTHERS_SHARES), size=count, p=_OTHERS_SHARES).astype(np.int64)
    return CardBook(household_ids, numbers[:-2].reshape(count, 1 + OTHER_TENDERS), others, numbers[-2:])


def complete_luhn(payloads: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `payloads` (not negative, at most 17 digits) with the check digit appended to each, int64."""
    total = np.zeros_like(payloads)
    rest, doubled = payloads.copy(), True
    while rest.any():
        digit = (rest % 10) * (2 if doubled else 1)
        total += digit // 10 + digit % 10
        rest, doubled = rest // 10, not doubled
    return payloads * 10 + (-total) % 10


def luhn_check_digit(payload: str) -> str:
    """Return the digit that completes `payload` (ASCII digits). Source: ISO/IEC 7812-1, annex B."""
    total = 0
    for position, character in enumerate(reversed(payload)):
        digit = int(character) * (2 if position % 2 == 0 else 1)
        total += digit // 10 + digit % 10
    return str(-total % 10)


def is_luhn_valid(number: str) -> bool:
    """Return whether `number` is two or more ASCII digits, the last of them the right check digit."""
    if len(number) < 2 or not (number.isascii() and number.isdigit()):
        return False
    return luhn_check_digit(number[:-1]) == number[-1]
