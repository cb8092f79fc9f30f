"""Reading files that SQLite may have open in this process: closing a descriptor of one would let SQLite's locks go.

Source: https://www.sqlite.org/howtocorrupt.html, section 2.2.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


def bytes_of(path: Path) -> bytes:
    """Return the content of a file, as another process reads it."""
    return subprocess.run(["cat", "--", str(path)], check=True, capture_output=True).stdout


def copied(folder: Path, target: Path) -> None:
    """Copy what is in `folder` to `target`, made if it isn't there, by another process."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--", f"{folder}/.", str(target)], check=True, capture_output=True)
