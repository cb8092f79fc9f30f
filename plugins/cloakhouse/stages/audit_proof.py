"""One entry of the audit log with the proof that a signed checkpoint covers it, for whoever checks it elsewhere."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from cloakhouse.errors import IntegrityError
from cloakhouse.ledger.audit import AuditLog, Entry
from cloakhouse.ledger.checkpoints import Checkpoint, opened
from cloakhouse.ledger.merkle import leaf_hash, verify_inclusion
from cloakhouse.settings import Settings
from cloakhouse.stages.checkpointing import newest_stored, trusted


@dataclass(frozen=True)
class Proved:
    """An entry, and its proof.

    Attributes:
        entry: the entry.
        proof: hashes of 32 bytes, nearest sibling first (RFC 9162, section 2.1.3); empty without a checkpoint.
        checkpoint: the newest one, where it covers the entry.
        note: its signed note; empty without one.
    """

    entry: Entry
    proof: tuple[bytes, ...] = ()
    checkpoint: Checkpoint | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return all that a verifier needs, JSON-ready: bytes in base64, hashes in hexadecimal."""
        return {
            "number": self.entry.number,
            "event": self.entry.event.as_dict(),
            "content": base64.b64encode(self.entry.content).decode(),
            "leaf": leaf_hash(self.entry.content).hex(),
            "proof": [one.hex() for one in self.proof],
            "checkpoint": self.note,
        }


def proof_of(settings: Settings, number: int) -> Proved:
    """Return entry `number` with the proof that the newest checkpoint of the control database covers it.

    Raises NotFound for a number that isn't there, IntegrityError for an entry or a checkpoint that was changed
    (`integrity.audit-proof` when the entry is not under the root that was signed), StorageError.
    """
    log = AuditLog(settings.database)
    entry, note = log.entry(number), newest_stored(log)
    if note is None or note.size <= number:
        return Proved(entry)
    checkpoint = opened(note.text, trusted(settings), note.where)
    proof = tuple(log.inclusion(number, checkpoint.size))
    if not verify_inclusion(leaf_hash(entry.content), number, checkpoint.size, proof, checkpoint.root):
        raise IntegrityError(
            where=f"audit log, entry {number}",
            expected=f"an entry under the root that was signed at {checkpoint.size:,} entries",
            found="one that is not, or hashes that were changed",
            not_done="the entry was not shown as proved",
            remedy="run `cloakhouse audit verify`, and keep the database as it is for whoever investigates",
            code="audit-proof",
        )
    return Proved(entry, proof, checkpoint, note.text)
