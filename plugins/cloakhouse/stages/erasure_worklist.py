"""What the closing search looks for: collected before anything is cut, kept encrypted, dropped with the batch's list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch


def collect(settings: Settings, batch: Batch) -> dict[str, int]:
    """Collect identifiers, tokens and view rows of the batch's persons below `rights/<batch>/`; return counts.

    To be called before anything is cut. What was collected stays: calling it again returns the same counts.
    """
    raise NotImplementedError


def drop(settings: Settings, name: str) -> int:
    """Remove the worklist of the batch `name`, once the certificate stands; return how many objects went."""
    raise NotImplementedError
