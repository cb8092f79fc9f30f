"""Many values looked for at once in bytes, at the speed of memory and not of the number of values.

Every occurrence of a value of 15 bytes or more holds a word of 8 bytes that begins at a multiple of 8, wherever it
begins itself, and one of 11 bytes or more holds one that begins at a multiple of 4. So only these words are looked at:
they are among those of the values, or no value is there. Of the words that a value has those are taken whose bytes the
fewest values have: all that end in `@example.com` are told apart by what stands before. Where every word is a common
one, as of a short name before a long host, every position is looked at.

Numbers and addresses are looked for where one can begin, since there are far fewer such places
(`cloakhouse.stages.sweep_groups`), but for those whose word is a common one.

A value that names a person counts where it stands as a word: `Anna Berg` isn't in `Johanna Bergmann`, nor is a card
number in a longer number. Tokens count anywhere.

Source: a filter of hashed q-grams in front of exact comparison: Salmela, Tarhio, Kytojoki 2006,
doi:10.1145/1187436.1187438 (multi-pattern matching with q-grams).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cloakhouse.stages.sweep_anchors import LEAST, ats, numbers
from cloakhouse.stages.sweep_groups import Anchored, Part, Sampled, Values, cells, rarest
from cloakhouse.stages.sweep_words import WINDOW, Bytes, Indices, words_at

OF_TOKENS, OF_TEXT, OF_COMMON_TEXT = 8, 4, 1  # bytes between positions that are looked at
SHORTEST = WINDOW + OF_TEXT - 1  # bytes of a value that can be found anywhere
COMMON = 32  # values that share their rarest word
FEW = 1 << 15  # values whose words, all of them, fit in the cache
ANYWHERE, NUMBER, WORD, ADDRESS = range(4)  # what may stand beside a value
_NOWHERE = np.zeros(0, np.int64)


def _joining() -> npt.NDArray[np.bool_]:
    """Return, by kind, side (before, after) and byte, whether that byte belongs to a longer word than the value."""
    joins = np.zeros((4, 2, 256), np.bool_)
    digits = np.frombuffer(b"0123456789", np.uint8)
    joins[NUMBER, :, digits] = True
    words = np.array([chr(byte).isalnum() or byte > 127 for byte in range(256)])
    joins[WORD] = joins[ADDRESS] = words
    joins[ADDRESS, 0, np.frombuffer(b"._%+-", np.uint8)] = True
    joins[ADDRESS, 1, ord("-")] = True
    return joins


_JOINS = _joining()


def beside(value: bytes) -> int:
    """Return how a value that names a person is told from a part of a longer one."""
    return NUMBER if value.isdigit() else ADDRESS if b"@" in value else WORD


@dataclass(frozen=True)
class Found:
    """Occurrences: where each starts (bytes, or for cells their row), and which value it is."""

    places: Indices
    values: Indices

    def __len__(self) -> int:
        return len(self.values)


class Needles:
    """Values to look for; immutable."""

    def __init__(self, values: pa.Array, kinds: npt.NDArray[np.uint8]) -> None:
        """`values` are unique, binary, of `SHORTEST` bytes or more; `kinds` says what may stand beside each."""
        every = Values.of(values)
        self.lengths, self._kinds = every.lengths, kinds
        self.longest = int(self.lengths.max(initial=SHORTEST))
        if (self.lengths < SHORTEST).any():
            raise ValueError(f"values to look for have at least {SHORTEST} bytes")
        self._groups = _groups(every, kinds)

    def __len__(self) -> int:
        return len(self.lengths)

    def find(self, data: Bytes) -> Found:
        """Return where in `data` the values stand; its ends count as ends of words."""
        starts, values = self._candidates(data, _NOWHERE)
        keep = self._stand_alone(data, starts, values, np.zeros_like(starts), np.full_like(starts, len(data)))
        return Found(starts[keep], values[keep])

    def find_in_cells(self, column: pa.Array) -> Found:
        """Return which cells of a column (text or bytes, of fixed size or not) hold the values, each whole."""
        data, edges = cells(column)
        starts, values = self._candidates(data, edges)
        rows = np.searchsorted(edges, starts, "right") - 1
        low, high = edges[rows], edges[np.minimum(rows + 1, len(edges) - 1)]
        within = starts + self.lengths[values] <= high
        starts, values, rows = starts[within], values[within], rows[within]
        keep = self._stand_alone(data, starts, values, low[within], high[within])
        return Found(rows[keep], values[keep])

    def _candidates(self, data: Bytes, edges: Indices) -> tuple[Indices, Indices]:
        """Return (start, value) of every place where a value stands, whatever is beside it."""
        parts = [(_NOWHERE, _NOWHERE), *(found for group in self._groups for found in group.find(data, edges))]
        starts, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        return starts, values

    def _stand_alone(
        self, data: Bytes, starts: Indices, values: Indices, low: Indices, high: Indices
    ) -> npt.NDArray[np.bool_]:
        """Return which occurrences, each within its bounds `low` to `high`, are no part of a longer word."""
        if not len(starts):
            return np.zeros(0, np.bool_)
        ends, kinds = starts + self.lengths[values], self._kinds[values]
        before = _JOINS[kinds, 0, data[np.maximum(starts - 1, 0)]] & (starts > low)
        after = _JOINS[kinds, 1, data[np.minimum(ends, len(data) - 1)]] & (ends < high)
        return np.asarray(~before & ~after)


def _groups(values: Values, kinds: npt.NDArray[np.uint8]) -> list[Sampled | Anchored]:
    """Return all values in groups. A few are all sampled: that costs less than looking for anchors, too."""
    few = len(values) <= FEW
    anchored = [] if few else [(numbers, _numbers(values, kinds)), (ats, _addresses(values, kinds))]
    others = np.ones(len(values), np.bool_)
    for told, _, _ in itertools.chain.from_iterable(parts for _, parts in anchored):
        others[told.numbers] = False
    tokens = (kinds == ANYWHERE) & (values.lengths >= WINDOW + OF_TOKENS - 1)
    text = np.flatnonzero(others & ~tokens)
    common = rarest(values.those(text), OF_TEXT)[1] > COMMON if len(text) else np.zeros(0, np.bool_)
    every, rare = np.flatnonzero(tokens), text[~common]
    if few and len(rare):  # words are looked at once: those at every fourth byte find tokens, too
        every, rare = every[:0], np.sort(np.concatenate([every, rare]))
    sampled = ((every, OF_TOKENS), (rare, OF_TEXT), (text[common], OF_COMMON_TEXT))
    return [
        *(Anchored(where, parts) for where, parts in anchored if parts),
        *(Sampled(values.those(rows), stride, apart=not few) for rows, stride in sampled if len(rows)),
    ]


def _numbers(values: Values, kinds: npt.NDArray[np.uint8]) -> list[Part]:
    """Return the numbers: told by digits behind those that many begin with."""
    ends = np.append(0, np.cumsum((values.data - np.uint8(ord("0"))) < 10))[values.edges]
    number, long = (kinds == NUMBER) & (np.diff(ends) == values.lengths), values.lengths >= 2 * WINDOW
    return _told(values, np.zeros_like(values.lengths), ((number & long, WINDOW), (number & ~long, LEAST - WINDOW)))


def _addresses(values: Values, kinds: npt.NDArray[np.uint8]) -> list[Part]:
    """Return the addresses: told by what stands before the `@`, or around it."""
    at = np.append(np.flatnonzero(values.data == ord("@")), len(values.data))
    at = at[np.searchsorted(at, values.edges[:-1])] - values.edges[:-1]
    address = (kinds == ADDRESS) & (at < values.lengths)
    of_name = ((WINDOW, np.inf), (4, WINDOW), (0, 4))
    return _told(values, at, ((address & (at >= least) & (at < most), -least) for least, most in of_name))


def _told(values: Values, anchors: Indices, offsets: Iterable[tuple[npt.NDArray[np.bool_], int]]) -> list[Part]:
    """Return those, by offset, whose word there from their anchor few of them have."""
    parts = []
    for mine, offset in offsets:
        rows = np.flatnonzero(mine)
        words = words_at(values.data, values.edges[rows] + anchors[rows] + offset)
        _, of_each, counts = np.unique(words, return_inverse=True, return_counts=True)
        rare = rows[counts[of_each] <= COMMON]
        if len(rare):
            parts.append((values.those(rare), anchors[rare], offset))
    return parts
