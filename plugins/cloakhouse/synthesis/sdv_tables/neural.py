"""CTGAN and TVAE behind our protocol: networks over one table, on the processor, of bounded size.

Source: Xu, Skoularidou, Cuesta-Infante, Veeramachaneni 2019, arXiv 1907.00503.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import pyarrow as pa

from cloakhouse.errors import StageError
from cloakhouse.synthesis.protocol import Chunk, Plan, Report, Shards
from cloakhouse.synthesis.sdv_tables import fitted, frames, limits, metadata
from cloakhouse.synthesis.sdv_tables.fitted import Artifact, Engine, SdvModel
from cloakhouse.synthesis.sdv_tables.frames import decode
from cloakhouse.synthesis.sdv_tables.limits import Bounds
from cloakhouse.synthesis.sdv_tables.quiet import quiet, seeded, watched
from cloakhouse.synthesis.sdv_tables.stripping import strip

SUPPORT = 5  # rows that a component of a number's mixture stands for at least
LEAST_ROWS = 60  # so that components of that support may exist: there are at most ten


@dataclass(frozen=True)
class Network:
    """One of the two: its name in contracts, SDV's class, the module of its loop, its parameters in both languages."""

    name: str
    kind: str
    module: str
    bounds: Bounds
    arguments: Callable[[dict[str, int]], dict[str, Any]]


def check(network: Network, plan: Plan) -> None:
    """See Engine.check."""
    limits.check_values(network.name, plan.parameters, network.bounds)
    limits.check_rows(network.name, plan)


def fit(network: Network, engine: Engine, plan: Plan, shards: Shards, report: Report) -> SdvModel:
    """See Engine.fit; progress by epochs. Memory: the training table with a column for each category."""
    check(network, plan)
    table = shards.table()
    _check_rows(network, table)
    settings = limits.chosen(plan.parameters, network.bounds)
    codings = frames.learn(table, plan.columns)
    limits.check_categories(network.name, frames.categories(codings))
    made = None
    if frames.varies(codings):
        with (
            quiet(),
            seeded(plan.seed),
            _supported(network, table),
            watched(network.module, settings["epochs"], lambda done, total: report(done, total, "epochs")),
        ):
            made = _fitted(network, settings, codings, table, plan)
    names = tuple(column.name for column in plan.columns)
    artifact = Artifact(network.name, fitted.library(), names, table.num_rows, codings, (), settings, made)
    return fitted.model(engine, plan, artifact)


def sampled(plan: Plan, artifact: Artifact, chunk: Chunk, seed: int) -> dict[str, pa.Array]:
    """Return the columns of `chunk`."""
    made: Any = {}
    if artifact.synthesizer is not None:
        artifact.synthesizer.set_device("cpu")
        artifact.synthesizer.set_random_state(seed)
        made = artifact.synthesizer.sample(chunk.size)
    return decode(made, chunk.size, artifact.codings, plan.columns)


def _fitted(
    network: Network, settings: dict[str, int], codings: tuple[frames.Coding, ...], table: pa.Table, plan: Plan
) -> Any:
    import pandas as pd
    import sdv.single_table

    made = getattr(sdv.single_table, network.kind)(
        metadata.single(codings),
        enforce_min_max_values=False,
        enforce_rounding=False,
        enable_gpu=False,
        **network.arguments(settings),
    )
    made.fit({metadata.TABLE: pd.DataFrame(frames.encode(table, codings, plan.seed))})
    strip(made._model)
    return made._model


@contextlib.contextmanager
def _supported(network: Network, table: pa.Table) -> Iterator[None]:
    """Have the library drop components of mixtures that fewer than SUPPORT rows make: they would lie beside these."""
    from ctgan.data_transformer import DataTransformer  # type: ignore[import-untyped]

    share = max(0.005, SUPPORT / table.num_rows)
    module = import_module(network.module)
    module.DataTransformer = partial(DataTransformer, weight_threshold=share)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.DataTransformer = DataTransformer  # type: ignore[attr-defined]


def _check_rows(network: Network, table: pa.Table) -> None:
    if table.num_rows < LEAST_ROWS:
        raise StageError(
            where=f"synthesis with {network.name}",
            expected=f"at least {LEAST_ROWS} training rows",
            found=f"{table.num_rows}",
            not_done="nothing was fitted or sampled",
            remedy="land more partitions, or choose the engine `gaussian copula`",
            code="too-small",
        )
