"""What the lake asks of an object store, and the paths it gives to objects."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from cloakhouse.errors import IntegrityError

LIMIT = 1 << 30  # bytes of an object that is read whole
_SEGMENT = re.compile(r"[A-Za-z0-9_~=-][A-Za-z0-9._~=-]{0,236}")


@dataclass(frozen=True)
class ObjectInfo:
    """One object: its path within the store, its size, and when it was last written (UTC)."""

    path: str
    bytes: int
    modified: dt.datetime


@runtime_checkable
class ObjectStore(Protocol):
    """Named, whole objects. An object is seen complete or not at all, by every process, from the moment it is made.

    Paths are relative, of segments joined by `/`; `checked_path` says what a segment may be, and every method refuses
    another with IntegrityError (`integrity.path`). Every method raises StorageError for what the store refuses, within
    a bound of time; only where it says so, an object that isn't there is a FileNotFoundError.
    """

    @property
    def uri(self) -> str:
        """Where the store is; holds no secret."""

    def staged(self, path: str) -> AbstractContextManager[Path]:
        """Yield the name of a new local file; what the block writes there appears at `path` in one step as it ends.

        The block creates the file, and fsyncs it. An object that stood there is replaced. Nothing appears when the
        block fails.
        """

    def create(self, path: str, content: bytes) -> bool:
        """Make the object if nothing stands there; return whether this call made it. Of racing makers one wins."""

    def read(self, path: str, limit: int = LIMIT) -> bytes:
        """Return the object's bytes; one of more than `limit` bytes is refused (IntegrityError).

        Raises FileNotFoundError.
        """

    def fetched(self, path: str, sha256: str | None = None) -> Path:
        """Return a local file with the object's bytes, to be read only: the object itself, or a copy in the cache.

        `sha256` (hex), where known, names the copy; the caller compares the bytes with it. Raises FileNotFoundError.
        """

    def edited(self, path: str) -> AbstractContextManager[Path]:
        """Yield a local file with the object's bytes that the block may change in place, under a lock that it takes
        on the file; the object has the change when the block has ended. Raises FileNotFoundError.
        """

    def stat(self, path: str) -> ObjectInfo | None:
        """Return what is known of the object, None when nothing stands there."""

    def list(self, folder: str = "") -> Iterator[ObjectInfo]:
        """Yield every object below `folder`, those of one folder together; what is half written is left out.

        Memory stays flat. An object made or removed meanwhile may be there or not.
        """

    def delete(self, path: str) -> bool:
        """Remove the object for good; return whether one stood there."""

    def clear_leftovers(self, folder: str, older_than: dt.timedelta = dt.timedelta(), marked: str = "") -> int:
        """Remove what writers that were killed left half written below `folder`, for objects with `marked` in their
        name; return how many. The caller knows that nobody writes there who began within `older_than`."""


def checked_path(path: str) -> str:
    """Return `path` if it is one that the lake gives to an object. Raises IntegrityError (`integrity.path`)."""
    if len(path) <= 900 and all(_SEGMENT.fullmatch(part) for part in path.split("/")):
        return path
    raise IntegrityError(
        where="path of an object",
        expected="segments of letters, digits and . _ ~ = -, none of which starts with a dot, joined by /",
        found=f"another text of {len(path)} characters",
        not_done="nothing was read or written",
        remedy="restore the manifest or the control database that names it from a backup",
        code="path",
    )


def too_large(path: str, limit: int) -> IntegrityError:
    """Return the error for an object of more bytes than are read whole."""
    return IntegrityError(
        where=path,
        expected=f"at most {limit:,} bytes",
        found="more",
        not_done="nothing of it was read",
        remedy="restore the file from a backup of the lake",
    )
