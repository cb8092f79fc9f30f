"""A folder of this machine as the lake's store."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from cloakhouse.keys.files import TEMPORARY, create_once, fsync_folder, staged, storage_error
from cloakhouse.lake.store.protocol import LIMIT, ObjectInfo, checked_path, too_large

__all__ = ["FolderStore"]


class FolderStore:
    """Objects are files below one folder, readable by their owner alone (see `ObjectStore`)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"FolderStore({str(self.root)!r})"

    @property
    def uri(self) -> str:
        """See ObjectStore.uri."""
        return f"file:{self.root}"

    def staged(self, path: str) -> AbstractContextManager[Path]:
        """See ObjectStore.staged. The temporary file lies beside its place; after a crash it is a leftover."""
        return staged(self._at(path), "the file was not made visible")

    def create(self, path: str, content: bytes) -> bool:
        """See ObjectStore.create."""
        return create_once(self._at(path), content)

    def read(self, path: str, limit: int = LIMIT) -> bytes:
        """See ObjectStore.read."""
        target = self._at(path)
        try:
            with target.open("rb") as stream:
                found = stream.read(limit + 1)
        except FileNotFoundError:
            raise
        except OSError as fault:
            raise storage_error(fault, target, "the file was not read") from None
        if len(found) > limit:
            raise too_large(path, limit)
        return found

    def fetched(self, path: str, sha256: str | None = None) -> Path:
        """See ObjectStore.fetched: the file itself. Whether it is there shows when it is opened."""
        return self._at(path)

    @contextlib.contextmanager
    def edited(self, path: str) -> Iterator[Path]:
        """See ObjectStore.edited: the file itself."""
        yield self._at(path)

    def stat(self, path: str) -> ObjectInfo | None:
        """See ObjectStore.stat."""
        target = self._at(path)
        try:
            found = target.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as fault:
            raise storage_error(fault, target, "nothing was read") from None
        return ObjectInfo(path, found.st_size, dt.datetime.fromtimestamp(found.st_mtime, dt.UTC))

    def list(self, folder: str = "") -> Iterator[ObjectInfo]:
        """See ObjectStore.list. Symbolic links are not followed and not listed."""
        start = len(f"{self.root}/")
        for entry in self._files(checked_path(folder) if folder else ""):
            if not entry.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    modified = dt.datetime.fromtimestamp(found.st_mtime, dt.UTC)
                    yield ObjectInfo(entry.path[start:], found.st_size, modified)

    def delete(self, path: str) -> bool:
        """See ObjectStore.delete. A folder that is empty then goes, too, where nobody writes into it."""
        target = self._at(path)
        try:
            target.unlink()
            fsync_folder(target.parent)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as fault:
            raise storage_error(fault, target, "the file still stands") from None
        with contextlib.suppress(OSError):
            target.parent.rmdir()
        return True

    def clear_leftovers(self, folder: str, older_than: dt.timedelta = dt.timedelta(), marked: str = "") -> int:
        """See ObjectStore.clear_leftovers."""
        count, newest = 0, time.time() - older_than.total_seconds()
        for entry in self._files(checked_path(folder) if folder else ""):
            if entry.name.startswith(".") and entry.name.endswith(TEMPORARY) and marked in entry.name:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime <= newest:
                        Path(entry.path).unlink()
                        count += 1
        return count

    def _at(self, path: str) -> Path:
        return self.root / checked_path(path)

    def _files(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """Yield the regular files below `folder`, ordered by the segments of their paths."""
        try:
            with os.scandir(self.root / folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as fault:
            raise storage_error(fault, self.root / folder, "the folder was not listed") from None
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from self._files(f"{folder}/{entry.name}" if folder else entry.name)
            elif entry.is_file(follow_symlinks=False):
                yield entry
