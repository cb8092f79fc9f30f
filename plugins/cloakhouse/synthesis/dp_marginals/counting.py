"""What Spark workers count in a shard, after the survey: three tasks, each one pass over the training view.

Tasks hold numbers and names only, and answer with packed arrays that add up over shards. Their sums are exact and stay
on the driver: nothing of them leaves it without noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cloakhouse.contracts.model import Level
from cloakhouse.synthesis.dp_marginals.arrays import Arrays, pack, unpack
from cloakhouse.synthesis.dp_marginals.bounding import clipped_sums, norms, row_weights
from cloakhouse.synthesis.dp_marginals.domains import Domain
from cloakhouse.synthesis.dp_marginals.records import Layer, Records, encoded

Counts = npt.NDArray[np.int64]
SCORED_ROWS = 16  # records of a unit that weigh fully in scores: as many keep scores sharp for any data


@dataclass(frozen=True)
class Marginal:
    """The columns (coarse bins) of one marginal, in the order of its axes, and how each is thinned (`thin`)."""

    columns: tuple[str, ...]
    thinned: bool = False  # the last column in its few wide bins

    @property
    def name(self) -> str:
        """A name for arrays and logs."""
        return " x ".join(self.columns)


@dataclass(frozen=True)
class Binned:
    """Coarse bins of one level: `bins[column]` and `wide[column]` map a cell to a bin (int64), `width` counts bins."""

    layer: Layer
    cap: int
    bins: Mapping[str, Counts]
    wide: Mapping[str, Counts]

    def shape(self, marginal: Marginal) -> tuple[int, ...]:
        """Return how many bins each axis of `marginal` has."""
        tables = [self.bins[name] for name in marginal.columns]
        if marginal.thinned:
            tables[-1] = self.wide[marginal.columns[-1]]
        return tuple(int(table.max()) + 1 for table in tables)

    def code(self, marginal: Marginal, found: Records) -> Counts:
        """Return the cell of `marginal` that each record falls into."""
        code = np.zeros(len(found.unit), np.int64)
        for at, (name, size) in enumerate(zip(marginal.columns, self.shape(marginal), strict=True)):
            last = at == len(marginal.columns) - 1
            table = self.wide[name] if last and marginal.thinned else self.bins[name]
            code = code * size + table[found.codes[name]]
        return code


@dataclass(frozen=True)
class Singles:
    """Second pass: every column by itself in its cells, clipped for each candidate norm; and the units."""

    layers: tuple[Layer, ...]
    domains: Mapping[str, Domain]
    caps: Mapping[Level, int]

    def __call__(self, table: pa.Table) -> bytes:
        answer: Arrays = {}
        for level, records in encoded(table, self.layers, self.domains).items():
            cap = self.caps[level]
            counts = np.bincount(records.unit, minlength=records.units)
            answer[f"{level}/units"] = np.array([int((counts > 0).sum())])
            answer[f"{level}/records"] = np.array([int(np.minimum(counts, cap).sum())])
            answer[f"{level}/weight"] = np.array([int(row_weights(records.unit, records.units, scored(cap)).sum())])
            for name, code in records.codes.items():
                sums = clipped_sums(records.unit, records.units, code, self.domains[name].size, norms(cap))
                answer |= _flat(f"{level}/{name}", sums)
        return pack(answer)


@dataclass(frozen=True)
class Pairs:
    """Third pass: weighted counts of every pair of an own column with any other, for scores."""

    layers: tuple[Layer, ...]
    domains: Mapping[str, Domain]
    binned: Mapping[Level, Binned]

    def __call__(self, table: pa.Table) -> bytes:
        answer: Arrays = {}
        for level, records in encoded(table, self.layers, self.domains).items():
            binned = self.binned[level]
            weights = row_weights(records.unit, records.units, scored(binned.cap)).astype(np.float64)
            coarse = {name: binned.bins[name][records.codes[name]] for name in binned.layer.columns}
            for marginal in pairs_of(binned.layer):
                first, second = marginal.columns
                shape = binned.shape(marginal)
                code = coarse[first] * shape[1] + coarse[second]
                counts = np.bincount(code, weights, minlength=shape[0] * shape[1])
                answer[f"{level}/{marginal.name}"] = counts.astype(np.int64).reshape(shape)
        return pack(answer)


@dataclass(frozen=True)
class Cliques:
    """Fourth pass: the marginals to be measured, clipped for each candidate norm, and weighted ones for scores."""

    layers: tuple[Layer, ...]
    domains: Mapping[str, Domain]
    binned: Mapping[Level, Binned]
    measured: Mapping[Level, tuple[Marginal, ...]]
    scored: Mapping[Level, tuple[Marginal, ...]]

    def __call__(self, table: pa.Table) -> bytes:
        answer: Arrays = {}
        for level, records in encoded(table, self.layers, self.domains).items():
            binned = self.binned[level]
            weights = row_weights(records.unit, records.units, scored(binned.cap)).astype(np.float64)
            for marginal in (*self.measured[level], *self.scored[level]):
                code, cells = binned.code(marginal, records), int(np.prod(binned.shape(marginal)))
                sums = clipped_sums(records.unit, records.units, code, cells, norms(binned.cap))
                answer |= _flat(f"{level}/{marginal.name}", sums)
                if marginal in self.scored[level]:
                    counts = np.bincount(code, weights, minlength=cells).astype(np.int64)
                    answer[f"{level}/{marginal.name}/weighted"] = counts
        return pack(answer)


def scored(cap: int) -> int:
    """Return how many records of a unit weigh fully in scores, where `cap` count at most."""
    return min(cap, SCORED_ROWS)


def pairs_of(layer: Layer) -> list[Marginal]:
    """Return every pair of an own column with a given one, or with an own one before it."""
    return [Marginal((own, other)) for at, own in enumerate(layer.own) for other in (*layer.given, *layer.own[:at])]


def added(answers: Iterable[bytes]) -> Arrays:
    """Return the sums of the answers' arrays by name. Without any answer there is none."""
    total: Arrays = {}
    for answer in answers:
        for name, array in unpack(answer)[0].items():
            total[name] = total[name] + array if name in total else array
    return total


def _flat(name: str, sums: object) -> Arrays:
    return {f"{name}/{field}": getattr(sums, field) for field in ("units", "inside", "beyond")}
