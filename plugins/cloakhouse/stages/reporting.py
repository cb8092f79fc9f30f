"""The validation report of a release: what an auditor reads, as one signed record without values.

    evidence/<dataset>/reports/<version, 8 digits>-<first 16 hex of the file's SHA-256>.json

is a DSSE envelope (`cloakhouse.lake.dsse`) signed with the key of releases; its payload is canonical JSON of the parts
of `cloakhouse.stages.report_sections`, which follow from contract, evidence, synthesis and release, and of three that
tell the state of the platform when it was written: approvals, protection, audit. It is for auditors: under a guarantee,
too, it holds figures that were counted in real rows, which epsilon doesn't cover (never a value, and no group's name).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.dsse import opened_envelope, sealed_envelope
from cloakhouse.lake.inspection import inspect
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.releases import SIGNER, Release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger import database as db
from cloakhouse.ledger.approvals import Approvals
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion
from cloakhouse.settings import Settings
from cloakhouse.stages import report_fields as take
from cloakhouse.stages.report_contracts import contract_of
from cloakhouse.stages.report_sections import derived
from cloakhouse.stages.signing import signing_key, trusted_key
from cloakhouse.stages.version_checks import open_release

FORMAT = 1
KIND = "validation report"
PAYLOAD_TYPE = "application/vnd.cloakhouse.report+json"
LIMIT = 1 << 24  # bytes of a report; one of 50 figures takes 40 kB
MOST_ENTRIES = 500  # of the audit log, named one by one
DECISIONS = ("approved", "rejected")
_PRINCIPAL = 200  # characters of a name


@dataclass(frozen=True)
class Report:
    """One report. `content` is JSON-ready: format, kind, dataset, version, release, evidence, and the parts by name."""

    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """`dataset@version`, or the dataset alone for evidence that nothing was published from."""
        version = self.content["version"]
        return f"{self.content['dataset']}@{version}" if version else str(self.content["dataset"])

    @property
    def passed(self) -> bool:
        """Whether the gate, computed again, is passed and the evidence says so, too."""
        verdict = self.content["verdict"]
        return bool(verdict["passed"] and verdict["agrees"])

    def to_bytes(self) -> bytes:
        """Return the payload: canonical JSON, UTF-8."""
        return canonical(self.content)


def canonical(content: Mapping[str, Any]) -> bytes:
    """Return `content` as JSON with sorted keys and no spaces, UTF-8."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def report(settings: Settings, version: DatasetVersion) -> Report:
    """Return the report of `version` as things stand now; neither the key service nor any row is asked for.

    Raises NotFound (`not-found.contract`) when no contract in the folder has the release's digest, IntegrityError for a
    release or evidence that was changed, StorageError.
    """
    release = open_release(settings, version)
    contract = contract_of(settings, release.dataset, release.contract["digest"])
    store = open_store(settings)
    evidence, synthesis = inputs(store, release.evidence)
    return Report(
        {
            **_head(release.dataset, release.version, release.evidence),
            "release": {
                "sha256": version.manifest.sha256,
                "published_at": release.published_at.isoformat(),
                "fingerprint": release.fingerprint,
                "zone": release.zone,
                "rows": release.rows,
                "files": len(release.files),
            },
            **derived(contract, evidence, synthesis, release),
            "approvals": _approvals(settings, release.dataset, release.evidence),
            "protection": _protection(store, release),
            "audit": _audit(settings, release.dataset, release.run.get("run", "")),
        }
    )


def write_report(settings: Settings, version: DatasetVersion) -> tuple[ManifestRef, Report]:
    """Write the signed report of `version` unless one of this very release stands, and return which one stands.

    Raises as `report`, and KeyServiceError, AccessRefused. Killed at any moment, it is there as a whole or not at all.
    """
    store = open_store(settings)
    standing = written(settings, version)
    if standing is not None:
        return standing
    made = report(settings, version)
    text = sealed_envelope(signing_key(settings, SIGNER), PAYLOAD_TYPE, made.to_bytes())
    digest = hashlib.sha256(text).hexdigest()
    path = f"{_folder(version.dataset)}/{version.version:08d}-{digest[:16]}.json"
    store.create(path, text)
    return written(settings, version) or (ManifestRef(path, digest), made)


def written(settings: Settings, version: DatasetVersion) -> tuple[ManifestRef, Report] | None:
    """Return the report of `version` that stands in the lake, the first by name; None when there is none.

    Raises IntegrityError for one whose signature or form is not right, StorageError.
    """
    store, trusted = open_store(settings), trusted_key(settings, SIGNER)
    for info in sorted(store.list(_folder(version.dataset)), key=lambda info: info.path):
        if info.path.rsplit("/", 1)[1].startswith(f"{version.version:08d}-"):
            text = store.read(info.path, LIMIT)
            found = opened_report(trusted, text, info.path)
            if found.name == version.name and found.content["release"]["sha256"] == version.manifest.sha256:
                return ManifestRef(info.path, hashlib.sha256(text).hexdigest()), found
    return None


