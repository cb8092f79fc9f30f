"""Folders of wrapped keys that are copies: what was sent to a job that runs without the installation's home.

A copy lives as long as its job. A key that was made there, or a new version of one, would be lost with it, and what it
encrypted with it. So the file `copied` in such a folder says what it is, and whatever makes or changes keys asks
`refuse_in_copy` first. Keys that are in a copy open as they do at home.
"""

from __future__ import annotations

from pathlib import Path

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.files import create_once

NAME = "copied"
TEXT = b"A copy for one job: no key is made or changed here.\n"


def mark(folder: Path) -> None:
    """Say that `folder` is a copy. Raises StorageError."""
    create_once(folder / NAME, TEXT)


def refuse_in_copy(folder: Path, what: str) -> None:
    """Raise KeyServiceError (`key.copy`) where `folder` is a copy, or can't be told from one; `what` names the key."""
    try:
        (folder / NAME).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        pass  # not to be told means not to be changed
    raise KeyServiceError(
        where=what,
        expected="the installation's own folder of keys, where a key is made or changed",
        found="a copy of it, which ends with its job",
        not_done="no key was made or changed: what it encrypts would be lost with it",
        remedy="run again, so that the submitting task makes the keys first; if it stays, report it as a fault",
        code="copy",
    )
