"""Signing the audit log: from time to time its size and root become a checkpoint, kept in the control database, and in
the lake as a second place; `cloakhouse audit checkpoint --out` takes a copy to a third, where nobody of here writes.

1. The newest checkpoint of both places is opened with the public key that the control database recognises.
2. The log must go on from it: as long or longer, with a proof of consistency. A fork is never signed.
3. Size and root are signed, and stored in the database, then in the lake; nothing that stands there is replaced.

Whoever is killed between the two leaves a checkpoint in one place; the next call puts it into the other.

    evidence/audit/checkpoints/<size, 12 digits>.txt    the signed note (see `cloakhouse.ledger.checkpoints`)
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from dataclasses import dataclass

import sqlalchemy as sa

from cloakhouse.errors import IntegrityError, NotFound
from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.checkpoints import LONGEST_NOTE, Checkpoint, opened, origin_of, sign
from cloakhouse.ledger.merkle import verify_consistency
from cloakhouse.ledger.writing import alone, retried
from cloakhouse.settings import Settings
from cloakhouse.stages.signing import AUDIT as SIGNER
from cloakhouse.stages.signing import signing_key, trusted_key

FOLDER = "evidence/audit/checkpoints"
DATABASE, LAKE = "control database", "lake"
_NAME = re.compile(rf"{FOLDER}/([0-9]{{12}})\.txt")
_LOCK = "audit checkpoint"


@dataclass(frozen=True)
class Note:
    """A checkpoint as it is stored: the size that its place says (-1: none), the signed note, and where it is."""

    size: int
    text: str
    place: str

    @property
    def where(self) -> str:
        """The place, for a message."""
        return self.place if self.size < 0 else f"checkpoint {self.size} in the {self.place}"


def checkpoint(settings: Settings) -> Checkpoint | None:
    """Sign the log as it is, store the checkpoint, and return it: the newest one when nothing was added since, None
    for an empty log that was never signed.

    Raises IntegrityError for a log that doesn't go on from the newest checkpoint (`integrity.audit-fork`), for a note
    that was changed and for a signing key that is lost or another (`integrity.signing-key`); KeyServiceError,
    AccessRefused, StorageError. Nothing is signed then; appending to the log and verifying it go on.
    """
    log, store = AuditLog(settings.database), open_store(settings)
    before, size = newest(log, store), log.size()
    if before is None and not size:
        return None
    if before is not None and before.size == size:
        signed = _of_its_size(before, trusted(settings))
        _check_goes_on(log, signed, size)
        _keep(log, store, before)
        return signed
    key = signing_key(settings, SIGNER)
    size = log.size()  # the use of the key is an entry, too
    if before is not None:
        _check_goes_on(log, _of_its_size(before, key.public), size)
        _keep(log, store, before)
    made = Checkpoint(origin_of(key.public), size, log.root(size))
    _keep(log, store, Note(size, sign(made, key), DATABASE))
    return made


def checkpoints(settings: Settings) -> list[Checkpoint]:
    """Return the checkpoints of the control database, oldest first; none before the first one was signed.

    Raises IntegrityError for a note that was changed and for a public key that can't be trusted, StorageError.
    """
    notes = stored(AuditLog(settings.database))
    if not notes:
        return []
    public = trusted(settings)
    return [opened(note.text, public, note.where) for note in notes]


def trusted(settings: Settings) -> PublicKey:
    """Return the public key that checkpoints are verified with. Raises IntegrityError when it is missing, or another
    one than the control database knows."""
    return trusted_key(settings, SIGNER)


def stored(log: AuditLog) -> list[Note]:
    """Return the signed notes of the control database, oldest first, not opened. Raises StorageError."""
    table = db.audit_checkpoint
    with log.engine.connect() as connection:
        rows = connection.execute(sa.select(table.c.size, table.c.note).order_by(table.c.size)).all()
    return [Note(row.size, row.note, DATABASE) for row in rows]


def copies(store: ObjectStore) -> list[Note]:
    """Return the signed notes of the lake, oldest first, not opened. Raises StorageError."""
    return [_read(store, size) for size in _sizes(store)]


def newest_stored(log: AuditLog) -> Note | None:
    """Return the newest signed note of the control database, not opened; None when there is none."""
    table = db.audit_checkpoint
    with log.engine.connect() as connection:
        row = connection.execute(sa.select(table.c.size, table.c.note).order_by(table.c.size.desc()).limit(1)).first()
    return Note(row.size, row.note, DATABASE) if row else None


def newest(log: AuditLog, store: ObjectStore) -> Note | None:
    """Return the signed note of the largest size in either place, not opened; None when there is none."""
    here, size = newest_stored(log), max(_sizes(store), default=None)
    return _read(store, size) if size is not None and (here is None or size > here.size) else here


def note_of(settings: Settings, size: int) -> str:
    """Return the signed note of the checkpoint at `size`. Raises NotFound, StorageError."""
    for note in stored(AuditLog(settings.database)):
        if note.size == size:
            return note.text
    raise NotFound(
        where="the checkpoints of the audit log",
        expected=f"one of {size:,} entries",
        found="none of that size",
        not_done="nothing was written",
        remedy="`cloakhouse audit checkpoint` signs the log as it is now",
    )


def _of_its_size(note: Note, public: PublicKey) -> Checkpoint:
    """Return the checkpoint that is signed in `note`. Raises IntegrityError, also for one in another's place."""
    found = opened(note.text, public, note.where)
    if found.size != note.size:
        raise IntegrityError(
            where=note.where,
            expected=f"the checkpoint of {note.size:,} entries",
            found=f"that of {found.size:,}",
            not_done="nothing was signed",
            remedy="run `cloakhouse audit verify`, and keep database and lake as they are for whoever investigates",
            code="checkpoint",
        )
    return found


def _keep(log: AuditLog, store: ObjectStore, note: Note) -> None:
    """Put `note` into both places, where it isn't there."""
    _store(log, note)
    store.create(_path(note.size), note.text.encode())


def _check_goes_on(log: AuditLog, old: Checkpoint, size: int) -> None:
    """Return if the first `size` entries begin with `old`; raise IntegrityError when they were cut or rewritten."""
    if old.size <= size:
        proof, root = log.consistency(old.size, size), log.root(size)
        if verify_consistency(old.size, old.root, size, root, proof):
            return
    raise IntegrityError(
        where="the audit log",
        expected=f"the {old.size:,} entries that were signed, and those added since",
        found=f"{size:,} entries that don't begin with them",
        not_done="nothing was signed",
        remedy="run `cloakhouse audit verify`; if the database came back from an older backup, bring back a newer one",
        code="audit-fork",
    )


@retried
def _store(log: AuditLog, note: Note) -> None:
    table = db.audit_checkpoint
    with alone(log.engine, _LOCK) as connection:
        there = connection.execute(sa.select(table.c.size).where(table.c.size == note.size)).first()
        if there is None:
            row = {"size": note.size, "at": dt.datetime.now(dt.UTC), "note": note.text}
            connection.execute(sa.insert(table).values(**row))


def _path(size: int) -> str:
    return f"{FOLDER}/{size:012}.txt"


def _sizes(store: ObjectStore) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        found = (_NAME.fullmatch(entry.path) for entry in store.list(FOLDER))
        return sorted(int(match[1]) for match in found if match)
    return []


def _read(store: ObjectStore, size: int) -> Note:
    raw = b""  # what isn't there, or is too large, is no note
    with contextlib.suppress(FileNotFoundError, IntegrityError):
        raw = store.read(_path(size), LONGEST_NOTE)
    return Note(size, raw.decode("utf-8", errors="replace"), LAKE)
