"""A receiver of kind file: lines added to a file, fsynced; rotating it is left to logrotate (no `copytruncate`).

A line that a crash cut short is taken away before the next is added: whoever follows the file waits for a line's end,
and so never sees one that is torn. What stands there up to the last line's end is never touched.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from cloakhouse.keys.files import NO_SPACE, fsync_folder
from cloakhouse.ledger.audit import Entry
from cloakhouse.ledger.ocsf import FORMATS
from cloakhouse.stages.forwarding_faults import forwarding_error
from cloakhouse.stages.forwarding_receivers import Receiver

_BLOCK = 1 << 16


class FileSender:
    """Adds entries to the file of one receiver."""

    def __init__(self, receiver: Receiver, origin: str) -> None:
        assert receiver.path is not None
        self._path, self._name = receiver.path, receiver.name
        self._line, self._origin = FORMATS[receiver.format], origin

    def send(self, entries: Sequence[Entry]) -> None:
        """Add `entries`, and return once they are on disk. Raises ForwardingError (`forwarding.storage`)."""
        content = b"".join(self._line(entry, self._origin) + b"\n" for entry in entries)
        try:
            self._add(content)
        except OSError as fault:
            found = "no space left" if fault.errno in NO_SPACE else type(fault).__name__
            expected, remedy = "a regular file that can be added to", "correct `path`, its folder's rights, or the disk"
            raise forwarding_error(self._name, "storage", expected, found, remedy) from None

    def _add(self, content: bytes) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not make us wait
        handle = os.open(self._path, flags, 0o640)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError
            os.ftruncate(handle, end := _whole(handle, found.st_size))
            try:
                _write(handle, content)
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, end)
                raise
            if not found.st_size:
                fsync_folder(self._path.parent)
        finally:
            os.close(handle)


def _write(handle: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def _whole(handle: int, size: int) -> int:
    """Return where the last whole line of the file ends."""
    end = size
    while end:
        start = max(0, end - _BLOCK)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
