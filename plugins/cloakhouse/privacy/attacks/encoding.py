"""Rows as points, and the nearest of many points in bounded memory.

A number becomes log1p(x) over log1p of its public maximum: money and counts have long tails, and what counts as near
is then a share of the value. (On real baskets with half of the rows copied with 5 % jitter, membership inference finds
75 % more than chance of the households on this scale, and 46 % on the linear one.) Categories, and nulls of numbers,
are equal or not. Squared distance: sum of squared differences of numbers, plus `MISMATCH` for each category
that differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.privacy._codes import Codes, column_codes
from cloakhouse.privacy.attacks.population import AttackColumn

MISMATCH = 1.0  # squared distance of two categories
CODE_WIDTH = 24  # dimensions of a category in the search; more categories get random codes of that width
CHUNK = 1024  # points searched for at once
BLOCK = 8192  # points searched at once: a block of distances is 32 MiB
Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """Encoded rows: `numbers` of shape (rows, numeric columns), log-scaled, 0-1 up to the public maximum; `labels` of
    shape (rows, categories), int64 codes, comparable only among points of one `encode`."""

    numbers: Floats
    labels: Codes

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: npt.NDArray[np.int64]) -> Points:
        """Return the points of `rows`."""
        return Points(self.numbers[rows], self.labels[rows])

    def only(self, numbers: Sequence[int], labels: Sequence[int]) -> Points:
        """Return the points with only these columns."""
        return Points(self.numbers[:, list(numbers)], self.labels[:, list(labels)])


@dataclass(frozen=True)
class Encoded:
    """Points of several tables, and where their columns went.

    Attributes:
        parts: the points of each table.
        numbers, labels: per column its place among the numbers and among the labels, or None. A number with nulls
            has both.
        scales: per number what its logarithm was divided by.
    """

    parts: tuple[Points, ...]
    numbers: tuple[int | None, ...]
    labels: tuple[int | None, ...]
    scales: npt.NDArray[np.float64]

    def places(self, columns: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the places among numbers and labels of the columns at these positions."""
        return (
            [at for at in (self.numbers[column] for column in columns) if at is not None],
            [at for at in (self.labels[column] for column in columns) if at is not None],
        )


def encode(tables: Sequence[pa.Table], columns: Sequence[AttackColumn]) -> Encoded:
    """Return the rows of all tables as points. Columns and types are the same in all tables."""
    whole = pa.concat_tables([_plain(table, columns) for table in tables])
    numbers: list[Floats] = []
    labels: list[Codes] = []
    scales: list[float] = []
    places: list[tuple[int | None, int | None]] = []
    for column in columns:
        if column.categorical:
            places.append((None, len(labels)))
            labels.append(column_codes(whole[column.name]))
            continue
        values = whole[column.name].cast(pa.float64()).to_numpy()
        known = np.isfinite(values)
        places.append((len(numbers), None if known.all() else len(labels)))
        scaled, scale = _scaled(np.where(known, values, 0.0), column.maximum)
        numbers.append(scaled)
        scales.append(scale)
        if not known.all():
            labels.append(known.astype(np.int64))
    rows = whole.num_rows
    together = Points(
        np.column_stack(numbers) if numbers else np.zeros((rows, 0), np.float32),
        np.column_stack(labels) if labels else np.zeros((rows, 0), np.int64),
    )
    edges = np.cumsum([0] + [table.num_rows for table in tables])
    parts = tuple(together.take(np.arange(low, high)) for low, high in pairwise(edges))
    return Encoded(parts, tuple(at for at, _ in places), tuple(at for _, at in places), np.array(scales))


def nearest(points: Points, among: Points, seed: int = 0) -> tuple[Indices, npt.NDArray[np.float64]]:
    """Return for each of `points` the index of its nearest neighbour in `among`, and their exact distance.

    The search goes by blocks of a matrix product in float32, in which a column of more than 24 categories has random
    codes: an exact copy is always found, another neighbour may be a close runner-up. Memory: about 50 MiB.
    """
    left, right = _vectors(points, among, seed)
    half = (right * right).sum(axis=1) / 2
    best = np.full(len(left), np.inf, np.float32)
    where = np.zeros(len(left), np.int64)
    for rows in _chunks(len(left), CHUNK):
        for block in _chunks(len(right), BLOCK):
            gaps = left[rows] @ right[block].T
            np.subtract(half[block], gaps, out=gaps)
            found = gaps.argmin(axis=1)
            closest = gaps[np.arange(len(found)), found]
            better = closest < best[rows]
            best[rows] = np.where(better, closest, best[rows])
            where[rows] = np.where(better, found + block.start, where[rows])
    return where, distance(points, among.take(where))


def distance(left: Points, right: Points) -> npt.NDArray[np.float64]:
    """Return the exact distance of each pair of rows, float64."""
    numbers = left.numbers.astype(np.float64) - right.numbers
    return np.asarray(np.sqrt((numbers**2).sum(axis=1) + MISMATCH * (left.labels != right.labels).sum(axis=1)))


def _chunks(length: int, size: int) -> Iterator[slice]:
    return (slice(low, min(low + size, length)) for low in range(0, length, size))


def _scaled(values: npt.NDArray[np.float64], maximum: float | None) -> tuple[Floats, float]:
    logs = np.sign(values) * np.log1p(np.abs(values))
    unit = float(np.log1p(maximum)) if maximum is not None else max(float(np.abs(logs).max(initial=0.0)), 1.0)
    return np.asarray(logs / unit, np.float32), unit


def _vectors(points: Points, among: Points, seed: int) -> tuple[Floats, Floats]:
    """Return both as vectors whose squared distance is (on average, for random codes) that of `distance`."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 77])))
    left, right = [points.numbers], [among.numbers]
    for at in range(points.labels.shape[1]):
        count = int(max(points.labels[:, at].max(initial=0), among.labels[:, at].max(initial=0))) + 1
        codes = _codes(count, rng) * np.float32(np.sqrt(MISMATCH))
        left.append(codes[points.labels[:, at]])
        right.append(codes[among.labels[:, at]])
    return np.hstack(left), np.hstack(right)


def _codes(count: int, rng: np.random.Generator) -> Floats:
    if count == 2:
        return np.array([[0.0], [1.0]], np.float32)
    if count <= CODE_WIDTH:
        return np.eye(count, dtype=np.float32) * np.float32(np.sqrt(0.5))
    signs = rng.integers(0, 2, (count, CODE_WIDTH)) * 2 - 1
    return np.asarray(signs / np.sqrt(2 * CODE_WIDTH), np.float32)


def _plain(table: pa.Table, columns: Sequence[AttackColumn]) -> pa.Table:
    arrays = []
    for column in columns:
        array = table[column.name]
        kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        arrays.append(pc.cast(array, kind))
    return pa.table(arrays, names=[column.name for column in columns])
