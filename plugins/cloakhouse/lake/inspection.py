"""One file of the lake, looked at from its bytes: which of them are encrypted, and whether as agreed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from typing import BinaryIO

from cloakhouse.errors import CloakhouseError, IntegrityError, StorageError
from cloakhouse.keys.files import TEMPORARY
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.streaming import HEADER, TAG
from cloakhouse.lake import slots
from cloakhouse.lake.footer import MAGIC, PLAIN_MAGIC
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.modules import FormatError
from cloakhouse.lake.parquet_report import encrypted_parquet, plain_parquet
from cloakhouse.lake.report import Finding, Kind, Report
from cloakhouse.lake.sealed import LIMIT, examined
from cloakhouse.lake.sealed import MAGIC as SEALED
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.checkpoints import LONGEST_NOTE, size_of_note

RECORD = re.compile(r"[a-z0-9][a-z0-9_-]*-([0-9a-f]{16})\.json")  # see `cloakhouse.lake.manifests`
CHECKPOINT = re.compile(r"evidence/audit/checkpoints/([0-9]{12})\.txt")  # of the audit log, see `ledger.checkpoints`
MAX_RECORD = 64 << 20  # bytes
BLOCK = 1 << 20  # bytes


def inspect(lake: ObjectStore, path: str, size: int, ring: KeyRing | None, *, deep: bool) -> Report | None:
    """Return what the object at `path` is; None when it is gone. Never raises for what it holds.

    Raises StorageError when the store as a whole doesn't answer.
    """
    try:
        local = lake.root / path if isinstance(lake, FolderStore) else lake.fetched(path)
        handle = os.open(local, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                return None
            return _inspected(stream, lake, path, found.st_size, ring, deep=deep)
    except FileNotFoundError:
        return None
    except IntegrityError:
        return _unreadable(path, size, "a name that the platform gives to no object")
    except StorageError as refused:
        if refused.code != "storage.refused":
            raise
        return _unreadable(path, size, refused.found)
    except OSError as fault:
        return _unreadable(path, size, os.strerror(fault.errno) if fault.errno else type(fault).__name__)


def _unreadable(path: str, size: int, detail: str) -> Report:
    return Report("other", plaintext=size, findings=(Finding(path, Kind.UNREADABLE, detail),))


def _inspected(
    stream: BinaryIO, lake: ObjectStore, path: str, size: int, ring: KeyRing | None, *, deep: bool
) -> Report:
    start = stream.read(4)
    if path.endswith(TEMPORARY):
        detail = "a temporary file: a write in progress, or left behind by one that was interrupted"
        return Report("other", plaintext=size, findings=(Finding(path, Kind.PLAINTEXT, detail),))
    try:
        if start == MAGIC:
            return encrypted_parquet(stream, path, size, ring, deep=deep)
        if start == PLAIN_MAGIC:
            return plain_parquet(stream, path, size)
        if start[:3] == b"CHL" or (path.startswith("landing/") and not any(start)):
            return _landed(stream, lake, path, size, ring, deep=deep)
        if start == SEALED:
            return _sealed(stream, path, size, ring if deep else None)
        if _is_record(stream, path, size):
            return Report("record", structure=size)
    except FormatError as fault:
        place = {MAGIC: "parquet", PLAIN_MAGIC: "parquet", SEALED: "sealed"}.get(start, "landed")
        return Report(place, plaintext=size, findings=(Finding(path, Kind.DAMAGED, str(fault)),))
    detail = "an empty file" if not size else "no form that the platform writes"
    return Report("other", plaintext=size, findings=(Finding(path, Kind.PLAINTEXT, detail),))


def _landed(stream: BinaryIO, lake: ObjectStore, path: str, size: int, ring: KeyRing | None, *, deep: bool) -> Report:
    stream.seek(0)
    slot = slots.newest(stream.read(slots.AREA))
    if slot is None:
        raise FormatError("no valid header of a landed file (CHL2)")
    zone, dataset, partition, name, *rest = [*path.split("/"), "", "", ""]
    try:
        header = json.loads(slot.content)
        named = header["key"] == f"{zone}/file/{dataset}" and isinstance(header["wrapped"], str)
    except (ValueError, KeyError, TypeError, RecursionError):
        named = False
    stream.seek(slots.AREA)
    if not named or any(rest) or stream.read(1) != bytes([HEADER]) or size < slots.AREA + HEADER + TAG:
        raise FormatError("a header that is not of this landed file, or no stream behind it")
    sealed, checked, findings = size - slots.AREA, 0, []
    if deep and ring is not None:
        try:
            with opened(lake, LandedObject(dataset, partition, name), ring) as source:
                while source.read(BLOCK):
                    pass
            checked = sealed
        except IntegrityError as fault:
            raise FormatError(fault.found) from None
        except CloakhouseError as fault:
            findings.append(Finding(path, Kind.UNCHECKED, f"{fault.code} at {fault.where}"))
    return Report("landed", encrypted=sealed, structure=slots.AREA, checked=checked, findings=tuple(findings))


def _sealed(stream: BinaryIO, path: str, size: int, ring: KeyRing | None) -> Report:
    """Return the report of a fitted synthesizer; with `ring` every tag is checked."""
    if size > LIMIT:
        raise FormatError("a fitted synthesizer larger than any that is opened")
    stream.seek(0)
    found, checked = stream.read(), 0
    findings: tuple[Finding, ...] = ()
    try:
        sealed = examined(path, found, None)
        if ring is not None:
            checked = examined(path, found, ring)
    except IntegrityError as fault:
        raise FormatError(fault.found) from None
    except CloakhouseError as fault:
        findings = (Finding(path, Kind.UNCHECKED, f"{fault.code} at {fault.where}"),)
    return Report("sealed", encrypted=sealed, structure=size - sealed, checked=checked, findings=findings)


def _is_record(stream: BinaryIO, path: str, size: int) -> bool:
    """Return whether the file is a manifest, which has its own digest in its name, or a checkpoint of the audit log of
    the size that its name says; other JSON and other text may hold anything."""
    if (noted := CHECKPOINT.fullmatch(path)) is not None:
        stream.seek(0)
        return size_of_note(stream.read(LONGEST_NOTE + 1)) == int(noted[1])
    named = RECORD.fullmatch(path.rpartition("/")[2])
    if named is None or size > MAX_RECORD:
        return False
    stream.seek(0)
    return hashlib.sha256(stream.read()).hexdigest().startswith(named[1])
