"""Erasures as the control database knows them: batches of persons, what was done of each, and how it ended.

States of a batch: open -> done. It is requested with its persons' tombstones in one transaction, so that from then on
no run uses them; it is done when its certificate stands. Persons are not named here, only counted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloakhouse.ledger.catalogue import ManifestRef

REQUESTED = "request"  # the first step of every batch: what was asked for


class ErasureState(StrEnum):
    """What became of a batch."""

    OPEN = "open"
    DONE = "done"


@dataclass(frozen=True)
class Erasure:
    """One batch of persons to be erased.

    Attributes:
        batch: its name, `er-<date>-<8 hex>`.
        actor / reason: who asked for it, and why.
        subjects: how many persons, without those who were under a hold when it was requested.
        request: the manifest of its list, which lies in the lake until the batch is done.
        requested_at / ended_at: UTC; None while it is open.
        certificate: None while it is open.
    """

    batch: str
    actor: str
    reason: str
    subjects: int
    request: ManifestRef
    requested_at: dt.datetime
    state: ErasureState = ErasureState.OPEN
    ended_at: dt.datetime | None = None
    certificate: ManifestRef | None = None


@dataclass(frozen=True)
class Step:
    """One step of a batch that is done: when (UTC), and what it found and did, as counts, digests and names."""

    batch: str
    step: str
    at: dt.datetime
    content: Mapping[str, Any]
