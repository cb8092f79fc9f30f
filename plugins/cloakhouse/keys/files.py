"""Writing files so that no reader ever sees half of one, and secrets so that nobody else sees them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

from cloakhouse.errors import CloakhouseError, StageError, StorageError
from cloakhouse.folders import files_like

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TEMPORARY = ".tmp"


def storage_error(fault: OSError, path: PurePath, not_done: str) -> CloakhouseError:
    """Return `fault` as an error for people: what the disk refused, and what to do."""
    if fault.errno in NO_SPACE:
        return StorageError(
            where=path.name,
            expected="room for the file on the disk",
            found=f"no space left ({errno.errorcode[fault.errno or 0]})",
            not_done=not_done,
            remedy="free space on the disk of CLOAKHOUSE_HOME, or move it there with CLOAKHOUSE_HOME, and run again",
            code="no-space",
        )
    name = errno.errorcode.get(fault.errno or 0, type(fault).__name__)
    return StorageError(
        where=path.name,
        expected="a file that can be read and written",
        found=f"the system refused ({name})",
        not_done=not_done,
        remedy="check that the folder exists and belongs to the user who runs the platform",
        code="refused",
    )


def fsync_folder(folder: Path) -> None:
    """Make a rename or a new name in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def listed(folder: Path, pattern: str) -> list[Path]:
    """Return the paths below `folder` like `pattern`, in order. Raises StorageError for what can't be listed."""
    try:
        return files_like(folder, pattern)
    except OSError as fault:
        raise storage_error(fault, folder, "it was not listed, and nothing was concluded from that") from None


def temporary_beside(path: Path) -> Path:
    """Return a fresh temporary name in the folder of `path`, on the same file system."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")


@contextlib.contextmanager
def new_file(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Yield the new file `path`, which is flushed and fsynced as the block ends. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def staged(path: Path, not_done: str) -> Iterator[Path]:
    """Yield a new name beside `path`; the file that the block makes there becomes `path` in one step as it ends.

    The block fsyncs the file; the rename and its folder are made durable here, and nothing stays when the block fails.
    Raises StorageError, with `not_done`, for what the disk refuses.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
        fsync_folder(path.parent)
    except OSError as fault:
        raise storage_error(fault, path, not_done) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path` in one step when the block ends, or vanishes when it fails.

    Written under a temporary name, flushed, fsynced, renamed, and the folder fsynced: after a crash `path`
    is the old file or the new one. Raises StorageError for what the disk refuses.
    """
    not_done = "the file was not written; what stood there before still stands"
    with staged(path, not_done) as temporary, new_file(temporary, mode) as stream:
        yield stream


def create_once(path: Path, content: bytes, mode: int = 0o600) -> bool:
    """Create `path` with `content` if nothing stands there; return whether this call created it.

    The content is complete before the name exists (os.link of a fsynced temporary file), so of many
    racing writers just one wins and no reader sees a part.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(temporary, mode) as stream:
            stream.write(content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        fsync_folder(path.parent)
    except OSError as fault:
        raise storage_error(fault, path, "the file was not created") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def locked(path: Path, wait_s: float, what: str) -> Iterator[None]:
    """Hold an exclusive lock on `path` (created if need be) during the block.

    The kernel drops the lock when the process ends, however it ends. Raises StageError when another
    process still holds it after `wait_s` seconds, StorageError when the file can't be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as fault:
        raise storage_error(fault, path, "nothing was started") from None
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StageError(
                        where=what,
                        expected=f"to be alone within {wait_s:.0f} s",
                        found="another process at the same work",
                        not_done="nothing was started",
                        remedy="wait for the other run to end, then run again",
                        code="busy",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
