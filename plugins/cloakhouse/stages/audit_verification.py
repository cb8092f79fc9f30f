"""Verifying the audit log of an installation against every checkpoint there is: those of the control database, their
copies in the lake, and those that were given, from a place where nobody of here writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cloakhouse.errors import CloakhouseError, IntegrityError
from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import FAILED, Action
from cloakhouse.ledger.audit_findings import Finding, Kind, Noted, Remark, Verification
from cloakhouse.ledger.audit_verify import verify as verify_log
from cloakhouse.ledger.checkpoints import Checkpoint, opened
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, record
from cloakhouse.stages.checkpointing import Note, copies, stored, trusted


def examine(settings: Settings, given: Mapping[str, str] | None = None) -> Verification:
    """Return what is wrong with the audit log, compared with every checkpoint; `given` are signed notes by the name
    that findings tell them by.

    A note without a right signature is a finding, and the others are compared all the same; so is a public key that is
    lost or another, which leaves nothing to compare with. Raises StorageError, ConfigurationError.
    """
    log = AuditLog(settings.database)
    in_database, in_lake = stored(log), copies(open_store(settings))
    notes = [*in_database, *in_lake, *(Note(-1, text, name) for name, text in (given or {}).items())]
    right, findings = _opened(settings, notes)
    found = verify_log(log, right)
    alone = sorted({one.size for one in in_database} ^ {one.size for one in in_lake})
    remarks = [Noted(Remark.ONE_PLACE, len(alone), alone[0])] if alone else []
    return replace(found, findings=(*found.findings, *findings), remarks=(*found.remarks, *remarks))


def verify(settings: Settings, given: Mapping[str, str] | None = None) -> Verification:
    """Return `examine`, recorded in the log as an event: size, checkpoints and findings as counts, `failed` with
    the code `integrity.audit-log` when something is wrong.

    What can't be recorded (a log to read only, or one that is too damaged to go on) is a remark, and no error. Raises
    as `examine`.
    """
    found = examine(settings, given)
    facts: dict[str, str | int] = {"checkpoints": len(found.checkpoints), "findings": len(found.findings) + found.more}
    if found.root:
        facts["root"] = found.root.hex()
    try:
        done = event(settings, Action.VERIFY_LOG, "audit log", count=found.size, facts=facts)
        record(settings, done if found.sound else replace(done, decision=FAILED, code="integrity.audit-log"))
    except CloakhouseError:
        return replace(found, remarks=(*found.remarks, Noted(Remark.NOT_RECORDED, 1, found.size)))
    return found


def _opened(settings: Settings, notes: Sequence[Note]) -> tuple[list[Checkpoint], list[Finding]]:
    if not notes:
        return [], []
    try:
        public = trusted(settings)
    except IntegrityError:
        last = max(max(note.size for note in notes) - 1, 0)
        return [], [Finding(Kind.KEY_MISSING, 0, last, f"{len(notes)} checkpoints")]
    right, findings = [], []
    for note in notes:
        checkpoint = _checkpoint(note, public)
        if checkpoint is None:
            findings.append(Finding(Kind.CHECKPOINT_FORGED, 0, max(note.size - 1, 0), note.where))
        else:
            right.append(checkpoint)
    return right, findings


def _checkpoint(note: Note, public: PublicKey) -> Checkpoint | None:
    """Return what was signed; None for another text, and for one that was put in another's place."""
    try:
        found = opened(note.text, public, note.where)
    except IntegrityError:
        return None
    return found if note.size in (found.size, -1) else None
