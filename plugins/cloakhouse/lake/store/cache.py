"""Copies of a server's objects on the local disk, as they are: what is encrypted there is encrypted here.

    <folder>/<2 hex>/<object: 32 hex>-<version: 16 hex>-<SHA-256 of the content: 64 hex>

`object` is a digest of the store's URI and the path, `version` of what the server calls this version of it. A copy
counts once it is complete: it is written under a temporary name, compared with the digest that is expected, renamed.
A copy that is used for the first time in a process is compared with its name; one that was damaged goes and is fetched
again. Copies that were not used for longest go first when all together exceed the limit; what was used within the last
minute stays even then, since its user may be about to open it. Many processes may use one folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cloakhouse.keys.files import TEMPORARY, storage_error, temporary_beside
from cloakhouse.lake.store.copies import Copy, OtherContent, Wanted

IN_USE_S = 60.0
NOT_DONE = "the object was not copied into the cache"
ATTEMPTS = 3  # of a copy whose temporary file somebody took for a leftover

Load = Callable[[Copy], object]


@dataclass
class Cache:
    """The copies in `folder`, of at most `limit` bytes together."""

    folder: Path
    limit: int
    _checked: dict[Path, tuple[int, int, int]] = field(default_factory=dict, repr=False)
    _added: int | None = field(default=None, repr=False)  # bytes since the sizes were last added up

    def get(self, wanted: Wanted, load: Load) -> Path:
        """Return the copy, fetched if need be by `load`, which fills it.

        Raises OtherContent, StorageError, and what `load` raises; nothing then stays.
        """
        held = self.held(wanted)
        if held is not None:
            return held
        for attempt in range(ATTEMPTS):
            try:
                return self._fetched(wanted, load)
            except FileNotFoundError as fault:
                if fault.filename is None:
                    raise  # the object; else somebody took our temporary file for a leftover
                if attempt == ATTEMPTS - 1:
                    raise storage_error(fault, self.folder, NOT_DONE) from None
        raise AssertionError("no attempt")

    def held(self, wanted: Wanted) -> Path | None:
        """Return the copy if it is here and sound; a damaged one goes."""
        for path in self._copies(wanted):
            if wanted.is_in(path.name):
                with contextlib.suppress(OSError):
                    if self._is_sound(path):
                        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
                        return path
                    path.unlink()
        return None

    def drop(self, wanted: Wanted) -> None:
        """Remove all copies of the object."""
        for path in self._copies(wanted):
            if path.name.startswith(wanted.object):
                path.unlink(missing_ok=True)

    def trim(self) -> None:
        """Remove what killed processes left, and the copies that were not used for longest beyond the limit."""
        found, total, now = [], 0, time.time()
        for entry in self._files():
            with contextlib.suppress(OSError):
                if entry.name.endswith(TEMPORARY):
                    _remove_left(Path(entry.path))
                    continue
                status = entry.stat(follow_symlinks=False)
                total += status.st_size
                found.append((status.st_atime, status.st_size, entry.path))
        for used, size, path in sorted(found):
            if total <= self.limit or used > now - IN_USE_S:
                break
            Path(path).unlink(missing_ok=True)
            total -= size
        self._added = 0

    def _fetched(self, wanted: Wanted, load: Load) -> Path:
        shard = self.folder / wanted.object[:2]
        temporary = temporary_beside(shard / wanted.object)
        try:
            for folder in (self.folder, shard):  # `parents` alone would make them with the mode of the umask
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _new(temporary) as stream:
                copy = Copy(stream)
                load(copy)
                stream.flush()
                if wanted.sha256 not in (None, copy.sha256):
                    raise OtherContent
                path = shard / wanted.name(copy.sha256)
                status = os.fstat(stream.fileno())
                temporary.replace(path)
        except FileNotFoundError:
            raise
        except OSError as fault:
            raise storage_error(fault, self.folder, NOT_DONE) from None
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._checked[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
        self._grown(status.st_size)
        return path

    def _grown(self, size: int) -> None:
        added = None if self._added is None else self._added + size
        if added is None or added > self.limit // 20:
            self.trim()
        else:
            self._added = added

    def _is_sound(self, path: Path) -> bool:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._checked.get(path) == mark:
                return True
            if hashlib.file_digest(stream, "sha256").hexdigest() != path.name.rpartition("-")[2]:
                return False
        self._checked[path] = mark
        return True

    def _copies(self, wanted: Wanted) -> list[Path]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return [p for p in (self.folder / wanted.object[:2]).iterdir() if not p.name.startswith(".")]
        return []

    def _files(self) -> Iterator[os.DirEntry[str]]:
        for shard in self.folder.iterdir() if self.folder.is_dir() else ():
            if shard.is_dir() and not shard.is_symlink():
                with os.scandir(shard) as entries:
                    yield from entries


@contextlib.contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        fcntl.flock(handle, fcntl.LOCK_EX)  # held until it is renamed: whoever can take it has found a leftover
        yield stream


def _remove_left(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(handle)
