"""The certificate of an erasure: signed, in the audit log and in the lake.

    rights/certificates/<batch>-<first 16 hex of the statement's SHA-256>.json

is canonical JSON of two members. `certificate` is a DSSE envelope (`cloakhouse.lake.dsse`) signed with the key of
releases; its payload, the statement, is canonical JSON of what was asked for, every step with what it found and did,
the attacks and the closing search: counts, digests and names of datasets, never a person, a token or a value. `log` is
the entry of the audit log that holds the statement's digest, with the proof that a signed checkpoint covers it.

1. The search must have been done, and be clean; nothing is certified otherwise.
2. The statement is recorded as a step, with the event of the log, in one transaction. From then on it doesn't change.
3. It is signed (Ed25519 is deterministic, so that signing again gives the same bytes), and the log gets a checkpoint.
4. The file is written in one step; one that stands stays. Killed anywhere, the next call goes on.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cloakhouse.errors import NotFound, StageError
from cloakhouse.lake.dsse import sealed_envelope
from cloakhouse.lake.releases import SIGNER
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasure_model import REQUESTED, Erasure, Step
from cloakhouse.ledger.erasures import DIGEST, Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.audit_proof import proof_of
from cloakhouse.stages.auditing import event
from cloakhouse.stages.certificate_verify import FORMAT, KIND, PAYLOAD_TYPE, canonical
from cloakhouse.stages.checkpointing import checkpoint
from cloakhouse.stages.erasure_batch import still
from cloakhouse.stages.signing import signing_key

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

FOLDER = "rights/certificates"
STATEMENT, SWEEP, ATTACK = "statement", "sweep", "attack/"
METHOD = (
    "Values of 11 bytes or more and tokens in binary, hexadecimal and base32 form were looked for anywhere: in bytes "
    "as they lie, decrypted, decompressed and decoded; shorter values as whole fields of columns of their name; "
    "subjects of landed rows by rights token. A value that other persons have, too, was not looked for; nor were "
    "values in UTF-16, base64 or other encodings, or hexadecimal in capitals. Landed lines that no parser of the "
    "contract takes were searched for values of 11 bytes or more, and for the subject where its field is told. "
    "Temporary folders of other machines, and databases of others, such as Airflow's on a server, were not searched. "
    "Rights tokens stay in tombstones, so that a delivery that comes again doesn't bring a person back."
)


def certify(settings: Settings, batch: Batch) -> ManifestRef:
    """Write the signed certificate of `batch` from its recorded steps, and return its reference; one that stands stays.

    Takes the steps `sweep` (`Findings.as_dict()`) and `attack/<dataset>@<version>` (`Attack.as_dict()`), and lists all.
    Raises StageError (`stage.unproved`) without a clean search, IntegrityError for a log that can't be signed,
    KeyServiceError, AccessRefused, StorageError.
    """
    erasures = Erasures(settings.database)
    erasure, steps = erasures.get(batch.name), erasures.steps(batch.name)
    if not any(step.step == STATEMENT for step in steps):
        _require_clean(batch.name, steps)  # 1
        payload = canonical(_statement(erasure, steps, len(still(settings, batch))))
        facts = {"batch": batch.name, "sha256": hashlib.sha256(payload).hexdigest()}
        by = event(settings, Action.CERTIFY_ERASURE, f"erasure {batch.name}", reason=batch.reason, facts=facts)
        by = replace(by, count=erasure.subjects)
        erasures.done(batch.name, STATEMENT, {"payload": payload.decode()}, by)  # 2
    recorded = erasures.step(batch.name, STATEMENT)
    assert recorded is not None
    payload = str(recorded.content["payload"]).encode()
    path = f"{FOLDER}/{batch.name}-{hashlib.sha256(payload).hexdigest()[:16]}.json"
    store = open_store(settings)
    if store.stat(path) is None:
        store.create(path, _file(settings, batch.name, payload))  # 4
    return ManifestRef(path, hashlib.sha256(store.read(path)).hexdigest())


def written(settings: Settings, name: str) -> bytes:
    """Return the certificate of the batch `name`. Raises NotFound, StorageError."""
    store = open_store(settings)
    for info in store.list(FOLDER):
        if info.path.startswith(f"{FOLDER}/{name}-"):
            return store.read(info.path)
    raise NotFound(
        where=f"erasure {name}",
        expected="its certificate",
        found="none: it is open, or there is no erasure of that name",
        not_done="nothing was shown",
        remedy="`cloakhouse erase list` shows the state of each; `cloakhouse erase resume` goes on with open ones",
    )


def _require_clean(name: str, steps: list[Step]) -> None:
    searches = [step.content for step in steps if step.step == SWEEP]
    if not searches or searches[-1].get("clean") is not True:
        raise StageError(
            where=f"erasure {name}",
            expected="a closing search that found nothing",
            found="none" if not searches else "one that found something",
            not_done="nothing was certified",
            remedy="resume the erasure",
            code="unproved",
        )


def _statement(erasure: Erasure, steps: list[Step], erased: int) -> dict[str, Any]:
    asked = next((dict(step.content) for step in steps if step.step == REQUESTED), {})
    asked.pop(DIGEST, None)  # of the persons: who knows a person could try it
    found = {step.step: dict(step.content) for step in steps}
    return {
        "format": FORMAT,
        "kind": KIND,
        "batch": erasure.batch,
        "reason": erasure.reason,
        "requested_at": _stamp(erasure.requested_at),
        "certified_at": _stamp(dt.datetime.now(dt.UTC)),
        "persons": {"requested": erasure.subjects, "erased": erased, "held": erasure.subjects - erased},
        "asked": asked,
        "steps": [
            {"step": step.step, "at": _stamp(step.at), "done": dict(step.content)}
            for step in steps
            if step.step not in (REQUESTED, SWEEP) and not step.step.startswith(ATTACK)
        ],
        "attacks": [content for name, content in sorted(found.items()) if name.startswith(ATTACK)],
        "sweep": found[SWEEP],
        "method": METHOD,
        "code": version("cloakhouse"),
    }


def _file(settings: Settings, name: str, payload: bytes) -> bytes:
    envelope = sealed_envelope(signing_key(settings, SIGNER), PAYLOAD_TYPE, payload)  # 3
    number = _entry(settings, hashlib.sha256(payload).hexdigest())
    checkpoint(settings)
    proved = proof_of(settings, number)
    log = {
        "number": number,
        "content": base64.b64encode(proved.entry.content).decode(),
        "path": [one.hex() for one in proved.proof],
        "checkpoint": proved.note,
    }
    return canonical({"certificate": json.loads(envelope), "log": log})


def _entry(settings: Settings, digest: str) -> int:
    """Return the number of the entry that holds the digest of the statement."""
    table = db.audit_entry
    wanted = sa.select(table.c.number, table.c.content).where(table.c.action == Action.CERTIFY_ERASURE)
    with db.open_database(settings.database).connect() as connection:
        for row in connection.execute(wanted.order_by(table.c.number.desc())):
            if json.loads(row.content).get("facts", {}).get("sha256") == digest:
                return int(row.number)
    raise StageError(
        where="audit log",
        expected="the entry of the certificate's statement",
        found="none",
        not_done="the certificate was not written",
        remedy="run `cloakhouse audit verify`, and keep the database as it is for whoever investigates",
        code="unproved",
    )


def _stamp(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
