"""Releases: one immutable, signed file per dataset version. It lists everything that a reader needs to open the version
and to judge it.

A release is a DSSE envelope (`cloakhouse.lake.dsse`) at
`<zone>/<dataset>/releases/<version, 8 digits>-<first 16 hex of the file's SHA-256>.json`; its payload is canonical JSON
(UTF-8, sorted keys, no spaces, every number as Python's `repr`) of the fields of `Release` and `"format": 1`, as
`release_schema.json` beside this module describes it. ADR 0027 gives an example byte for byte, and how to verify one
with openssl alone.

Reading is in this order, and ends at the first step that fails:

1. the file's SHA-256 is the one in the control database: an older release can't be put in its place;
2. the envelope's signature is that of the key which the caller trusts;
3. the payload is canonical, of the fields and types that there are, and of the version asked for; its files lie in the
   dataset's own folder.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.signing import PublicKey, SigningKey
from cloakhouse.lake.dsse import opened_envelope, sealed_envelope
from cloakhouse.lake.release_checks import fault_in
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.lake.sums import FileEntry
from cloakhouse.ledger.catalogue import ManifestRef

__all__ = ["FOLDER", "FORMAT", "PAYLOAD_TYPE", "SIGNER", "Release", "read_release", "releases_folder", "write_release"]

FORMAT = 1
PAYLOAD_TYPE = "application/vnd.cloakhouse.release+json"
SIGNER = "releases"  # name of the signing key
FOLDER = "releases"  # beside the folders of runs
LIMIT = 1 << 28  # bytes of a release; 10,000 files take 2 MB


@dataclass(frozen=True)
class Release:
    """What a release says of a version.

    Attributes:
        version: its number, reserved before the release was written.
        published_at: UTC.
        fingerprint: of what the version was made from and how (hex).
        contract: `version` and `digest` of the dataset's contract.
        columns: `name`, `type` (logical), `class` and `key` (master key) of each, in order.
        files: all of them lie below `<zone>/<dataset>/`.
        rows: of all files.
        keys: URIs of the master keys that open it, `<key service>#<master key>`; no secrets.
        treatments: per source dataset, the version of its contract and what was done to its columns.
        parents: per source dataset, its partitions with the references of their manifests.
        run: `dag` and `run` that published it, each empty outside of Airflow.
        evidence: the validation that admitted it.
        source: the manifest of its synthesis, or of its answer.
        code: `cloakhouse`, the version of the software.
        card: for people (see `cloakhouse.stages.publish`).
        replaces: the release of this version before its files were written again under new keys, or None.
    """

    dataset: str
    version: int
    zone: str
    published_at: dt.datetime
    fingerprint: str
    contract: Mapping[str, str]
    columns: tuple[Mapping[str, str], ...]
    files: tuple[FileEntry, ...]
    rows: int
    keys: tuple[str, ...]
    treatments: Mapping[str, Any]
    parents: Mapping[str, Any]
    run: Mapping[str, str]
    evidence: ManifestRef
    source: ManifestRef
    code: Mapping[str, str]
    card: Mapping[str, Any]
    replaces: ManifestRef | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the payload's fields, JSON-ready."""
        content: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        content |= {name: None if (ref := content[name]) is None else ref.as_dict() for name in _REFS}
        content["published_at"] = self.published_at.astimezone(dt.UTC).isoformat()
        content["files"] = [asdict(entry) for entry in self.files]
        content |= {name: list(content[name]) for name in ("columns", "keys")}
        return {"format": FORMAT, **content}


_REFS = ("evidence", "source", "replaces")


def releases_folder(zone: str, dataset: str) -> str:
    """Return the folder of a dataset's releases within the lake."""
    return f"{zone}/{dataset}/{FOLDER}"


def write_release(store: ObjectStore, signer: SigningKey, release: Release) -> ManifestRef:
    """Write `release`, signed, and return its reference; one that stands there stays.

    Raises IntegrityError (`integrity.release`) for one that `read_release` would refuse, StorageError.
    """
    where = f"release of {release.dataset}@{release.version}"
    try:
        payload = _canonical(release.as_dict())
    except ValueError:
        raise _broken(where, "numbers and texts that JSON holds", "others", "it was not written") from None
    if fault := fault_in(json.loads(payload)):
        raise _broken(where, *fault, "it was not written")
    text = sealed_envelope(signer, PAYLOAD_TYPE, payload)
    digest = hashlib.sha256(text).hexdigest()
    ref = ManifestRef(
        f"{releases_folder(release.zone, release.dataset)}/{release.version:08d}-{digest[:16]}.json", digest
    )
    if not store.create(ref.path, text):
        _read(store, ref)
    return ref


def read_release(
    store: ObjectStore, trusted: PublicKey, ref: ManifestRef, *, dataset: str, version: int, zone: str
) -> Release:
    """Return the release behind `ref`, which must be that of `version` of `dataset` in `zone`.

    Raises IntegrityError: `integrity.release` when it is missing, changed, another version's, or lists what it may not;
    `integrity.signature` and `integrity.envelope` as `opened_envelope`.
    """
    text = _read(store, ref)  # 1
    payload = opened_envelope(trusted, PAYLOAD_TYPE, text, ref.path)  # 2
    try:
        content = json.loads(payload)
        canonical = payload == _canonical(content)
    except (ValueError, TypeError, RecursionError):
        canonical = False
    if not canonical:
        raise _broken(ref.path, "canonical JSON", "another text")
    if fault := fault_in(content):  # 3
        raise _broken(ref.path, *fault)
    found = (content["dataset"], content["version"], content["zone"])
    if found != (dataset, version, zone):
        raise _broken(ref.path, f"the release of {dataset}@{version} in {zone}", f"that of {found[0]}@{found[1]}")
    return _release(content)


def _read(store: ObjectStore, ref: ManifestRef) -> bytes:
    try:
        text = store.read(ref.path, LIMIT)
    except FileNotFoundError:
        raise _broken(ref.path, "the release", "no file") from None
    if hashlib.sha256(text).hexdigest() != ref.sha256:
        raise _broken(ref.path, f"SHA-256 {ref.sha256[:16]}", "other bytes")
    return text


def _canonical(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _release(content: dict[str, Any]) -> Release:
    plain = {name: value for name, value in content.items() if name != "format"}
    plain |= {name: None if plain[name] is None else ManifestRef.of(plain[name]) for name in _REFS}
    plain["published_at"] = dt.datetime.fromisoformat(plain["published_at"])
    plain["files"] = tuple(FileEntry(**item) for item in plain["files"])
    return Release(**plain | {name: tuple(plain[name]) for name in ("columns", "keys")})


def _broken(where: str, expected: str, found: str, not_done: str = "nothing that it lists was read") -> IntegrityError:
    return IntegrityError(
        where=where,
        expected=expected,
        found=found,
        not_done=not_done,
        remedy="restore the lake and the control database from backups of one moment; releases are never edited",
        code="release",
    )
