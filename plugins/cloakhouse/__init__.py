"""Cloakhouse: an Airflow-orchestrated privacy data platform for retailers.

A model team works with published datasets, by name:

    import cloakhouse

    lake = cloakhouse.connect()  # or connect("folder"); CLOAKHOUSE_HOME
    for summary in lake.datasets():
        print(summary.name, summary.version, summary.rows)

    baskets = lake.dataset("baskets_private@3")  # without @3 the newest
    frame = baskets.to_pandas(columns=["hour", "value"], where=[("value", ">", 20)])
    baskets.card()["limits"]

- `cloakhouse.client.api`: `connect`, and what is published.
- `cloakhouse.client.dataset`: one version, its rows in Arrow, pandas, polars, DuckDB, PyTorch and Spark.
- `cloakhouse.client.card_exports`: its card with utility and licence, as Croissant, as a page.
- `cloakhouse.errors`: what is raised. Every error says where, what was expected and found, what was not done, and what
  to do next.
- `cloakhouse.contracts.model`, `cloakhouse.contracts.access_policy`, `cloakhouse.lake.releases`: what datasets, roles
  and versions are made of.

Importing the package is free of libraries; each is imported when it is first needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloakhouse.client.api import connect
    from cloakhouse.client.disclosing import detokenize

__all__ = ["connect", "detokenize"]


def __getattr__(name: str) -> Any:
    """Return `connect` or `detokenize`, imported when first asked for: importing the package is free of libraries."""
    if name == "connect":
        from cloakhouse.client.api import connect

        return connect
    if name == "detokenize":
        from cloakhouse.client.disclosing import detokenize

        return detokenize
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
