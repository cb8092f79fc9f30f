"""Checks of the machine: room on its disks, and what killed processes left. Its clock: `health_clock`."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path

from cloakhouse.keys.files import TEMPORARY
from cloakhouse.settings import Settings
from cloakhouse.stages.health_clock import EXPECTED, clock
from cloakhouse.stages.health_model import Check, Found, fine, note, wrong

LEAST_FREE, LEAST_SHARE = 2 << 30, 0.05  # bytes, and of the disk: whichever is more
DAY = dt.timedelta(days=1)


def disk(settings: Settings, _now: dt.datetime) -> Found:
    """Look at the room on the disks of the home, the cache and temporary files."""
    least: tuple[float, str] | None = None
    for name, folder in (
        ("home", settings.home),
        ("cache", settings.copies),
        ("temporary files", _temporary(settings)),
    ):
        usage = shutil.disk_usage(_existing(folder))
        text = f"{usage.free / (1 << 30):,.1f} GiB free of {usage.total / (1 << 30):,.0f} for {name}"
        if usage.free < max(LEAST_FREE, LEAST_SHARE * usage.total):
            return wrong(text, "free space, or move CLOAKHOUSE_HOME, CLOAKHOUSE_CACHE or TMPDIR to a larger disk")
        least = (usage.free, text) if least is None or usage.free < least[0] else least
    assert least is not None
    return fine(least[1])


def leftovers(settings: Settings, now: dt.datetime) -> Found:
    """Look for files and folders that a killed process left more than a day ago."""
    if not settings.home.is_dir():
        return fine("none: there is no home yet")
    old = (now - DAY).timestamp()
    files = [path for path in settings.home.rglob(f".*{TEMPORARY}") if _older(path, old)]
    scratch = [path for path in _temporary(settings).glob(f"{settings.scratch}*") if _older(path, old)]
    if not files and not scratch:
        return fine("none")
    text = f"{len(files)} half-written files and {len(scratch)} temporary folders, older than a day"
    return note(text, "runs remove those of their dataset; remove the others when nothing of this home is running")


def _temporary(settings: Settings) -> Path:
    return Path(os.environ.get("TMPDIR") or settings.home / "tmp")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _older(path: Path, than: float) -> bool:
    try:
        return path.lstat().st_mtime < than
    except OSError:
        return False  # gone since it was listed


CHECKS = (
    Check("disk space", "2 GiB and 5 % free", disk),
    Check("clock", EXPECTED, clock),
    Check("leftovers", "none older than a day", leftovers, slow=True),
)
