"""Landed files: the raw bytes of a delivery, encrypted, with the wrapped key in front.

Bytes on disk (CHL2):

    slot 0 (4,096 bytes) | slot 1 (4,096) | Tink AES256_GCM_HKDF_1MB stream (see `cloakhouse.keys.streaming`)

    slot    = `CHL2` | serial (4, big-endian) | length (4, big-endian) | header | zeros | SHA-256 of all before (32)
    header  = {"format": 2, "key": "landing/file/<dataset>", "wrapped": "<base64>",
               "context": {"zone": "landing", "dataset": ..., "partition": ..., "object": ...}}      as JSON

A new file has its header in slot 0, and slot 1 is all zero. Re-wrapping writes the other slot and clears the old one;
the data isn't touched (see `cloakhouse.lake.slots`, also for why that may end at any byte, and beside readers).

`wrapped` is the file's data key under its dataset key. The context is bound twice: into the wrap, and after `CHL2` as
associated data of the stream, so a file moved to another name doesn't open.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from cloakhouse.errors import IntegrityError, KeyServiceError
from cloakhouse.keys.dataset_keys import DatasetKey, canonical
from cloakhouse.keys.files import NO_SPACE, new_file, storage_error
from cloakhouse.keys.protocol import FILE, new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.streaming import SEGMENT, DecryptingReader, EncryptingWriter, sealed_size
from cloakhouse.lake import slots
from cloakhouse.lake.store.protocol import ObjectStore

FORMAT = 2
ZONE = "landing"


@dataclass(frozen=True)
class LandedObject:
    """Which delivery a landed file holds; this is the encryption context of its data key."""

    dataset: str
    partition: str
    object: str

    @property
    def path(self) -> str:
        """Path within the lake."""
        return f"{ZONE}/{self.dataset}/{self.partition}/{self.object}"

    @property
    def key(self) -> DatasetKey:
        """The dataset key that wraps its data key."""
        return DatasetKey(ZONE, FILE, self.dataset)

    def context(self) -> dict[str, str]:
        """Return the encryption context."""
        return {"zone": ZONE, "dataset": self.dataset, "partition": self.partition, "object": self.object}


@contextlib.contextmanager
def landing(
    store: ObjectStore, target: LandedObject, ring: KeyRing, *, plain_bytes: int = 0
) -> Iterator[EncryptingWriter]:
    """Yield a writer of plaintext; the encrypted file appears at `target` in one step when the block ends well.

    `plain_bytes`, where known, reserves the room on the disk: a full disk shows at once, and writing costs less.
    An exception in the block leaves nothing behind. Raises StorageError, KeyServiceError, AccessRefused.
    """
    key = new_data_key()
    header = _encoded(target, ring.wrap(target.key, key, target.context()))
    with store.staged(target.path) as temporary, new_file(temporary) as sink:
        if plain_bytes:
            _reserve(sink, slots.AREA + sealed_size(plain_bytes))
        writer = EncryptingWriter(sink, key, _associated_data(target), front=slots.first(header))
        yield writer
        writer.finish()
        sink.truncate()  # what was reserved and not needed


@contextlib.contextmanager
def opened(store: ObjectStore, target: LandedObject, ring: KeyRing) -> Iterator[BinaryIO]:
    """Yield the plaintext of the landed file `target` as a buffered stream of checked bytes.

    Raises IntegrityError when the file is missing, changed, another file or plaintext; KeyServiceError, AccessRefused.
    """
    with _reading(target):
        path = store.fetched(target.path)
        source = path.open("rb", buffering=0)  # segments go straight to where they are decrypted
    with source:
        key = _data_key(source.fileno(), path, target, ring)
        source.seek(slots.AREA)
        reader = DecryptingReader(source, key, _associated_data(target), target.path)
        yield io.BufferedReader(reader, SEGMENT)


def rewrap(store: ObjectStore, target: LandedObject, ring: KeyRing) -> bool:
    """Have the file's data key wrapped under the newest version of its dataset key; return whether it was not.

    Only the header changes. Also clears what a re-wrapping that was killed left behind. Readers go on undisturbed; of
    many re-wrappers one works and the others find it done. Raises as `opened`, StorageError, and StageError when
    another one holds the file for a minute; the file then opens as before.
    """
    with contextlib.ExitStack() as stack:
        with _reading(target):
            path = stack.enter_context(store.edited(target.path))
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return _rewrapped(handle, path, target, ring)


def _rewrapped(handle: int, path: Path, target: LandedObject, ring: KeyRing) -> bool:
    try:
        slots.lock(handle, path)
        slot = _slot(slots.newest(os.pread(handle, slots.AREA, 0)), handle, target)
        wrapped = _wrapped(slot, target)
        key = ring.unwrap(target.key, wrapped, target.context())  # it opens, so the other slot may go
        stale = ring.version_of(wrapped) < ring.newest(target.key)
        if stale:
            slots.replace(handle, slot, _encoded(target, ring.wrap(target.key, key, target.context())))
        else:
            slots.clear(handle, 1 - slot.place)
    except OSError as fault:
        raise storage_error(fault, path, "its key stays wrapped as it was; the file opens as before") from None
    finally:
        os.close(handle)
    return stale


def key_version(store: ObjectStore, target: LandedObject) -> int:
    """Return the version of its dataset key that the landed file `target` needs. Opens no key. Raises IntegrityError,
    KeyServiceError (`key.format`), StorageError."""
    with _reading(target):
        path = store.fetched(target.path)
        source = path.open("rb", buffering=0)
    with source:
        slot = _slot(slots.read(source.fileno(), path), source.fileno(), target)
        return KeyRing.version_of(_wrapped(slot, target))


def _reserve(sink: BinaryIO, size: int) -> None:
    try:
        os.posix_fallocate(sink.fileno(), 0, size)
    except OSError as fault:
        if fault.errno in NO_SPACE:
            raise  # any other: the file system can't reserve, and will tell as it fills


@contextlib.contextmanager
def _reading(target: LandedObject) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise _broken(target, "the landed file", "no file") from None
    except OSError as fault:
        raise storage_error(fault, PurePosixPath(target.path), "the landed file was not opened") from None


def _data_key(handle: int, path: Path, target: LandedObject, ring: KeyRing) -> SecretKey:
    """Return the file's data key; when it doesn't open, and the header has changed meanwhile, that of the new one."""
    slot = _slot(slots.read(handle, path), handle, target)
    while True:
        try:
            return ring.unwrap(target.key, _wrapped(slot, target), target.context())
        except KeyServiceError:
            again = _slot(slots.read(handle, path), handle, target)
            if again == slot:
                raise
            slot = again  # re-wrapped just now, and the older dataset key was retired since


def _slot(found: slots.Slot | None, handle: int, target: LandedObject) -> slots.Slot:
    """Return the slot that was `found`, or raise what the file is instead."""
    if found is not None:
        return found
    magic = os.pread(handle, len(slots.MAGIC), 0)
    if magic == slots.MAGIC:
        raise _broken(target, "a header whose digest is right", "two damaged ones")
    if re.fullmatch(rb"CHL\d", magic):
        raise IntegrityError(
            where=target.path,
            expected="a landed file of version CHL2",
            found=f"one of version {magic.decode()}, which this version of the platform doesn't read",
            not_done="nothing of it was read",
            remedy="read it with the version of the platform that wrote it, or deliver the file again with supersede",
            code="version",
        )
    raise _broken(target, "an encrypted landed file (CHL2)", "other bytes")


def _encoded(target: LandedObject, wrapped: bytes) -> bytes:
    text = base64.b64encode(wrapped).decode()
    header = {"format": FORMAT, "key": target.key.name, "wrapped": text, "context": target.context()}
    return json.dumps(header).encode()


def _wrapped(slot: slots.Slot, target: LandedObject) -> bytes:
    """Return the wrapped key in the header, which must be the one form that `landing` writes, to the byte."""
    try:
        header = json.loads(slot.content)
        wrapped = base64.b64decode(header["wrapped"], validate=True)
        context = header["context"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _broken(target, "a header of format 2", "a damaged one") from None
    if context != target.context():
        raise _broken(target, "the header of this object", "the header of another")
    if slot.content != _encoded(target, wrapped):
        raise _broken(target, "a header of format 2", "one of another form")
    return wrapped


def _associated_data(target: LandedObject) -> bytes:
    return slots.MAGIC + canonical(target.context())


def _broken(target: LandedObject, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=target.path,
        expected=expected,
        found=found,
        not_done="nothing of it was read",
        remedy="restore the landing zone from its backup, or deliver the file again with supersede",
    )
