"""Settling what happened after the backup that a home was restored from, until nothing of it is open.

1. Persons who were erased after the backup, as a later backup of the rights told, are requested to be erased again, in
   one batch: their rows came back. `cloakhouse erase resume` does the work.
2. That every other erasure after the backup was asked for again is the operator's word, with a reason: nothing here can
   know of it.
3. Consents are newer than the backup once a customer master has landed after the restore and was fed to the register;
   where no contract has a register, or by the operator's word, with a reason, there is nothing to wait for.
4. When all is settled, that is recorded, and the home is open.

Each call does what can be done and tells what is left. Killed anywhere, the next call goes on.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass, replace

import pyarrow as pa
import sqlalchemy as sa

from cloakhouse.keys.files import locked
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.erasure_model import Erasure, ErasureState
from cloakhouse.ledger.erasures import DIGEST, Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.ledger.tombstones import read_persons
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, record
from cloakhouse.stages.authority import check_reason
from cloakhouse.stages.consent_feed import feed_register
from cloakhouse.stages.consent_master import customer_master
from cloakhouse.stages.erasure_batch import PREFIX, drop_list, write_list
from cloakhouse.stages.restored import Closed, closed_of, open_again, write_closed
from cloakhouse.stages.subject_identifiers import Identifiers
from cloakhouse.stages.subject_lookup import names_of

LOCK_WAIT_S = 600.0


@dataclass(frozen=True)
class Stated:
    """What the operator states: that no erasure, and that no consent, after the backup is missing here."""

    reason: str
    erasures: bool = False
    consents: bool = False


def settle(settings: Settings, stated: Stated) -> Closed | None:
    """Settle what can be settled; return what is left, None for a home that is open.

    Raises AccessRefused (`access.restored`), ConfigurationError (`configuration.reason`), KeyServiceError,
    IntegrityError, StorageError, StageError (`stage.busy`).
    """
    reason = check_reason(stated.reason)
    with locked(settings.locks / "settle.lock", LOCK_WAIT_S, "settling a restore"):
        closed = closed_of(settings)
        if closed is None:
            return None
        before = closed
        if not closed.erased and not closed.batch:  # 1
            batch = _requested(settings, closed.redo, reason)
            closed = _kept(settings, replace(closed, batch=batch, erased=not batch))
        if closed.batch:
            done = Erasures(settings.database).get(closed.batch).state is ErasureState.DONE
            closed = replace(closed, erased=done)
        closed = replace(closed, erasures_known=closed.erasures_known or stated.erasures)  # 2
        closed = replace(closed, consents_known=closed.consents_known or stated.consents or _fed(settings, closed))  # 3
        if closed != before or _is_open(closed):
            facts = {"erasures": int(stated.erasures), "consents": int(stated.consents), "open": int(_is_open(closed))}
            record(settings, event(settings, Action.SETTLE, closed.backup, reason=reason, facts=facts))
        if not _is_open(closed):
            return _kept(settings, closed)
        open_again(settings)  # 4
        return None


def _is_open(closed: Closed) -> bool:
    return closed.runs and closed.reads


def _kept(settings: Settings, closed: Closed) -> Closed:
    write_closed(settings, closed)
    return closed


def _requested(settings: Settings, redo: tuple[str, ...], reason: str) -> str:
    """Return the erasure of all who have a tombstone of the batches `redo`; empty when holds keep every one of them."""
    table, erasures = db.tombstone, Erasures(settings.database)
    wanted = sa.select(table.c.subject).where(table.c.batch.in_(redo)).order_by(table.c.subject)
    with db.open_database(settings.database).connect() as connection:
        found = read_persons(connection, wanted)
    held = set(SubjectHolds(settings.database).held().to_pylist())
    persons = pa.array([person for person in found.to_pylist() if person not in held], found.type)
    if not len(persons):
        return ""
    digest = hashlib.sha256(b"".join(persons.to_pylist())).hexdigest()
    standing = erasures.open_for(digest, persons)
    if standing is not None:
        return standing.batch
    now = dt.datetime.now(dt.UTC)
    name = f"{PREFIX}{now:%Y%m%d}-{secrets.token_hex(4)}"
    by = event(settings, Action.REQUEST_ERASURE, name, count=len(persons), reason=reason, facts={"restored": 1})
    manifest = write_list(settings, name, persons, names_of(settings, Identifiers.of(settings), persons))
    erasure = Erasure(name, by.actor, reason, len(persons), manifest, now)
    done = erasures.request(erasure, persons, {DIGEST: digest, "persons": len(persons)}, by)
    if done.batch != name:
        drop_list(settings, name)
    return done.batch


def _fed(settings: Settings, closed: Closed) -> bool:
    contract = customer_master(settings)
    if contract is None:
        return True
    landed = [
        delivery.landed_at
        for deliveries in Catalogue(settings.database).deliveries(contract.name).values()
        for delivery in deliveries
    ]
    newer = any(at is not None and at > closed.restored_at for at in landed)
    return newer and feed_register(settings) is not None
