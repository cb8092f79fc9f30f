"""Cloakhouse: an Airflow-orchestrated privacy data platform for retailers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloakhouse.client.api import connect

__all__ = ["connect"]


def __getattr__(name: str) -> Any:
    """Return `connect`, imported when it is first asked for: importing the package stays free of libraries."""
    if name == "connect":
        from cloakhouse.client.api import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
