"""Listing folders, where one that may not be read is an error. `Path.glob` passes over it, as if nothing were there: no
key to rotate or to shred, no contract that asks for anything."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path


def files_like(folder: Path, pattern: str) -> list[Path]:
    """Return the paths below `folder` whose parts are like those of `pattern` (`*/*.json`), in order; none where the
    folder isn't there. Raises OSError for a folder on the way that can't be listed."""
    first, _, rest = pattern.partition("/")
    try:
        names = sorted(path.name for path in folder.iterdir() if fnmatchcase(path.name, first))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for name in names for path in (files_like(folder / name, rest) if rest else [folder / name])]
