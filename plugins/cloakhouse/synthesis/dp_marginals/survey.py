"""The first pass: what isn't declared and has to be bought. How many records units have, and their categories.

Whatever is counted for one unit must not depend on another: which of its values a unit supports is decided by how often
it has each, and then by the values' own order. An order of the shard, such as which value was seen first, would be
the work of other units, and one unit that goes could change what all the others support.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Level
from cloakhouse.synthesis.dp_marginals.arrays import pack, unpack_columns
from cloakhouse.synthesis.dp_marginals.bounding import MOST
from cloakhouse.synthesis.dp_marginals.records import Layer, Runs, runs

Counts = npt.NDArray[np.int64]
OF_GROUP = "rows of a group"
MOST_CATEGORIES = 3  # categories of one column that a unit supports when they are learnt: its commonest ones


@dataclass(frozen=True)
class Survey:
    """First pass: records of each unit for caps, and the categories to be learnt, each unit's commonest ones.

    Answers `sizes/<name>`: units by number of children, as positions in `caps()`; and by column `values/<name>` with
    `units/<name>`, how many units hold the value.
    """

    layers: tuple[Layer, ...]
    learnt: tuple[tuple[str, Level], ...]
    most: int = MOST_CATEGORIES

    def __call__(self, table: pa.Table) -> bytes:
        found = runs(table, any(layer.level is Level.GROUP for layer in self.layers))
        answer: dict[str, npt.NDArray[np.int64] | pa.Array] = {}
        for name, counts in _sizes(found, self.layers).items():
            at = np.searchsorted(caps(), counts)
            answer[f"sizes/{name}"] = np.bincount(np.minimum(at, len(caps()) - 1), minlength=len(caps()))
        for name, level in self.learnt:
            starts = found.starts(level)
            column = _comparable(table.column(name).take(pa.array(starts)))
            values, units = _held(column, found.unit_at(starts), self.most)
            answer[f"values/{name}"], answer[f"units/{name}"] = values, units
        return pack(answer)


def caps() -> Counts:
    """Return the public candidates of caps on children: whole numbers, each about a half above the last.

    Few of them, since noise may pick any: a cap far above what units have costs more than one a little too low.
    """
    steps = np.unique(np.rint(1.5 ** np.arange(0, 35)).astype(np.int64))
    return np.asarray(np.r_[steps[steps < MOST], MOST], np.int64)


def sizes(answers: Iterable[bytes]) -> dict[str, Counts]:
    """Return by what is capped (a level, or `rows of a group`) how many units have each of `caps()`."""
    found: dict[str, Counts] = {}
    for answer in answers:
        for name, column in unpack_columns(answer)[0].items():
            kind, _, of = name.partition("/")
            if kind == "sizes":
                found[of] = found.get(of, 0) + np.asarray(column.to_numpy(), np.int64)
    return found


def categories(answers: Iterable[bytes], name: str) -> tuple[pa.Array, Counts]:
    """Return the different values of column `name`, and how many units hold each (int64)."""
    tables = []
    for answer in answers:
        arrays = unpack_columns(answer)[0]
        tables.append(pa.table({"value": arrays[f"values/{name}"], "units": arrays[f"units/{name}"]}))
    if not tables:
        return pa.nulls(0), np.zeros(0, np.int64)
    held = pa.concat_tables(tables).group_by("value").aggregate([("units", "sum")])
    return held["value"].combine_chunks(), np.asarray(held["units_sum"].to_numpy(), np.int64)


def _sizes(found: Runs, layers: tuple[Layer, ...]) -> dict[str, Counts]:
    """Return one number a unit for each cap: its records at a level, and its most rows in a group."""
    counts = {
        str(layer.level): found.sizes(Level.UNIT, layer.level) for layer in layers if layer.level is not Level.UNIT
    }
    if any(layer.level is Level.GROUP for layer in layers):
        most = np.zeros(found.units, np.int64)
        np.maximum.at(most, found.unit_at(found.group_starts), found.sizes(Level.GROUP, Level.ROW))
        counts[OF_GROUP] = most
    return counts


def _comparable(column: pa.ChunkedArray) -> pa.Array:
    """Return `column` so that equal values are one value: no dictionary, one zero, and no number that is none."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = column.combine_chunks()
    if pa.types.is_floating(values.type):
        zero = pa.scalar(0.0, values.type)
        values = pc.if_else(pc.is_finite(values), pc.add(values, zero), pa.scalar(None, values.type))
    return values


def _held(column: pa.Array, unit: Counts, most: int) -> tuple[pa.Array, Counts]:
    """Return the values of `column` in order, and how many units hold each, by the `most` commonest of each unit."""
    known = np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False), np.bool_)
    encoded = pc.dictionary_encode(column.drop_null())
    order = pc.array_sort_indices(encoded.dictionary)
    values, size = encoded.dictionary.take(order), max(len(order), 1)
    place = np.zeros(size, np.int64)
    place[order.to_numpy()] = np.arange(len(order))
    code = place[encoded.indices.to_numpy()]
    key, count = np.unique(unit[known] * size + code, return_counts=True)
    ranked = np.lexsort((key, -count, key // size))  # the commonest first, then in the values' own order
    owner = (key // size)[ranked]
    first = np.searchsorted(owner, owner)
    kept = key[ranked][np.arange(len(ranked)) - first < most]
    return values, np.bincount(kept % size, minlength=len(values)).astype(np.int64)
