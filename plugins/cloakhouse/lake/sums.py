"""One file as a manifest lists it, and the sums that hold the list and the bytes together."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from typing_extensions import Buffer

from cloakhouse.errors import IntegrityError
from cloakhouse.lake.footer import MAGIC

BLOCK = 1 << 20  # bytes
SETTLED_S = 2  # seconds; longer than the ticks of any clock that dates files
MOST_KNOWN = 100_000  # files


@dataclass(frozen=True)
class FileEntry:
    """One file as a manifest lists it: path within the lake, size (bytes), rows, SHA-256 (hex) of its bytes."""

    path: str
    bytes: int
    rows: int
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as JSON-ready fields."""
        return asdict(self)


class HashingSink:
    """A new file that is summed while it is written, so that its bytes need not be read again."""

    def __init__(self, stream: BinaryIO) -> None:
        self.size = 0  # bytes
        self.closed = False
        self._stream = stream
        self._digest = hashlib.sha256()

    @classmethod
    @contextlib.contextmanager
    def create(cls, path: Path) -> Iterator[HashingSink]:
        """Yield a sink into the new file `path`, readable by its owner alone. Raises OSError."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as stream:
            yield cls(stream)

    @contextlib.contextmanager
    def for_arrow(self) -> Iterator[pa.NativeFile]:
        """Yield the sink for pyarrow, whose many small writes are gathered outside of Python."""
        stream = pa.BufferedOutputStream(pa.PythonFile(self, mode="w"), BLOCK)
        try:
            yield stream
        finally:
            with contextlib.suppress(OSError, pa.ArrowException):  # what could not be written was told by flush
                stream.close()

    def write(self, data: Buffer) -> int:
        """Take `data` whole; return its length (bytes)."""
        view = memoryview(data)
        self._digest.update(view)
        done = 0
        while done < len(view):
            done += self._stream.write(view[done:])
        self.size += done
        return done

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Take no more; the file itself is closed by `create`."""
        self.closed = True

    def fileno(self) -> int:
        """Return the file's descriptor, to fsync it."""
        return self._stream.fileno()

    def sha256(self) -> str:
        """Return the sum of what was written (hex)."""
        return self._digest.hexdigest()


class VerifiedFiles:
    """The files that this process has compared with their entries, and that nobody has written to since.

    A file is known by device, inode, size and its times of change and modification (ns), and by the sum that was found.
    One that changed within `SETTLED_S` before it was compared is not kept: a change within the same tick of the file
    system's clock would not show. Nothing but the clock of the machine, which its administrator alone can set, turns
    back a time of change; and every page that is read is authenticated by its own tag besides.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def require(self, source: pa.OSFile, entry: FileEntry) -> None:
        """Return if the open file is the one that `entry` lists. Raises IntegrityError, OSError."""
        before = _identity(source)
        if self._known.get(before) == entry.sha256 and before[2] == entry.bytes:
            return
        if sum_of(source, entry) != (entry.bytes, entry.sha256):
            raise tampered(entry, f"{entry.bytes} bytes with SHA-256 {entry.sha256[:12]}", "other bytes")
        if before == _identity(source) and before[-1] < time.time_ns() - SETTLED_S * 10**9:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[before] = entry.sha256


def _identity(source: pa.OSFile) -> tuple[int, ...]:
    found = os.fstat(source.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def sum_of(source: pa.NativeFile, entry: FileEntry) -> tuple[int, str]:
    """Return (bytes, SHA-256) of the open file; its size alone when that is another than the entry's.

    Raises IntegrityError when the file doesn't start as encrypted Parquet, whatever the entry says.
    """
    if source.read(len(MAGIC)) != MAGIC:
        raise tampered(entry, "encrypted Parquet", "a file that is not (plaintext is never accepted)")
    if source.size() != entry.bytes:
        return source.size(), ""
    source.seek(0)
    digest, block = hashlib.sha256(), memoryview(bytearray(min(BLOCK, entry.bytes)))
    while count := source.readinto(block):
        digest.update(block[:count])
    source.seek(0)
    return entry.bytes, digest.hexdigest()


def tampered(entry: FileEntry, expected: str, found: str) -> IntegrityError:
    """Return the error for a file that is not what the manifest lists."""
    return IntegrityError(
        where=entry.path,
        expected=expected,
        found=found,
        not_done="nothing of it was read",
        remedy="restore the file from a backup of the lake; the manifest tells what it must be",
    )
