"""What a backup is, as its signed manifest says it, and the shelf on which backups lie: a folder, or a bucket.

    backups/<name>.json                                   the manifest: a DSSE envelope (`cloakhouse.lake.dsse`)
    objects/<recipient>/<2 hex>/<SHA-256 of the content>.age   a file of lake or keys, sealed; shared by backups
    databases/<name>.age                                  the control database as lines (`backup_database`), sealed
    unfinished/<name>-<number>.json                       notes of a backup that is being made (`backup_notes`)

Everything but the manifests is an age file (https://age-encryption.org/v1) for one recipient, `<recipient>` being the
first 16 hex of the SHA-256 of its text. The payload of a manifest is canonical JSON (sorted keys, no spaces, ASCII) of
the fields of `Backup` and `"format": 1`. It holds paths, counts, digests and times: no value of a person and no key.
Whoever verifies takes the public key `backups` of the installation from elsewhere, never from the shelf.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from cloakhouse.errors import IntegrityError, NotFound
from cloakhouse.keys.signing import PublicKey, SigningKey
from cloakhouse.lake.dsse import opened_envelope, sealed_envelope
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore, checked_path
from cloakhouse.settings import Settings

FORMAT = 1
PAYLOAD_TYPE = "application/vnd.cloakhouse.backup+json"
FOLDER, UNFINISHED, DATABASE = "backups", "unfinished", "database/control.jsonl"
FULL, RIGHTS = "full", "rights"
LIMIT = 1 << 30  # bytes of a manifest
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class SealedFile:
    """One file of a backup.

    Attributes:
        path: `lake/<object>`, `home/<folder>/<file>`, or DATABASE.
        bytes / sha256: of the file.
        object: where it lies on the shelf, sealed.
        sealed_bytes / sealed_sha256: of that.
        modified: when it was last written, as its place told (ISO 8601, UTC); empty for what isn't a file there.
    """

    path: str
    bytes: int
    sha256: str
    object: str
    sealed_bytes: int
    sealed_sha256: str
    modified: str = ""


@dataclass(frozen=True)
class Backup:
    """What the manifest of a backup says.

    Attributes:
        name: `<time, UTC>-<8 hex>`, in the order of time.
        kind: `full`, or `rights`: database and keys without the lake.
        at: when the database was read (ISO 8601, UTC).
        software / revision: the version of cloakhouse, and of the tables.
        database / keys / store: the kind of each: `sqlite`, `age`, `folder`.
        recipient: for whom it is sealed, as `recipient_id` has it.
        log_size / log_root: of the audit log in it (root: hex).
        reserved: per dataset the highest number of a version that was ever given.
        counts: of `tombstones`, `consents`, `erasures`.
        identities: whether secrets of the age keystore are in it.
        files: sorted by path.
    """

    name: str
    kind: str
    at: str
    software: str
    revision: str
    database: str
    keys: str
    store: str
    recipient: str
    log_size: int
    log_root: str
    reserved: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    identities: bool = False
    files: tuple[SealedFile, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the payload's fields, JSON-ready."""
        return {"format": FORMAT, **asdict(self), "files": [asdict(one) for one in self.files]}

    def summary(self) -> dict[str, Any]:
        """Return what is told of it, without its files, JSON-ready."""
        told = {name: value for name, value in self.as_dict().items() if name not in ("files", "reserved", "counts")}
        sizes = {"files": len(self.files), "bytes": sum(one.bytes for one in self.files)}
        return {**told, **self.counts, **sizes, "digest": self.digest}

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the manifest's payload: by it the audit log tells which backup was made or restored."""
        return hashlib.sha256(_canonical(self.as_dict())).hexdigest()

    def file(self, path: str) -> SealedFile:
        """Return the file at `path`. Raises IntegrityError."""
        found = next((one for one in self.files if one.path == path), None)
        if found is None:
            raise broken(f"backup {self.name}", f"the file {path}", "none")
        return found


