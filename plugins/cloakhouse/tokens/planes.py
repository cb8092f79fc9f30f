"""Blocks of many rows in planes: plane j holds block j of every row that has one, so one AES call takes it whole."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from cloakhouse.tokens.aes import BLOCK, SLACK


class Planes:
    """Memory for planes of blocks, kept and reused from one chunk of rows to the next."""

    __slots__ = ("_raw", "_starts", "counts")

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._starts: list[int] = []  # bytes
        self._raw = np.zeros(0, np.uint8)

    def lay(self, counts: list[int]) -> None:
        """Make room for planes of so many blocks; what they hold is unspecified."""
        self.counts = counts
        self._starts = list(accumulate((BLOCK * count for count in counts), initial=0))
        if len(self._raw) < self._starts[-1] + SLACK:
            self._raw = np.zeros(self._starts[-1] + SLACK, np.uint8)

    def data(self, plane: int) -> NDArray[np.uint8]:
        """Return the plane's bytes, uint8[16 * count]."""
        return self._raw[self._starts[plane] : self._starts[plane + 1]]

    def target(self, plane: int) -> NDArray[np.uint8]:
        """Return the plane's bytes with those behind it, as much as `AesPermutation.into` wants of a target."""
        return self._raw[self._starts[plane] : self._starts[plane + 1] + SLACK]

    def cells(self, plane: int) -> NDArray[np.void]:
        """Return the plane's blocks, V16[count]."""
        return self.data(plane).view("V16")

    def words(self, plane: int) -> NDArray[np.uint64]:
        """Return the plane's blocks as uint64[count, 2], in the machine's byte order."""
        return self.data(plane).view(np.uint64).reshape(-1, 2)
