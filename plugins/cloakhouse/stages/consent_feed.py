"""Feeding the consent register from the customer master: the newest landed delivery, what changed of it alone.

1. The feed whose `subject` has a `register` is found, and its newest delivery that is still kept. One that is older
   than what the register has from this feed changes nothing.
2. It is read (`cloakhouse.stages.consent_master`). A flag is `granted` or `refused`; a missing one says that the person
   was `told`.
3. Flags, laws and policies that differ from the newest ones of this feed are recorded, as chosen on the day that the
   snapshot shows (a microsecond later for each revision of it, and not after it landed), in batches, each with its
   event. Killed between two, the next call adds what is missing; repeated, nothing changes.

Who isn't in the delivery keeps the flags of the last one that had them: to be left out of an export is no choice.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.files import locked
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import Catalogue, Delivery
from cloakhouse.ledger.consent_model import CHOICES
from cloakhouse.ledger.consents import ConsentRegister, choices_table
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event
from cloakhouse.stages.consent_master import NAME, Master, customer_master, declared, read_master
from cloakhouse.stages.consent_standing import LAWS
from cloakhouse.tokens.subjects import RIGHTS_TYPE

LOCK_WAIT_S = 600.0
BATCH = 50_000  # choices recorded in one transaction


@dataclass(frozen=True)
class Fed:
    """What the register took from a delivery of the customer master.

    Attributes:
        dataset: the feed.
        partition: of the delivery; empty where none has landed, or none is kept.
        persons: in it.
        unreadable: rows whose person or choices couldn't be read; their choices stay as they were.
        added: choices that were new, by purpose.
    """

    dataset: str
    partition: str
    persons: int
    unreadable: int
    added: dict[str, int]

    @property
    def choices(self) -> int:
        """How many choices were new."""
        return sum(self.added.values())


def feed_register(settings: Settings) -> Fed | None:
    """Bring the register up to the newest landed delivery of the customer master; return what was new.

    None where no contract has a register. Raises StageError (another feeding is busy for ten minutes), IntegrityError,
    KeyServiceError, AccessRefused, StorageError.
    """
    contract = customer_master(settings)
    if contract is None:
        return None
    with locked(settings.locks / "consent-register.lock", LOCK_WAIT_S, "feeding the consent register"):
        delivery = _newest(settings, contract)
        if delivery is None:
            return Fed(contract.name, "", 0, 0, {})
        return _fed(settings, contract, delivery)


def _newest(settings: Settings, contract: Contract) -> Delivery | None:
    """Return the newest revision of the newest partition, of those whose file is kept."""
    kept = [
        delivery
        for deliveries in Catalogue(settings.database).deliveries(contract.name).values()
        for delivery in deliveries
        if delivery.expired_at is None
    ]
    return max(kept, key=lambda delivery: (delivery.partition, delivery.revision), default=None)


def _chosen_at(delivery: Delivery) -> dt.datetime:
    day = dt.datetime.combine(dt.date.fromisoformat(delivery.partition), dt.time(), dt.UTC)
    return min(day + dt.timedelta(microseconds=delivery.revision - 1), delivery.landed_at)


def _fed(settings: Settings, contract: Contract, delivery: Delivery) -> Fed:
    register, at = ConsentRegister(settings.database), _chosen_at(delivery)
    newest = {purpose: register.newest(contract.name, purpose) for purpose in declared(contract)[1].purposes}
    due = [purpose for purpose, time in newest.items() if time is None or time <= at]
    if not due:
        return Fed(contract.name, delivery.partition, 0, 0, {})
    master = read_master(settings, contract, delivery)
    added = {p: _record(settings, register, contract, delivery, master, p) for p in due}
    return Fed(contract.name, delivery.partition, len(master.persons), master.unreadable, added)


def _record(
    settings: Settings,
    register: ConsentRegister,
    contract: Contract,
    delivery: Delivery,
    master: Master,
    purpose: str,
) -> int:
    """Record the choices for one purpose that differ from the register's; return how many were new."""
    changed = np.flatnonzero(_changes(register, contract.name, declared(contract)[1].policy, master, purpose))
    what = f"{contract.name} {delivery.partition}, {purpose}"
    facts: dict[str, str | int] = {"delivery": delivery.sha256, "revision": delivery.revision}
    by = event(settings, Action.RECORD_CONSENT, what, dataset=contract.name, facts=facts)
    added = 0
    for first in range(0, len(changed), BATCH):
        rows = changed[first : first + BATCH]
        columns = {
            "subject": pa.FixedSizeBinaryArray.from_buffers(
                RIGHTS_TYPE, len(rows), [None, pa.py_buffer(master.persons[rows].tobytes())]
            ),
            "purpose": pa.repeat(purpose, len(rows)),
            "choice": pa.array(np.array(CHOICES)[master.choices[purpose][rows]]),
            "jurisdiction": pa.array(np.array(LAWS)[master.laws[rows]]),
            "policy": pa.repeat(declared(contract)[1].policy, len(rows)),
            "source": pa.repeat(contract.name, len(rows)),
            "chosen_at": [_chosen_at(delivery)] * len(rows),
        }
        added += register.add(choices_table(columns), by)
    return added


def _changes(register: ConsentRegister, source: str, policy: str, master: Master, purpose: str) -> NDArray[np.bool_]:
    """Return which persons of a delivery the register has another flag, law or policy of, or none (bool[n])."""
    changed = np.ones(len(master.persons), np.bool_)
    if len(changed) == 0:
        return changed
    for rows in register.windows(purpose, source=source):
        newest = [row for row, after in zip(rows, [*rows[1:], None], strict=True) if _is_last(row, after)]
        names = np.array([row.subject for row in newest], NAME)
        at = np.minimum(np.searchsorted(master.persons, names), len(master.persons) - 1)
        here = master.persons[at] == names
        same = here & (master.choices[purpose][at] == np.array([CHOICES.index(row.choice) for row in newest]))
        same &= np.array([row.jurisdiction for row in newest]) == np.array(LAWS)[master.laws[at]]
        same &= np.array([row.policy == policy for row in newest])
        changed[at[same]] = False
    return changed


def _is_last(row: Any, after: Any) -> bool:
    return after is None or after.subject != row.subject
