"""The offline bundle of a version: one file from which an auditor verifies everything, on a machine of his own.

    README.txt                       how to verify it, with the platform's software or by hand
    bundle.json                      every other member with its SHA-256, signed with the key of releases (DSSE)
    release.json                     the signed release, as it lies in the lake
    evidence/validation.json         the evidence that admitted it; its SHA-256 stands in the release
    evidence/synthesis.json          the manifest of the rows that were validated; none for the answer to a query
    report.json                      the signed validation report
    contracts/<dataset>.odcs.yaml    the contract, and those of its sources that are as they were
    audit/...                        entries of the audit log with proofs (`cloakhouse.stages.bundle_log`)
    keys/<name>.pem                  the public keys: releases, audit, artifacts

1. that a bundle is made is itself an event of the log, recorded first;
2. the report is written, unless it stands; the log gets a checkpoint;
3. members are gathered, all of them records without values: no row, no key, no training data;
4. the list of members is signed, and the archive written in one step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import sqlalchemy as sa

from cloakhouse.errors import IntegrityError
from cloakhouse.lake.dsse import sealed_envelope
from cloakhouse.lake.releases import LIMIT as RELEASE_LIMIT
from cloakhouse.lake.releases import SIGNER, Release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, record
from cloakhouse.stages.bundle_archive import packed
from cloakhouse.stages.bundle_log import MOST_ENTRIES, log_members
from cloakhouse.stages.bundle_readme import readme
from cloakhouse.stages.checkpointing import checkpoint
from cloakhouse.stages.checkpointing import trusted as trusted_log
from cloakhouse.stages.report_contracts import contract_text, find_text
from cloakhouse.stages.reporting import canonical, entries_about, inputs, sealed_report
from cloakhouse.stages.signing import AUDIT, SIGNERS, signing_key, trusted_key
from cloakhouse.stages.version_checks import open_release

FORMAT = 1
KIND = "offline bundle"
PAYLOAD_TYPE = "application/vnd.cloakhouse.bundle+json"
LISTING, README, REPORT, RELEASE = "bundle.json", "README.txt", "report.json", "release.json"
EVIDENCE, SYNTHESIS = "evidence/validation.json", "evidence/synthesis.json"


def bundle(settings: Settings, version: DatasetVersion, taken: Event | None = None) -> bytes:
    """Return the bundle of `version`, in whatever state it is now. `taken` is the event of whoever takes it away;
    without it, that of this process.

    Raises NotFound (`not-found.contract`) when the contract isn't there as it was, IntegrityError for anything of it
    that was changed, KeyServiceError, AccessRefused, StorageError.
    """
    release = open_release(settings, version)
    main = contract_text(settings.contracts, release.contract["digest"], release.dataset)
    facts: dict[str, str | int] = {"form": "offline bundle", "version": release.version}
    own = event(settings, Action.EXPORT_LOG, version.name, dataset=release.dataset)
    record(settings, replace(taken or own, facts=facts))  # 1
    report = sealed_report(settings, version)  # 2
    signer = signing_key(settings, SIGNER)
    signing_key(settings, AUDIT)
    about = entries_about(settings, release.dataset, release.run.get("run", ""), MOST_ENTRIES)
    numbers = sorted({*about, *_decisions(settings, release)})
    members = {  # 3
        **_records(settings, version, release),
        REPORT: report,
        **_contracts(settings, release, main),
        **log_members(settings, numbers, _note(settings), trusted_log(settings)),
        **_keys(settings),
        README: readme(version.name, signer.public.sha256),
    }
    listing = {
        "format": FORMAT,
        "kind": KIND,
        "dataset": release.dataset,
        "version": release.version,
        "entries_left_out": max(0, _about(settings, release) - len(numbers)),
        "members": [
            {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(members.items())
        ],
    }
    return packed({**members, LISTING: sealed_envelope(signer, PAYLOAD_TYPE, canonical(listing))})  # 4


def _records(settings: Settings, version: DatasetVersion, release: Release) -> dict[str, bytes]:
    store = open_store(settings)
    _, synthesis = inputs(store, release.evidence)  # compared with their digests
    members = {
        RELEASE: store.read(version.manifest.path, RELEASE_LIMIT),
        EVIDENCE: store.read(release.evidence.path),
    }
    if synthesis:
        members[SYNTHESIS] = store.read(release.source.path)
    for name, ref in ((RELEASE, version.manifest), (EVIDENCE, release.evidence), (SYNTHESIS, release.source)):
        if name in members and hashlib.sha256(members[name]).hexdigest() != ref.sha256:
            raise _moved(ref)
    return members


def _contracts(settings: Settings, release: Release, main: str) -> Mapping[str, bytes]:
    texts = {release.dataset: main.encode()}
    for source, treated in release.treatments.items():
        text = find_text(settings.contracts, treated["contract"]["digest"])
        if text is not None:
            texts[source] = text.encode()
    return {f"contracts/{name}.odcs.yaml": text for name, text in texts.items()}


def _keys(settings: Settings) -> dict[str, bytes]:
    found = {}
    for name in SIGNERS:
        if (settings.signing_keys / f"{name}.pem").exists():
            found[f"keys/{name}.pem"] = trusted_key(settings, name).pem
    return found


def _note(settings: Settings) -> str:
    """Return the signed note of a checkpoint that covers the log as it is now."""
    made = checkpoint(settings)
    assert made is not None  # the event of step 1 is in the log
    table = db.audit_checkpoint
    with db.open_database(settings.database).connect() as connection:
        return str(connection.execute(sa.select(table.c.note).where(table.c.size == made.size)).scalar_one())


def _decisions(settings: Settings, release: Release) -> list[int]:
    """Return the numbers of the entries that tell what persons decided over the evidence, however old they are."""
    table = db.approval
    mine = (table.c.evidence_sha256 == release.evidence.sha256) & (table.c.dataset == release.dataset)
    with db.open_database(settings.database).connect() as connection:
        return [int(number) for number in connection.execute(sa.select(table.c.entry).where(mine)).scalars()]


def _about(settings: Settings, release: Release) -> int:
    return len(entries_about(settings, release.dataset, release.run.get("run", ""), 1_000_000))


def _moved(ref: ManifestRef) -> IntegrityError:
    return IntegrityError(
        where=ref.path,
        expected=f"SHA-256 {ref.sha256[:16]}",
        found="other bytes",
        not_done="no bundle was made",
        remedy="restore the lake from its backup; releases and manifests are never edited",
    )
