"""Verifying a bundle, with nothing but its bytes: no platform, no database, no key service, no network.

1. the file is an archive of the one form that bundles have (`cloakhouse.stages.bundle_archive`);
2. the key of releases in it is the one that the caller trusts, if he names one; its signature is on the list of
   members, and every member is the one listed, and none beside;
3. the release is signed by the same key, in canonical form, and of the dataset and version that the list names;
4. evidence and synthesis are those whose digests the release holds, and the evidence is about this synthesis;
5. the contract has the release's digest, and those of the sources have theirs;
6. the gate, computed again from evidence and contract, comes to the same figures and the same verdict: passed;
7. the report is signed, and its parts are those that follow from contract, evidence, synthesis and release;
8. each entry of the audit log is in the log of the checkpoint, which the key of the log signed, and the log has only
   grown since each earlier checkpoint; a checkpoint that the caller kept is one of them;
9. where the contract asks for an approval, the log holds one over exactly this evidence, by one of its approvers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import parse_contract
from cloakhouse.errors import ConfigurationError, ContractError, IntegrityError
from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.dsse import opened_envelope
from cloakhouse.lake.releases import PAYLOAD_TYPE as RELEASE_TYPE
from cloakhouse.lake.releases import Release, read_release
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.approvals import REJECTION
from cloakhouse.ledger.audit_event import ALLOWED, Action
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.checkpoints import LONGEST_NOTE, opened
from cloakhouse.stages.bundle import EVIDENCE, FORMAT, KIND, LISTING, PAYLOAD_TYPE, RELEASE, REPORT, SYNTHESIS
from cloakhouse.stages.bundle_archive import damaged, unpacked
from cloakhouse.stages.bundle_log import ProvedLog, proved, require_kept
from cloakhouse.stages.gate_check import Recomputed, recomputed
from cloakhouse.stages.report_contracts import digest_of
from cloakhouse.stages.report_sections import derived
from cloakhouse.stages.reporting import Report, canonical, opened_report

STATES = {Action.WITHDRAW: "withdrawn", Action.EXPIRE: "expired"}  # none of them is taken back
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Verified:
    """What a bundle was found to prove.

    Attributes:
        name: `dataset@version`.
        key: SHA-256 (hex) of the key that signed it; `compared`: whether the caller named it.
        gate: the gate, computed again.
        entries: of the audit log. log_size, log_root (hex), origin: of the checkpoint they are proved against.
        earlier: sizes of earlier checkpoints that the log goes on from.
        kept: whether a checkpoint that the caller kept is among them; None when none was given.
        left_out: entries about the dataset that the bundle has no room for.
        state: of the version when the bundle was made, as the log tells it: `published`, `withdrawn`, `expired`.
        report: the validation report.
    """

    name: str
    key: str
    compared: bool
    gate: Recomputed
    entries: int
    log_size: int
    log_root: str
    origin: str
    earlier: tuple[int, ...]
    kept: bool | None
    left_out: int
    state: str
    report: Report


def verify_bundle(text: bytes, where: str, key: str | None = None, kept: str | None = None) -> Verified:
    """Return what the bundle `text` proves: steps 1 to 9.

    `key`: SHA-256 (hex) or PEM of the platform's key of releases; without it the bundle's own is believed, and the
    caller must compare it. `kept`: the signed note of a checkpoint that was kept elsewhere. Raises IntegrityError
    (`integrity.platform` for another platform's bundle, `integrity.fork` for a rewritten log, others for anything that
    was changed), ConfigurationError for a `key` that is none.
    """
    members = unpacked(text, where)  # 1
    public = _trusted(members, where, key)  # 2
    listing = _listing(members, public, where)
    try:
        return _verified(members, listing, public, where, compared=key is not None, kept=kept)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, RecursionError, ContractError):
        raise damaged(where, "records of the platform's form", "others") from None


def fingerprint_of(key: str) -> str:
    """Return the SHA-256 (hex) that `key`, itself one or a PEM, stands for. Raises ConfigurationError."""
    if _DIGEST.fullmatch(key.strip().lower()):
        return key.strip().lower()
    return public_of(key).sha256


def public_of(pem: str) -> PublicKey:
    """Return the public key in a PEM. Raises ConfigurationError for another text."""
    public = _public(pem.encode())
    if public is None:
        raise ConfigurationError(
            where="key of the platform",
            expected="64 hexadecimal digits (the SHA-256 of the key of releases), or its PEM",
            found=f"another text of {len(pem)} characters",
            not_done="the bundle was not verified",
            remedy="take the key from who runs the platform: `signing-keys/releases.pem`",
            code="key",
        )
    return public


def _trusted(members: Mapping[str, bytes], where: str, key: str | None) -> PublicKey:
    public = _public(members.get("keys/releases.pem", b""))
    if public is None:
        raise damaged(where, "the public key of releases", "none")
    if key is not None and public.sha256 != fingerprint_of(key):
        raise IntegrityError(
            where=where,
            expected=f"a bundle of the platform whose key has the SHA-256 {fingerprint_of(key)}",
            found=f"one that the key {public.sha256} signed: another platform's, or a forgery",
            not_done="nothing that it says was believed",
            remedy="ask the platform which key is its own; `keys/releases.pem` in the bundle is the one that signed",
            code="platform",
        )
    return public


def _public(pem: bytes) -> PublicKey | None:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError):
        return None
    if not isinstance(key, Ed25519PublicKey):
        return None
    return PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _listing(members: Mapping[str, bytes], public: PublicKey, where: str) -> dict[str, Any]:
    payload = opened_envelope(public, PAYLOAD_TYPE, members.get(LISTING, b""), f"{where}, {LISTING}")
    found = json.loads(payload)
    others = {name: content for name, content in members.items() if name != LISTING}
    listed = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(others.items())
    ]
    sound = isinstance(found, dict) and canonical(found) == payload
    if not sound or (found.get("format"), found.get("kind"), found.get("members")) != (FORMAT, KIND, listed):
        raise damaged(where, "exactly the members that the signed list names", "others")
    assert isinstance(found, dict)
    return found


def _verified(
    members: dict[str, bytes],
    listing: dict[str, Any],
    public: PublicKey,
    where: str,
    *,
    compared: bool,
    kept: str | None,
) -> Verified:
    release = _release(members[RELEASE], public, f"{where}, {RELEASE}")  # 3
    if (release.dataset, release.version) != (listing["dataset"], listing["version"]):
        raise damaged(where, "the release of the version that the list names", "another")
    evidence, synthesis = _inputs(members, release, where)  # 4
    contract = _contract(members, release, where)  # 5
    gate = recomputed(contract, evidence, synthesis)  # 6
    _require_passed(gate, where)
    report = opened_report(public, members[REPORT], f"{where}, {REPORT}")  # 7
    _require_report(report, members, release, derived(contract, evidence, synthesis, release), where)
    log_key = _public(members.get("keys/audit.pem", b""))
    if log_key is None:
        raise damaged(where, "the public key of the audit log", "none")
    log = proved(members, log_key, where)  # 8
    if kept is not None:
        require_kept(log, opened(kept[: LONGEST_NOTE + 1], log_key, "the checkpoint that was kept"), where)
    _require_approval(contract, release, log, where)  # 9
    return Verified(
        name=f"{release.dataset}@{release.version}",
        key=public.sha256,
        compared=compared,
        gate=gate,
        entries=len(log.events),
        log_size=log.checkpoint.size,
        log_root=log.checkpoint.root.hex(),
        origin=log.checkpoint.origin,
        earlier=tuple(sorted(log.earlier)),
        kept=None if kept is None else True,
        left_out=int(listing["entries_left_out"]),
        state=_state(f"{release.dataset}@{release.version}", log),
        report=report,
    )


def _inputs(members: Mapping[str, bytes], release: Release, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    evidence = _manifest(members[EVIDENCE], release.evidence.sha256, "validation", where)
    subject = evidence.get("subject")
    if subject is None:
        if release.source != release.evidence or SYNTHESIS in members:
            raise damaged(where, "an answer whose evidence is its source", "another source")
        return evidence, {}
    if subject != release.source.as_dict():
        raise damaged(where, "evidence about the rows that were released", "evidence about others")
    return evidence, _manifest(members[SYNTHESIS], release.source.sha256, "synthesis", where)


def _manifest(content: bytes, digest: str, kind: str, where: str) -> dict[str, Any]:
    found = json.loads(content)
    if hashlib.sha256(content).hexdigest() != digest or not isinstance(found, dict) or found.get("kind") != kind:
        raise damaged(where, f"the manifest ({kind}) with the SHA-256 {digest[:16]}", "another")
    return found


def _contract(members: Mapping[str, bytes], release: Release, where: str) -> Contract:
    digests = {source: str(treated["contract"]["digest"]) for source, treated in release.treatments.items()}
    digests[release.dataset] = release.contract["digest"]
    texts = {
        name.removeprefix("contracts/").removesuffix(".odcs.yaml"): content.decode()
        for name, content in members.items()
        if name.startswith("contracts/")
    }
    if release.dataset not in texts or any(digest_of(text, name) != digests.get(name) for name, text in texts.items()):
        raise damaged(where, "the contracts that the release names, by their digests", "others")
    return parse_contract(texts[release.dataset], release.dataset, accepted=True)


def _require_passed(gate: Recomputed, where: str) -> None:
    if not gate.passed or not gate.agrees:
        failed = sum(not figure.passed for figure in gate.figures)
        raise IntegrityError(
            where=f"{where}, gate",
            expected="figures that meet the contract's thresholds, as the evidence states them",
            found=f"{failed} of {len(gate.figures)} that don't, {gate.checks_passed} of {gate.checks} checks that "
            f"held, {len(gate.differences)} stated otherwise than they come to",
            not_done="the release was not recognised as validated",
            remedy="ask who published it on what evidence; keep the bundle as it is",
            code="gate",
        )


def _require_report(
    report: Report, members: Mapping[str, bytes], release: Release, parts: Mapping[str, Any], where: str
) -> None:
    content = report.content
    expected = {
        "dataset": release.dataset,
        "version": release.version,
        "evidence": {"sha256": release.evidence.sha256},
        **json.loads(canonical(parts)),
    }
    stated = content["release"]
    sums = (stated["sha256"], stated["rows"], stated["published_at"])
    found = (hashlib.sha256(members[RELEASE]).hexdigest(), release.rows, release.published_at.isoformat())
    if sums != found or any(content.get(name) != part for name, part in expected.items()):
        raise damaged(f"{where}, {REPORT}", "the report that follows from contract, evidence and release", "another")


def _require_approval(contract: Contract, release: Release, log: ProvedLog, where: str) -> None:
    if contract.approval is None:
        return
    named = {f"airflow:{name}" for name in contract.approval.approvers}
    decided = [
        event
        for _, event in sorted(log.events.items())
        if event.action == Action.APPROVE
        and event.facts.get("evidence") == release.evidence.sha256
        and (event.decision == ALLOWED or event.code == REJECTION)  # others were not counted
    ]
    if not decided or decided[-1].decision != ALLOWED or decided[-1].actor not in named:
        raise damaged(f"{where}, approval", "an entry of the log: one of the approvers agreed to this evidence", "none")


def _state(name: str, log: ProvedLog) -> str:
    """Return what the newest entry about the version's state says; a bundle is of versions that were published."""
    about = [event for event in log.events.values() if event.object == name and event.decision == ALLOWED]
    ends = [STATES[Action(event.action)] for event in about if event.action in STATES]
    return ends[-1] if ends else "published"


class _One:
    """A store that holds one object."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, path: str, limit: int = 0) -> bytes:
        """Return the object, whatever its path."""
        return self._content


def _release(text: bytes, public: PublicKey, where: str) -> Release:
    named = json.loads(opened_envelope(public, RELEASE_TYPE, text, where))
    ref = ManifestRef(where, hashlib.sha256(text).hexdigest())
    store = cast(ObjectStore, _One(text))
    return read_release(store, public, ref, dataset=named["dataset"], version=named["version"], zone=named["zone"])
