"""SDV's TVAE behind our protocol: a variational autoencoder over one table.

No formal privacy guarantee; see `cloakhouse.synthesis.sdv_tables.stripping` for what is stored of it.
Parameters: batchSize in rows; the width is that of the two layers of encoder and decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloakhouse.synthesis.protocol import Plan, Report, Shards
from cloakhouse.synthesis.sdv_tables import fitted, limits, neural
from cloakhouse.synthesis.sdv_tables.fitted import Engine, SdvModel
from cloakhouse.synthesis.sdv_tables.limits import Bound, Bounds
from cloakhouse.synthesis.sdv_tables.neural import Network

NAME = "tvae"
BOUNDS: Bounds = {
    "epochs": Bound(10, 1, 300),
    "batchSize": Bound(500, 20, 5_000),
    "embedding": Bound(64, 4, 512),
    "width": Bound(128, 8, 1_024),
}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ContractError for parameters that the engine doesn't have, or out of their bounds."""
    limits.check_values(NAME, parameters, BOUNDS)


def check(plan: Plan) -> None:
    """See Engine.check."""
    neural.check(NETWORK, plan)


def fit(plan: Plan, shards: Shards, report: Report) -> SdvModel:
    """See Engine.fit."""
    return neural.fit(NETWORK, ENGINE, plan, shards, report)


def open_model(plan: Plan, content: bytes) -> SdvModel:
    """See Engine.open_model."""
    return fitted.opened(ENGINE, plan, content)


def _arguments(settings: dict[str, int]) -> dict[str, Any]:
    return {
        "epochs": settings["epochs"],
        "batch_size": settings["batchSize"],
        "embedding_dim": settings["embedding"],
        "compress_dims": (settings["width"],) * 2,
        "decompress_dims": (settings["width"],) * 2,
    }


NETWORK = Network(NAME, "TVAESynthesizer", "ctgan.synthesizers.tvae", BOUNDS, _arguments)
ENGINE = Engine(NAME, {"marginals": "mixtures of components of at least 5 rows each"}, neural.sampled)
