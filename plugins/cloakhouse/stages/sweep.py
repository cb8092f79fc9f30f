"""The closing search of an erasure, over every byte that the platform holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloakhouse.settings import Settings
from cloakhouse.stages.sweep_findings import Findings, Hit, require_clean

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

__all__ = ["Findings", "Hit", "require_clean", "sweep"]


def sweep(settings: Settings, batch: Batch) -> Findings:
    """Search everything for the persons of `batch` who are erased, and return what was found; raises nothing for it.

    `require_clean` raises for findings that don't let the erasure close.
    """
    raise NotImplementedError
