"""From flat rows to units and their rows, and back to flat rows with numbers of new units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Level
from cloakhouse.errors import StageError
from cloakhouse.synthesis.protocol import UNIT, Chunk, Plan
from cloakhouse.synthesis.sdv_tables import frames, limits
from cloakhouse.synthesis.sdv_tables.limits import of_level

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Households:
    """Training rows by unit of privacy.

    Attributes:
        units: one row a unit, the columns of the unit.
        rows: the columns of the row; rows of a unit in their order.
        of: for each row the number of its unit, from 0, rising.
    """

    units: pa.Table
    rows: pa.Table
    of: Codes


def households(plan: Plan, table: pa.Table, most_rows: int) -> Households:
    """Return `table` by unit: at most the first `most_rows` rows of each.

    Raises StageError for fewer than ten units.
    """
    of = pc.dictionary_encode(table.column(UNIT).combine_chunks()).indices.to_numpy().astype(np.int64)
    count = int(of.max()) + 1 if len(of) else 0
    limits.check_size(table, count)
    order = np.argsort(of, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(of[order]) > 0])
    place = np.arange(len(order)) - starts[of[order]]
    chosen = order[place < most_rows]
    numbers = np.unique(of[chosen], return_inverse=True)[1].astype(np.int64)
    flat = table.take(pa.array(chosen))
    firsts = flat.take(pa.array(np.flatnonzero(np.r_[True, np.diff(numbers) > 0])))
    return Households(
        firsts.select([column.name for column in of_level(plan, Level.UNIT)]),
        flat.select([column.name for column in of_level(plan, Level.ROW)]),
        numbers,
    )


def learn(plan: Plan, engine: str, found: Households) -> tuple[tuple[frames.Coding, ...], tuple[frames.Coding, ...]]:
    """Return the codings of the units' columns and of the rows' (`u0`, ... and `r0`, ... within the library).

    Raises StageError (`stage.constant`) when no column of the row varies: there is no structure to fit.
    """
    above = frames.learn(found.units, of_level(plan, Level.UNIT), "u")
    below = frames.learn(found.rows, of_level(plan, Level.ROW), "r")
    if not frames.varies(below):
        raise StageError(
            where=f"synthesis with {engine}",
            expected="a column of the row that varies",
            found=f"{len(below)} columns of one value each",
            not_done="nothing was fitted or sampled",
            remedy="declare other measures in the view, or choose an engine of single tables",
            code="constant",
        )
    return above, below


def joined(
    plan: Plan, chunk: Chunk, of: Codes, above: dict[str, pa.Array], below: dict[str, pa.Array]
) -> dict[str, pa.Array]:
    """Return flat columns: those of the row, those of the unit repeated, and numbers from the chunk's start on.

    `of` holds the unit of each row, 0 to the chunk's size - 1.
    """
    found = dict(below)
    for column in plan.columns:
        if column.number:
            found[column.name] = pa.array(of + chunk.start, pa.int64()).cast(column.type)
        elif column.level is Level.UNIT:
            found[column.name] = above[column.name].take(pa.array(of))
    return found
