"""Files that hold a secret (identities, PINs, tokens): read only where they are their owner's alone."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cloakhouse.errors import CloakhouseError

LIMIT = 65_536  # bytes
Refuse = Callable[[str, str, str], CloakhouseError]  # (expected, found, code)


class NotRegular(OSError):
    """There is something at the path, but no file."""


def open_regular(path: Path) -> BinaryIO:
    """Return the open file at `path`. Raises OSError, and NotRegular for a folder, a pipe or a device.

    Without O_NONBLOCK a pipe of that name would hold the process for ever.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise NotRegular(errno.EINVAL, "not a regular file")


def read_secret_file(path: Path, what: str, refuse: Refuse, limit: int = LIMIT) -> bytes:
    """Return the content of a file that only its owner, who runs this, may open; at most `limit` bytes of it.

    Mode and owner are those of what is read, whatever the name means by now. Raises what `refuse` makes of it: code
    `identity` for a file that can't be read, `mode` for one that others may open, or that is another user's.
    """
    try:
        with open_regular(path) as stream:
            status = os.fstat(stream.fileno())
            content = stream.read(limit)
    except OSError as fault:
        found = "something else" if isinstance(fault, NotRegular) else type(fault).__name__
        raise refuse(what, found, "identity") from None
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise refuse("mode 0600, for its owner alone", f"mode {mode:04o}", "mode")
    if status.st_uid != os.geteuid():  # who may write the folder could put a secret of his own there
        raise refuse("a file of the user who runs the platform", "a file of another user", "mode")
    return content
