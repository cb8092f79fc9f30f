"""Public cells of a number's range: cut where the contract's maximum says, never where the data does.

Retail numbers have atoms and long tails: most baskets have no coupon, many one line, a few hundreds of units. So each
small whole number has a cell of its own, and cells grow above them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SINGLE = 20  # whole numbers with a cell of their own
GROWTH = 1.05  # width of a cell above them, relative to the one before
CENT = 0.005  # half a cent: what rounds to zero
Numbers = npt.NDArray[np.float64]


def cells(maximum: float, growth: float = GROWTH) -> Numbers:
    """Return the rising edges of the cells of [0, maximum]: zero, each small number, growing cells, the maximum."""
    single = np.arange(0.5, min(SINGLE, maximum - 1) + 1.0)
    steps = max(int(np.log(max((maximum - 0.5) / single[-1], 1.0)) / np.log(growth)), 0) if len(single) else 0
    growing = np.geomspace(single[-1], maximum - 0.5, steps + 1)[1:] if steps else np.array([])
    return np.unique(np.r_[-0.5, CENT, single, growing, maximum - CENT, maximum + 0.5])
