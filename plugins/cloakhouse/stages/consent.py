"""Consent snapshots: which persons allow a purpose as of a time, pinned for the runs that use their rows.

Pinning, under a lock that erasures take, too, in this order:

1. The register is read once, in order of persons; what counts is in `cloakhouse.stages.consent_standing`.
2. The digest is SHA-256 of `cloakhouse/consent/1`, purpose and time (ISO 8601, UTC) with a 0x00 after each, and the
   rights tokens of those who allow the purpose, sorted. Where the newest snapshot lists the same persons and is
   younger than YOUNG, it is the answer: runs in a row are pinned to one.
3. The list becomes an encrypted file below `rights/consents/<purpose>`, then a manifest that holds counts alone.
4. The snapshot and its event are recorded, in one transaction; from then on it can be asked for. A process that ends
   before leaves files that nothing names; `cloakhouse.stages.consent_shedding` clears them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets

import pyarrow as pa

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.contracts.subject import PURPOSES, Consent
from cloakhouse.errors import ConfigurationError, IntegrityError, StageError
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.consent_model import Snapshot
from cloakhouse.ledger.consent_snapshots import ConsentSnapshots
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event
from cloakhouse.stages.consent_standing import standing
from cloakhouse.stages.sources import file_entries
from cloakhouse.tokens.subjects import RIGHTS_TYPE

__all__ = [
    "FOLDER",
    "KIND",
    "LOCK",
    "LOCK_WAIT_S",
    "YOUNG",
    "Snapshot",
    "allowed_of",
    "allowed_persons",
    "pin",
    "require_fresh",
    "written",
]

FOLDER, KIND = "rights/consents", "consents"
LOCK = "consent-snapshots.lock"  # of pinning, and of whatever takes persons out of snapshots
LOCK_WAIT_S = 600.0
YOUNG = dt.timedelta(hours=1)
SUBJECT = "subject"


def pin(settings: Settings, purpose: str, as_of: dt.datetime | None = None) -> Snapshot:
    """Return the snapshot of `purpose` as of a time (default: now), made if need be.

    Raises ConfigurationError for another purpose or a time to come, KeyServiceError, AccessRefused, StorageError,
    StageError (another pinning is busy for ten minutes).
    """
    now = dt.datetime.now(dt.UTC)
    at = now if as_of is None else as_of.astimezone(dt.UTC)
    _check(purpose, at, now)
    with locked(settings.locks / LOCK, LOCK_WAIT_S, f"pinning consents for {purpose}"):
        subjects, allowed = _allowed(settings, purpose, at)
        snapshots, sha256 = ConsentSnapshots(settings.database), _digest(purpose, at, allowed)
        known = snapshots.get(sha256) if as_of is not None else _young(snapshots.newest(purpose), at, allowed)
        if known is not None:
            return known
        manifest = written(settings, purpose, sha256, allowed)
        facts: dict[str, str | int] = {"snapshot": sha256, "subjects": subjects, "as_of": at.isoformat()}
        by = event(settings, Action.PIN_CONSENT, f"consents for {purpose}", count=len(allowed), facts=facts)
        return snapshots.add(Snapshot(sha256, purpose, at, subjects, len(allowed), manifest), by)


def allowed_persons(settings: Settings, sha256: str) -> pa.FixedSizeBinaryArray:
    """Return the persons of the snapshot with this digest: rights tokens, sorted, each once; never one erased since.

    Raises StageError (`stage.consent-shed`) for one that isn't kept, IntegrityError, KeyServiceError, AccessRefused.
    """
    snapshots = ConsentSnapshots(settings.database)
    snapshot = snapshots.get(sha256)
    while snapshot is not None:
        try:
            return allowed_of(settings, snapshot.manifest)
        except IntegrityError:
            before, snapshot = snapshot, snapshots.get(sha256)
            if snapshot == before:
                raise  # else somebody was erased just now, and another list stands in its place
    raise StageError(
        where=f"consent snapshot {sha256[:16]}",
        expected="a snapshot that is kept",
        found="none: it was shed, or never pinned",
        not_done="no row was used",
        remedy="run again, so that a new snapshot is pinned",
        code="consent-shed",
    )


def allowed_of(settings: Settings, manifest: ManifestRef) -> pa.FixedSizeBinaryArray:
    """Return the persons that the snapshot behind `manifest` lists, for workers, who have no control database.

    Raises IntegrityError, also for a list that isn't sorted or not the one of its digest; KeyServiceError,
    AccessRefused.
    """
    store = open_store(settings)
    content = read_manifest(store, manifest, KIND)
    tables = TableStore(store, open_ring(settings))
    [entry] = file_entries(content["files"])
    persons = tables.read(entry).column(SUBJECT).combine_chunks().cast(RIGHTS_TYPE)
    if len(persons) != content["persons"] or hashlib.sha256(_bytes(persons)).hexdigest() != content["content"]:
        raise IntegrityError(
            where=manifest.path,
            expected="the persons that the manifest has the digest of",
            found="others",
            not_done="no row was used",
            remedy="restore the lake from its backup, or run again, so that a new snapshot is pinned",
            code="consent",
        )
    return persons


def require_fresh(snapshot: Snapshot, consent: Consent, now: dt.datetime) -> None:
    """Return if a run may still use `snapshot` under `consent`: it is no older than `max_age_days`, and, with 0 days,
    no older than YOUNG. Raises StageError (`stage.consent-stale`, `stage.consent-purpose`)."""
    if snapshot.purpose != consent.purpose:
        raise _unfit(snapshot, f"purpose {consent.purpose}", snapshot.purpose, "consent-purpose")
    most = max(dt.timedelta(days=consent.max_age_days), YOUNG)
    age = now - snapshot.as_of
    if age > most:
        hours = age // dt.timedelta(hours=1)
        expected = f"at most {consent.max_age_days} days old, as the contract has it"
        raise _unfit(snapshot, expected, f"{hours} hours old", "consent-stale")


def written(settings: Settings, purpose: str, sha256: str, persons: pa.FixedSizeBinaryArray) -> ManifestRef:
    """Write the list of a snapshot and its manifest, and return that. Raises StorageError, KeyServiceError."""
    store = open_store(settings)
    path = f"{FOLDER}/{purpose}/{sha256[:16]}-{secrets.token_hex(4)}.parquet"
    table = pa.table({SUBJECT: persons}, schema=pa.schema([(SUBJECT, RIGHTS_TYPE)]))
    entry = TableStore(store, open_ring(settings)).write(path, table, {SUBJECT: ColumnClass.DIRECT})
    content = {
        "purpose": purpose,
        "sha256": sha256,
        "persons": len(persons),
        "content": hashlib.sha256(_bytes(persons)).hexdigest(),
        "files": [entry.as_dict()],
    }
    return write_manifest(store, f"{FOLDER}/{purpose}", KIND, content)


def _allowed(settings: Settings, purpose: str, at: dt.datetime) -> tuple[int, pa.FixedSizeBinaryArray]:
    """Return how many persons have a record for `purpose`, and those who allow it, in order."""
    subjects, parts = 0, [pa.array([], RIGHTS_TYPE)]
    for window in standing(ConsentRegister(settings.database), purpose, at):
        subjects += len(window.subjects)
        parts.append(window.subjects.filter(pa.array(window.allowed)))
    return subjects, pa.concat_arrays(parts)


def _young(newest: Snapshot | None, at: dt.datetime, persons: pa.FixedSizeBinaryArray) -> Snapshot | None:
    """Return `newest` where it lists `persons`, and runs may go on with it."""
    if newest is None or not dt.timedelta() <= at - newest.as_of <= YOUNG:
        return None
    return newest if newest.sha256 == _digest(newest.purpose, newest.as_of, persons) else None


def _digest(purpose: str, at: dt.datetime, persons: pa.FixedSizeBinaryArray) -> str:
    digest = hashlib.sha256()
    for part in ("cloakhouse/consent/1", purpose, at.isoformat()):
        digest.update(part.encode() + b"\0")
    digest.update(_bytes(persons))
    return digest.hexdigest()


def _bytes(persons: pa.FixedSizeBinaryArray) -> memoryview:
    width = RIGHTS_TYPE.byte_width
    data = persons.buffers()[1] if len(persons) else None
    start = persons.offset * width
    return memoryview(b"") if data is None else memoryview(data)[start : start + width * len(persons)]


def _check(purpose: str, at: dt.datetime, now: dt.datetime) -> None:
    if purpose in PURPOSES and at <= now:
        return
    known = purpose in PURPOSES
    raise ConfigurationError(
        where="a snapshot of consents",
        expected="a time that has passed" if known else "one of the purposes " + ", ".join(PURPOSES),
        found="one to come" if known else "another purpose",
        not_done="nothing was pinned",
        remedy="correct the time" if known else "name one of them",
        code="consent",
    )


def _unfit(snapshot: Snapshot, expected: str, found: str, code: str) -> StageError:
    return StageError(
        where=f"consent snapshot {snapshot.sha256[:16]}",
        expected=expected,
        found=found,
        not_done="no row was used",
        remedy="run again, so that a new snapshot is pinned",
        code=code,
    )