def sealed_report(settings: Settings, version: DatasetVersion) -> bytes:
    """Return the envelope of the report of `version`, written now if there is none. Raises as `write_report`."""
    ref, _ = write_report(settings, version)
    return open_store(settings).read(ref.path, LIMIT)


def opened_report(trusted: PublicKey, text: bytes, where: str) -> Report:
    """Return the report in an envelope that `trusted` signed. Raises IntegrityError for any other text."""
    payload = opened_envelope(trusted, PAYLOAD_TYPE, text, where)
    try:
        content = json.loads(payload)
        sound = content["format"] == FORMAT and content["kind"] == KIND and canonical(content) == payload
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise IntegrityError(
            where=where,
            expected=f"a {KIND} of format {FORMAT} in canonical JSON",
            found="another text",
            not_done="nothing of it was shown",
            remedy="ask for the report again, or read it with the software that wrote it",
            code="report",
        )
    return Report(content)


def inputs(store: ObjectStore, evidence: ManifestRef) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the evidence and the manifest of the synthesis that it is about, which is empty for an answer.

    Raises IntegrityError when one is missing or changed, StorageError.
    """
    found = read_manifest(store, evidence, "validation")
    subject = found.get("subject")
    return found, read_manifest(store, ManifestRef.of(subject), "synthesis") if subject else {}


def _folder(dataset: str) -> str:
    return f"evidence/{dataset}/reports"


def _head(dataset: str, version: int | None, evidence: ManifestRef) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": KIND,
        "audience": "auditors",
        "dataset": dataset,
        "version": version,
        "evidence": {"sha256": evidence.sha256},
    }


def _approvals(settings: Settings, dataset: str, evidence: ManifestRef) -> list[dict[str, Any]]:
    """Return what persons decided over the evidence, oldest first; their reasons stand in the audit log.

    Raises IntegrityError (`integrity.approval`) for a decision that the log doesn't tell.
    """
    return [
        {
            "decision": take.one_of(one.decision, DECISIONS),
            "approver": one.approver if one.approver.isprintable() and len(one.approver) <= _PRINCIPAL else None,
            "entry": take.whole(one.entry),
            "at": one.at.strftime("%Y-%m-%dT%H:%M:%SZ") if one.at else None,
        }
        for one in Approvals(settings.database).over(dataset, evidence.sha256)
    ]


def _protection(store: ObjectStore, release: Release) -> dict[str, Any]:
    """Return how much of the release's bytes is encrypted, told from the files, and the keys of its columns."""
    totals = {"encrypted": 0, "plaintext": 0, "structure": 0}
    findings = missing = 0
    for entry in release.files:
        found = inspect(store, entry.path, entry.bytes, None, deep=False)
        if found is None:
            missing += 1
            continue
        for kind in totals:
            totals[kind] += getattr(found, kind)
        findings += len(found.findings)
    keys: dict[str, int] = {}
    for column in release.columns:
        keys[column["key"]] = keys.get(column["key"], 0) + 1
    data = totals["encrypted"] + totals["plaintext"]
    return {
        **{f"{kind}_bytes": size for kind, size in totals.items()},
        "share": totals["encrypted"] / data if data else None,
        "files": len(release.files),
        "missing_files": missing,
        "findings": findings,
        "master_keys": [{"name": name, "columns": number} for name, number in sorted(keys.items())],
    }


def _audit(settings: Settings, dataset: str, run: str) -> dict[str, Any]:
    """Return which entries of the log are about the dataset, or of the run that published it."""
    numbers = entries_about(settings, dataset, run)
    return {
        "entries": len(numbers),
        "first": numbers[0] if numbers else None,
        "last": numbers[-1] if numbers else None,
        "numbers": numbers[-MOST_ENTRIES:],
    }


def entries_about(settings: Settings, dataset: str, run: str, limit: int = 10_000) -> list[int]:
    """Return the numbers of the newest `limit` entries of the log about `dataset`, or of `run`; ascending."""
    table = db.audit_entry
    about = [table.c.dataset == dataset, *([table.c.run == run] if run else [])]
    numbers: set[int] = set()
    with db.open_database(settings.database).connect() as connection:
        for one in about:
            wanted = sa.select(table.c.number).where(one).order_by(table.c.number.desc()).limit(limit)
            numbers.update(connection.execute(wanted).scalars())
    return sorted(numbers)[-limit:]
