"""Erasing persons from the registers: their consents, and the snapshots that runs were pinned to.

No run that begins after the tombstones stand uses the persons, whatever it is pinned to; this removes what is kept of
them by token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event
from cloakhouse.stages.consent_shedding import forget_persons
from cloakhouse.stages.erasure_batch import still

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

REGISTER = "register"


def erase_registers(settings: Settings, batch: Batch) -> dict[str, int]:
    """Remove the persons of `batch` from the consent register and its snapshots; return how many records and snapshots.

    Persons who are under a hold stay. Done once, the totals are those recorded. Raises StorageError, KeyServiceError.
    """
    erasures = Erasures(settings.database)
    ended = erasures.step(batch.name, REGISTER)
    if ended is not None:
        return dict(ended.content)
    facts: dict[str, str | int] = {"erasure": batch.name}
    by = event(settings, Action.ERASE, "consent register", reason=batch.reason, facts=facts)
    forgotten = forget_persons(settings, still(settings, batch), by)
    counts = {"records": forgotten.choices, "snapshots": forgotten.snapshots}
    erasures.done(batch.name, REGISTER, counts, by)
    return counts
