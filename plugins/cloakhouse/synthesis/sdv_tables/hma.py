"""SDV's HMA behind our protocol: units and their rows, two tables made from flat rows and joined again.

No formal privacy guarantee. Roots are units: a chunk of n has exactly n, each with the rows that it drew.
Parameters: `maxRows`, rows of a unit that count and come out at most (the first ones in their order).
Source: Patki, Wedge, Veeramachaneni 2016, doi:10.1109/DSAA.2016.49, section III.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from cloakhouse.synthesis.protocol import Chunk, Plan, Report, Shards
from cloakhouse.synthesis.sdv_tables import fitted, frames, limits, units
from cloakhouse.synthesis.sdv_tables.fitted import Artifact, Engine, SdvModel
from cloakhouse.synthesis.sdv_tables.frames import Coding
from cloakhouse.synthesis.sdv_tables.kept import ordered
from cloakhouse.synthesis.sdv_tables.limits import Bound, Bounds
from cloakhouse.synthesis.sdv_tables.metadata import KEY, OF, TABLE, UNITS
from cloakhouse.synthesis.sdv_tables.quiet import quiet, seeded, watched
from cloakhouse.synthesis.sdv_tables.units import Households

NAME = "hma"
BOUNDS: Bounds = {"maxRows": Bound(400, 2, 10_000)}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ContractError for parameters that the engine doesn't have, or out of their bounds."""
    limits.check_values(NAME, parameters, BOUNDS)


def check(plan: Plan) -> None:
    """See Engine.check. Three levels are refused, and numbers without a cap."""
    check_parameters(plan.parameters)
    limits.check_units(NAME, plan)


def fit(plan: Plan, shards: Shards, report: Report) -> SdvModel:
    """See Engine.fit; progress by units. Memory: the training table a few times over, and a copula a unit."""
    check(plan)
    settings = limits.chosen(plan.parameters, BOUNDS)
    found = units.households(plan, shards.table(), settings["maxRows"])
    above, below = units.learn(plan, NAME, found)
    with (
        quiet(),
        seeded(plan.seed),
        watched("sdv.multi_table.hma", found.units.num_rows, lambda done, total: report(done, total, "units fitted")),
    ):
        made = _fitted(plan, settings, found, above, below)
    names = tuple(column.name for column in plan.columns)
    artifact = Artifact(NAME, fitted.library(), names, found.units.num_rows, below, above, settings, made)
    return fitted.model(ENGINE, plan, artifact)


def open_model(plan: Plan, content: bytes) -> SdvModel:
    """See Engine.open_model."""
    return fitted.opened(ENGINE, plan, content)


def sampled(plan: Plan, artifact: Artifact, chunk: Chunk, seed: int) -> dict[str, pa.Array]:
    """Return the flat columns of `chunk`: exactly its units."""
    above, below, of = artifact.synthesizer.drawn(chunk.size, seed)
    return units.joined(
        plan,
        chunk,
        of,
        frames.decode(above, chunk.size, artifact.units, plan.columns),
        frames.decode(below, len(of), artifact.codings, plan.columns),
    )


def _fitted(
    plan: Plan,
    settings: Mapping[str, int],
    found: Households,
    above: tuple[Coding, ...],
    below: tuple[Coding, ...],
) -> Any:
    import pandas as pd

    from cloakhouse.synthesis.sdv_tables.hierarchies import described, synthesizer

    made = synthesizer(above, below, settings["maxRows"])
    parents = {KEY: np.arange(found.units.num_rows), **frames.encode(found.units, above, plan.seed)}
    children = {OF: found.of, **frames.encode(found.rows, below, plan.seed)}
    tables = {UNITS: pd.DataFrame(parents), TABLE: pd.DataFrame(children)}
    made.auto_assign_transformers(tables)
    made.update_transformers(UNITS, ordered(above))
    made.update_transformers(TABLE, ordered(below))
    made.fit(tables)
    return described(made, below)


ENGINE = Engine(NAME, {"marginals": "of units: counts in public cells; of rows: a normal distribution a unit"}, sampled)
