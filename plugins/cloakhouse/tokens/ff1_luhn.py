"""The Luhn check over columns of digits: the sums of whole numbers, and the digit that sets a sum right.

From the right, every second digit is doubled and the digits of the doubles are summed; a number is valid if the sum is
a multiple of 10. As doubling maps the ten digits onto themselves (mod 10), for any other digits exactly one digit in a
given place makes a number valid. Source: ISO/IEC 7812-1, Annex B.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Luhn = Literal["valid", "invalid"]
"""What an encrypted number is: valid itself, or off by INVALID_SUM, so that no till takes it for a real one."""
INVALID_SUM = 5
"""Luhn sum (mod 10) of every number that is encrypted as "invalid"."""
_DOUBLED = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], np.uint8)
_HALVED = np.argsort(_DOUBLED).astype(np.uint8)


def luhn_sums(digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the Luhn sum mod 10 of every row of uint8[rows, n] (digits 0 to 9): uint8[rows]; 0 is valid."""
    columns = np.ascontiguousarray(digits.T)
    sums = np.zeros(digits.shape[0], np.uint16)  # to 9 * 1024
    for place, column in enumerate(columns[::-1]):
        sums += _DOUBLED.take(column) if place % 2 else column
    return (sums % 10).astype(np.uint8)


def set_digit(digits: NDArray[np.uint8], position: int, luhn_sum: int) -> None:
    """Overwrite the digit at `position` of every row so that the row's Luhn sum (mod 10) is `luhn_sum`."""
    digits[:, position] = 0
    missing = (luhn_sum + 10 - luhn_sums(digits)) % 10
    doubled = (digits.shape[1] - 1 - position) % 2
    digits[:, position] = _HALVED.take(missing) if doubled else missing
