"""Local folders for what is on its way to an object store, and the removal of those whose process was killed.

A folder is held by a lock on a file in it, which the kernel drops with the process. Folders are made and cleared under
one lock, so that none is cleared between its making and its holding. What lies in them is encrypted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from cloakhouse.keys.files import locked, storage_error

PREFIX = "lake-"
HELD = ".held"
LOCK = ".lake.lock"
WAIT_S = 60.0


@contextlib.contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder of mode 0700 below `parent`, which goes as the block ends. Raises StorageError, StageError."""
    folder = parent / f"{PREFIX}{secrets.token_hex(8)}"
    with locked(parent / LOCK, WAIT_S, "the folder for temporary files"):
        handle = _held(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def clear(parent: Path) -> int:
    """Remove the folders that no living process holds; return how many. Raises StorageError, StageError."""
    if not parent.is_dir():
        return 0
    count = 0
    with locked(parent / LOCK, WAIT_S, "the folder for temporary files"):
        for folder in parent.glob(f"{PREFIX}*"):
            if folder.is_dir() and not folder.is_symlink() and not _is_held(folder):
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
    return count


def _held(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700)
        handle = os.open(folder / HELD, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as fault:
        raise storage_error(fault, folder, "nothing was written") from None
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def _is_held(folder: Path) -> bool:
    try:
        handle = os.open(folder / HELD, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