def shelf_of(settings: Settings, place: str) -> ObjectStore:
    """Return the store of backups at `place`, a folder or `s3://...`. Raises ConfigurationError for another URI."""
    if "://" in place:
        return open_store(replace(settings, store=place))
    return FolderStore(Path(place).expanduser().resolve())


def recipient_id(recipient: str) -> str:
    """Return the name of a recipient's objects."""
    return hashlib.sha256(recipient.encode()).hexdigest()[:16]


def encode(backup: Backup, signer: SigningKey) -> bytes:
    """Return the signed manifest."""
    return sealed_envelope(signer, PAYLOAD_TYPE, _canonical(backup.as_dict()))


def decode(text: bytes, trusted: PublicKey, where: str) -> Backup:
    """Return the backup whose signed manifest is `text`.

    Raises IntegrityError: `integrity.signature`, `integrity.envelope`, `integrity.backup` for another payload.
    """
    payload = opened_envelope(trusted, PAYLOAD_TYPE, text, where)
    try:
        content = json.loads(payload)
        if content.pop("format") != FORMAT or set(content) != {one.name for one in fields(Backup)}:
            raise ValueError
        files = tuple(SealedFile(**one) for one in content["files"])
        backup = Backup(**{**content, "files": files})
        sound = payload == _canonical(backup.as_dict()) and all(_is_sound(one) for one in files)
        sound = sound and len({one.path for one in files}) == len(files) and backup.kind in (FULL, RIGHTS)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise broken(where, f"a manifest of format {FORMAT}", "another")
    return backup


def backups(shelf: ObjectStore, trusted: PublicKey) -> list[Backup]:
    """Return the backups of a shelf, oldest first. Raises IntegrityError as `decode`, StorageError."""
    return list(each_backup(shelf, trusted))


def each_backup(shelf: ObjectStore, trusted: PublicKey) -> Iterator[Backup]:
    """Yield them one after the other: each may list every object of a lake. Raises as `backups`."""
    for path in sorted(info.path for info in shelf.list(FOLDER)):
        name = path.split("/")[-1].removesuffix(".json")
        backup = decode(shelf.read(path, LIMIT), trusted, path)
        if backup.name != name or not _NAME.fullmatch(name):
            raise broken(path, "the manifest of its own name", f"that of {backup.name}")
        yield backup


def chosen(shelf: ObjectStore, trusted: PublicKey, name: str = "", kind: str = FULL) -> Backup:
    """Return the backup `name`, the newest of `kind` for none. Raises NotFound, and as `backups`."""
    found = None
    for one in each_backup(shelf, trusted):
        if one.name == name if name else one.kind == kind:
            found = one
    if found is None:
        raise NotFound(
            where="the shelf of backups",
            expected=f"the backup {name}" if name else f"a {kind} backup",
            found="none",
            not_done="nothing was verified and nothing was restored",
            remedy="`cloakhouse backup list` tells what there is",
        )
    return found


def manifest_path(name: str) -> str:
    """Return where the manifest of the backup `name` lies on its shelf."""
    return f"{FOLDER}/{name}.json"


def broken(where: str, expected: str, found: str) -> IntegrityError:
    """Return the error for a backup that is not what was written."""
    return IntegrityError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing was restored",
        remedy="take another backup, or another copy of this one; nothing of it is to be trusted",
        code="backup",
    )


def _is_sound(one: SealedFile) -> bool:
    checked_path(one.object)
    parts = one.path.split("/")
    if one.path != DATABASE and (len(parts) < 2 or parts[0] not in ("lake", "home")):
        return False
    plain = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
    sizes = all(isinstance(size, int) and size >= 0 for size in (one.bytes, one.sealed_bytes))
    return plain and sizes and all(_DIGEST.fullmatch(digest) for digest in (one.sha256, one.sealed_sha256))


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
