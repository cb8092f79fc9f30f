"""SDV's PAR behind our protocol: the sequence of a unit's rows, given what is known of the unit.

No formal privacy guarantee, and no engine for scale: it is fitted on a bounded sample of units, which the contract's
`maxTrainingRows` draws, so that whoever is on the training side was fitted on and is attacked as such. Roots are units.
Parameters: `epochs`; `maxRows` of a sequence (the first ones).
Source: Zhang, Patki, Veeramachaneni 2022, arXiv 2207.14406.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from cloakhouse.errors import StageError
from cloakhouse.synthesis.protocol import Chunk, Plan, Report, Shards
from cloakhouse.synthesis.sdv_tables import fitted, frames, hma, limits, units
from cloakhouse.synthesis.sdv_tables.fitted import Artifact, Engine, SdvModel
from cloakhouse.synthesis.sdv_tables.frames import Coding
from cloakhouse.synthesis.sdv_tables.limits import Bound, Bounds
from cloakhouse.synthesis.sdv_tables.metadata import OF, TABLE
from cloakhouse.synthesis.sdv_tables.quiet import quiet, seeded, watched
from cloakhouse.synthesis.sdv_tables.units import Households

NAME = "par"
MOST_UNITS = 5_000
BOUNDS: Bounds = {
    "epochs": Bound(5, 1, 300),
    "maxRows": Bound(60, 2, 500),
}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ContractError for parameters that the engine doesn't have, or out of their bounds."""
    limits.check_values(NAME, parameters, BOUNDS)


def check(plan: Plan) -> None:
    """See Engine.check. Three levels are refused, and numbers without a cap."""
    check_parameters(plan.parameters)
    limits.check_units(NAME, plan)


def fit(plan: Plan, shards: Shards, report: Report) -> SdvModel:
    """See Engine.fit; progress by epochs. Memory: the training rows with a number for each category.

    Raises StageError (`stage.too-large`) for more than 5,000 units, besides what Engine.fit says.
    """
    check(plan)
    settings = limits.chosen(plan.parameters, BOUNDS)
    found = units.households(plan, shards.table(), settings["maxRows"])
    if found.units.num_rows > MOST_UNITS:
        raise StageError(
            where=f"synthesis with {NAME}",
            expected=f"at most {MOST_UNITS:,} units of privacy",
            found="more",
            not_done="nothing was fitted or sampled",
            remedy="lower maxTrainingRows in the contract: it draws whole units",
            code="too-large",
        )
    above, below = units.learn(plan, NAME, found)
    limits.check_categories(NAME, frames.categories((*above, *below)))
    with (
        quiet(),
        seeded(plan.seed),
        watched("deepecho.models.par", settings["epochs"], lambda done, total: report(done, total, "epochs")),
    ):
        made = _fitted(plan, settings, found, above, below)
    names = tuple(column.name for column in plan.columns)
    artifact = Artifact(NAME, fitted.library(), names, found.units.num_rows, below, above, settings, made)
    return fitted.model(ENGINE, plan, artifact)


def open_model(plan: Plan, content: bytes) -> SdvModel:
    """See Engine.open_model."""
    return fitted.opened(ENGINE, plan, content)


def sampled(plan: Plan, artifact: Artifact, chunk: Chunk, seed: int) -> dict[str, pa.Array]:
    """Return the flat columns of `chunk`: exactly its units, the rows of each in their order."""
    return hma.sampled(plan, artifact, chunk, seed)


def _fitted(
    plan: Plan,
    settings: Mapping[str, int],
    found: Households,
    above: tuple[Coding, ...],
    below: tuple[Coding, ...],
) -> Any:
    import pandas as pd

    from cloakhouse.synthesis.sdv_tables.sequences import autoregression, synthesizer

    made = synthesizer(above, below, settings["epochs"], settings["maxRows"])
    context = {name: values[found.of] for name, values in frames.encode(found.units, above, plan.seed).items()}
    made.fit({TABLE: pd.DataFrame({OF: found.of, **context, **frames.encode(found.rows, below, plan.seed)})})
    return autoregression(made)


ENGINE = Engine(
    NAME, {"marginals": "of units and lengths: counts in public cells; of rows: an autoregressive network"}, sampled
)
