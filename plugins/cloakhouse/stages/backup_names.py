"""Names of backups, and which objects of the lake belong into one."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Mapping

from cloakhouse.errors import IntegrityError
from cloakhouse.lake.store.protocol import checked_path
from cloakhouse.stages.carried import FOLDER as BAGS
from cloakhouse.stages.checkpointing import FOLDER as CHECKPOINTS
from cloakhouse.stages.sieve_lists import FOLDER as SIEVES

_RELEASE = re.compile(r"[a-z]+/([a-z][a-z0-9_]*)/releases/([0-9]{8})-[0-9a-f]{16}\.json")
_CHECKPOINT = re.compile(rf"{CHECKPOINTS}/([0-9]{{12}})\.txt")
_SECOND = "%Y%m%dT%H%M%SZ"


def named(at: dt.datetime, newest: str = "") -> str:
    """Return a new backup's name: the second, its microsecond and chance, so that names sort as backups were made.

    It sorts after `newest`, the last one of the shelf, also where the clock was set back since: what a later backup
    knows of rights is found by its name.
    """
    if newest:
        second, _, rest = newest.partition("-")
        last = dt.datetime.strptime(second, _SECOND).replace(tzinfo=dt.UTC)
        at = max(at, last + dt.timedelta(microseconds=int(rest[:5], 16) + 1))
    return f"{at:{_SECOND}}-{at.microsecond:05x}{secrets.randbelow(1 << 12):03x}"


def is_newer(reserved: Mapping[str, int], log_size: int, path: str) -> bool:
    """Return whether the object is a release or a checkpoint from after a snapshot of the control database, which had
    given the numbers `reserved`, by dataset, and had `log_size` entries in its log."""
    if (release := _RELEASE.fullmatch(path)) is not None:
        return int(release[2]) > reserved.get(release[1], 0)
    note = _CHECKPOINT.fullmatch(path)
    return note is not None and int(note[1]) > log_size


def is_lasting(path: str) -> bool:
    """Return whether the lake keeps the object: no list of persons and no bag for a job that runs, no stray file."""
    try:
        return checked_path(path) == path and not path.startswith((f"{SIEVES}/", f"{BAGS}/"))
    except IntegrityError:
        return False
