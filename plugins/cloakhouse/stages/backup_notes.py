"""What an unfinished backup has sealed: notes on the shelf, each of the files since the one before.

    unfinished/<name of the backup>-<8 digits>.json    a signed manifest (`backup_manifest`) of these files alone

A note is made whole, under its own name, and never written again: what a backup writes of notes grows with its files
and not with their square, and a shelf may be one whose objects can't be appended to. Names sort as notes were made: of
a file that was sealed twice the later one counts. A note that is damaged, or of another installation, is as if it
weren't there; then some files are sealed anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.signing import SigningKey
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.stages.backup_manifest import LIMIT, UNFINISHED, Backup, SealedFile, decode, encode

NOTED_BYTES = 256 << 20  # of files, between two notes
NOTED_FILES = 10_000  # between two notes


@dataclass
class Notes:
    """The notes of the backup `begun`, and those of backups that were killed before it."""

    shelf: ObjectStore
    signer: SigningKey
    begun: Backup
    _waiting: list[SealedFile] = field(default_factory=list)
    _bytes: int = 0
    _made: int = 0

    def add(self, one: SealedFile) -> None:
        """Take `one`, which lies on the shelf, sealed; now and then what waits is written. Raises StorageError."""
        self._waiting.append(one)
        self._bytes += one.bytes
        if self._bytes >= NOTED_BYTES or len(self._waiting) >= NOTED_FILES:
            text = encode(replace(self.begun, files=tuple(self._waiting)), self.signer)
            self.shelf.create(f"{UNFINISHED}/{self.begun.name}-{self._made:08d}.json", text)
            self._waiting, self._bytes, self._made = [], 0, self._made + 1

    def read(self) -> Iterator[Backup]:
        """Yield what was noted, oldest first. Raises StorageError."""
        for path in sorted(info.path for info in self.shelf.list(UNFINISHED)):
            with contextlib.suppress(FileNotFoundError, IntegrityError):
                yield decode(self.shelf.read(path, LIMIT), self.signer.public, path)

    def clear(self) -> None:
        """Remove all notes. Raises StorageError."""
        for path in [info.path for info in self.shelf.list(UNFINISHED)]:
            self.shelf.delete(path)
