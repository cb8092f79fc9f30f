"""Putting files on a shelf, sealed, and reading them back: every byte is digested on its way.

What was sealed is noted, signed (`backup_notes`), so that a backup that was killed goes on where it stood: what a note
or a finished backup lists, and lies there in its size, is not sealed again. An object that nobody has signed for is
sealed anew, whatever its name says.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from cloakhouse.keys.files import new_file, storage_error
from cloakhouse.keys.recipients import open_stream, seal_stream
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.stages.backup_manifest import Backup, SealedFile, broken, recipient_id
from cloakhouse.stages.backup_notes import Notes

BLOCK = 1 << 20  # bytes
RACY = dt.timedelta(seconds=5)  # a file written so shortly before a backup may have changed within its time stamp


class Digested:
    """A sink that counts and digests what goes to another one, or nowhere."""

    def __init__(self, sink: Any = None) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Take `data`."""
        self._digest.update(data)
        self.bytes += len(data)
        if self._sink is not None:
            self._sink.write(data)
        return len(data)

    def flush(self) -> None:
        """Have the sink write what waits."""
        if self._sink is not None:
            self._sink.flush()

    @property
    def sha256(self) -> str:
        """SHA-256 of what went by (hex)."""
        return self._digest.hexdigest()


@dataclass
class Known:
    """What is sealed already for one recipient, as signed manifests and notes have it."""

    recipient: str
    sealed: dict[tuple[str, str], SealedFile] = field(default_factory=dict)  # by (SHA-256, object)
    seen: dict[str, tuple[SealedFile, dt.datetime]] = field(default_factory=dict)  # by path, and when it was backed up

    def remember(self, backup: Backup) -> None:
        """Take what `backup` lists, where it is for the same recipient."""
        if backup.recipient == recipient_id(self.recipient):
            for one in backup.files:
                self.add(one, dt.datetime.fromisoformat(backup.at))

    def add(self, one: SealedFile, at: dt.datetime) -> None:
        """Take `one`, which was as it says at `at`."""
        self.sealed[one.sha256, one.object] = one
        if one.modified:
            self.seen[one.path] = one, at


@dataclass
class Sealing:
    """Seals files for one backup, and remembers what is sealed."""

    shelf: ObjectStore
    known: Known
    notes: Notes

    def resume(self) -> None:
        """Take what unfinished backups of this shelf noted. Raises StorageError."""
        for backup in self.notes.read():
            self.known.remember(backup)

    def unchanged(self, path: str, size: int, modified: dt.datetime) -> SealedFile | None:
        """Return the file as an earlier backup has it, when its size and time are the same still."""
        found = self.known.seen.get(path)
        if found is None or (found[0].bytes, found[0].modified) != (size, modified.isoformat()):
            return None
        return found[0] if modified + RACY < found[1] and self._lies_there(found[0]) else None

    def file(self, path: str, source: Path, modified: dt.datetime) -> SealedFile:
        """Seal the file `source` as `path`. Raises FileNotFoundError when it is gone, IntegrityError when it changed
        meanwhile, StorageError."""
        digest = Digested()
        for block in _blocks(source):
            digest.write(block)
        place = self._place(digest.sha256)
        known = self.known.sealed.get((digest.sha256, place))
        if known is None or not self._lies_there(known):
            known = self.stream(path, _blocks(source), place)
        if known.sha256 != digest.sha256:
            raise broken(path, "a file that stays as it is while it is copied", "one that changed")
        return self._noted(replace(known, path=path, modified=modified.isoformat()))

    def content(self, path: str, content: bytes) -> SealedFile:
        """Seal `content` as `path`. Raises StorageError."""
        digest = hashlib.sha256(content).hexdigest()
        place = self._place(digest)
        known = self.known.sealed.get((digest, place))
        if known is None or not self._lies_there(known):
            known = self.stream(path, iter([content]), place)
        return self._noted(replace(known, path=path, modified=""))

    def stream(self, path: str, pieces: Iterator[bytes], place: str) -> SealedFile:
        """Seal `pieces` at `place` of the shelf, as `path`; it is not noted yet. Raises StorageError."""
        plain = Digested()

        def passing() -> Iterator[bytes]:
            for piece in pieces:
                plain.write(piece)
                yield piece

        with self.shelf.staged(place) as target, new_file(target) as stream:
            sealed = Digested(stream)
            seal_stream(passing(), sealed, self.known.recipient)  # type: ignore[arg-type]  # all that it asks is write, flush
        made = SealedFile(path, plain.bytes, plain.sha256, place, sealed.bytes, sealed.sha256)
        self.known.sealed[made.sha256, place] = made
        return made

    def _noted(self, one: SealedFile) -> SealedFile:
        self.known.add(one, dt.datetime.fromisoformat(self.notes.begun.at))
        self.notes.add(one)
        return one

    def _place(self, sha256: str) -> str:
        return f"objects/{recipient_id(self.known.recipient)}/{sha256[:2]}/{sha256}.age"

    def _lies_there(self, one: SealedFile) -> bool:
        found = self.shelf.stat(one.object)
        return found is not None and found.bytes == one.sealed_bytes


def check_sealed(shelf: ObjectStore, one: SealedFile) -> Path:
    """Return a local file with the sealed object of `one`, which is to the byte what was signed.

    Raises IntegrityError (`integrity.backup`) for a missing or another one, StorageError.
    """
    found = shelf.stat(one.object)
    if found is None or found.bytes != one.sealed_bytes:
        size = "no such object" if found is None else f"{found.bytes:,} bytes"
        raise broken(one.object, f"an object of {one.sealed_bytes:,} bytes", size)
    digest = Digested()
    try:
        local = shelf.fetched(one.object, one.sealed_sha256)
        for block in _blocks(local):
            digest.write(block)
    except FileNotFoundError:
        raise broken(one.object, "the object", "none") from None
    if digest.sha256 != one.sealed_sha256:
        raise broken(one.object, f"SHA-256 {one.sealed_sha256[:16]}", "other bytes")
    return local


def opened(shelf: ObjectStore, one: SealedFile, identity: Path, sink: Any = None) -> None:
    """Write what `one` is to `sink`, or nowhere, opened with the private key in the file `identity`, and compared.

    Raises IntegrityError (`integrity.backup`, `integrity.sealed`), ConfigurationError, KeyServiceError, StorageError.
    What was written when it raises is not to be used.
    """
    local, digest = check_sealed(shelf, one), Digested(sink)
    with _reading(local) as stream:
        open_stream(stream, digest, identity)  # type: ignore[arg-type]  # all that it asks is write and flush
    if (digest.bytes, digest.sha256) != (one.bytes, one.sha256):
        raise broken(one.path, f"{one.bytes:,} bytes of SHA-256 {one.sha256[:16]}", "other bytes")


def _blocks(path: Path) -> Iterator[bytes]:
    with _reading(path) as stream:
        while block := stream.read(BLOCK):
            yield block


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise storage_error(fault, path, "the file was not copied") from None
