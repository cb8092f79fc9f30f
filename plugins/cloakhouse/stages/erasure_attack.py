"""Were the erased persons among those a version made anew was made from? A membership attack, with its bounds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

CHANCE, ABOVE_CHANCE, TOO_FEW = "no better than chance", "better than chance", "too few to tell"


@dataclass(frozen=True)
class Attack:
    """One attack on one version made anew.

    Attributes:
        dataset, version: of the release that was attacked.
        persons, others: attacked persons of the batch, and real persons who never were in the training rows.
        area: under the curve; 0.5 is chance. None where there were too few.
        low, high: bounds of the area at the level 99.9 %.
        verdict: `no better than chance`, `better than chance`, `too few to tell`.
    """

    dataset: str
    version: int
    persons: int
    others: int
    area: float | None
    low: float | None
    high: float | None
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def attack_after(settings: Settings, batch: Batch, dataset: str, version: int) -> Attack:
    """Attack `version` of `dataset`, made anew after the erasure, with the rows that the persons had before it.

    To be called before the worklist is dropped.
    """
    raise NotImplementedError
