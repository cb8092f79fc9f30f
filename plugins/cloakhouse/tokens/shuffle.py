"""Permutation of a column's values among its rows: randomization in the sense of ISO/IEC 20889.

The column keeps its values and their frequencies exactly; what ties a value to its row, and so to the other columns,
is gone. A value that is rare stays visible as such: a shuffle hides whose it is, not that somebody has it. Nothing is
exchanged between one place (file, block) and another, so the protection is that of a crowd of `len(values)` rows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.arrays import UNNAMED, refuse
from cloakhouse.tokens.prf import Words, row_words

MIN_ROWS = 2
"""Rows from which a permutation can move a value at all."""


def shuffle(
    values: pa.Array | pa.ChunkedArray, key: SecretKey, place: bytes, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the values in a keyed order of the rows, nulls among them: same type, same values, same frequencies.

    Every order is as likely as any other over the keys, that of the input included, and the same for the same
    `key`, `place` (say, a file and the number of its block) and number of rows: two columns that shall be taken apart
    need two keys or two places. Fewer than MIN_ROWS rows come back as they are: one value has nowhere to go.
    A ChunkedArray comes back as a ChunkedArray, in chunks of Arrow's choice. Raises TreatmentError for a type that
    Arrow can't reorder (view and run-end types).
    """
    if len(values) < MIN_ROWS:
        return values
    order = pa.array(row_order(row_words(key, place, len(values))))
    try:
        return values.take(order)
    except pa.ArrowNotImplementedError:
        raise refuse(
            column,
            code="type",
            expected="a type whose values can be reordered",
            found=f"type {values.type}",
            remedy="cast the column while parsing, or choose another treatment for it in the contract",
        ) from None


def row_order(words: Words) -> NDArray[np.int64]:
    """Return the rows by their first word, those of equal first words by their second (int64[rows])."""
    order = np.argsort(words[:, 0])
    ranked = words[:, 0][order]
    if (ranked[1:] == ranked[:-1]).any():  # without a tie every sort agrees, and this one is the fastest
        order = np.lexsort((words[:, 1], words[:, 0]))
    return order.astype(np.int64, copy=False)
