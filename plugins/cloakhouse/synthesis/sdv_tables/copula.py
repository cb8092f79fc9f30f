"""SDV's GaussianCopula behind our protocol.

No formal privacy guarantee: the fitted marginals and correlations are not noised. What bounds the risk here is that
ranges come from the contract and never from the data, that rare categories are suppressed before the fit
(`cloakhouse.synthesis.split`), that what is stored holds counts in public cells, and that the release is tested against
a hold-out. Source: Patki, Wedge, Veeramachaneni 2016, doi:10.1109/DSAA.2016.49.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from cloakhouse.synthesis.protocol import Chunk, Plan, Report, Shards
from cloakhouse.synthesis.sdv_tables import fitted, frames, limits, metadata
from cloakhouse.synthesis.sdv_tables.fitted import Artifact, Engine, SdvModel
from cloakhouse.synthesis.sdv_tables.frames import decode
from cloakhouse.synthesis.sdv_tables.kept import kept, ordered
from cloakhouse.synthesis.sdv_tables.quiet import quiet, seeded

NAME = "gaussian copula"


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ContractError for any parameter: the engine has none."""
    limits.check_values(NAME, parameters, {})


def check(plan: Plan) -> None:
    """See Engine.check."""
    check_parameters(plan.parameters)
    limits.check_rows(NAME, plan)


def fit(plan: Plan, shards: Shards, report: Report) -> SdvModel:
    """See Engine.fit. Memory: the training table a few times over."""
    check(plan)
    table = shards.table()
    limits.check_size(table)
    report(0, table.num_rows, "rows fitted")
    codings = frames.learn(table, plan.columns)
    made = None
    if frames.varies(codings):
        with quiet(), seeded(plan.seed):
            import pandas as pd

            from cloakhouse.synthesis.sdv_tables.marginals import synthesizer

            made = synthesizer(metadata.single(codings), codings)
            rows = {metadata.TABLE: pd.DataFrame(frames.encode(table, codings, plan.seed))}
            made.auto_assign_transformers(rows)
            made.update_transformers(ordered(codings))
            made.fit(rows)
            made = kept(made)
    report(table.num_rows, table.num_rows, "rows fitted")
    names = tuple(column.name for column in plan.columns)
    artifact = Artifact(NAME, fitted.library(), names, table.num_rows, codings, (), {}, made)
    return fitted.model(ENGINE, plan, artifact)


def open_model(plan: Plan, content: bytes) -> SdvModel:
    """See Engine.open_model."""
    return fitted.opened(ENGINE, plan, content)


def sampled(plan: Plan, artifact: Artifact, chunk: Chunk, seed: int) -> dict[str, pa.Array]:
    """Return the columns of `chunk`."""
    made = artifact.synthesizer.drawn(chunk.size, seed) if artifact.synthesizer else {}
    return decode(made, chunk.size, artifact.codings, plan.columns)


ENGINE = Engine(NAME, {"marginals": "counts in public cells of the contract's range, normal without one"}, sampled)
