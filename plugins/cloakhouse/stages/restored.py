"""A restored home is closed until it is settled what happened after its backup: nobody can know that from the backup.

    restored.json    in the home: what was restored, and what is settled of it (`Closed`); gone when all of it is

| | runs are planned | rows are read, tokens translated |
| --- | --- | --- |
| it is stated that all later erasures are known here | needed | needed |
| persons erased after the backup are erased again | their tombstones are enough | needed |
| consents are newer than the backup | needed | not needed |

A file that can't be read closes the home as well.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from cloakhouse.errors import AccessRefused
from cloakhouse.keys.files import replacing
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from cloakhouse.stages.backup_manifest import Backup
    from cloakhouse.stages.restore_rights import Brought

NAME = "restored.json"
FORMAT = 1


@dataclass(frozen=True)
class Closed:
    """What is known of a restored home.

    Attributes:
        backup: its name.
        at: when it was restored (ISO 8601, UTC), and no earlier than the backups it came from: what landed after it
            is newer than they are, whatever this machine's clock says.
        known_to: how many entries of the log rights are known up to: those of the backup, or of a later one of rights.
        entries_lost: how many entries of the log are known to be lost.
        redo: erasures whose persons came back with the backup, by name.
        batch: the erasure that erases them again; empty before it is requested.
        erasures_known: whether it was stated that every later erasure is known here.
        erased: whether `batch` is done, or nobody is to be erased again.
        consents_known: whether the consents are newer than the backup.
    """

    backup: str
    at: str
    known_to: int
    entries_lost: int = 0
    redo: tuple[str, ...] = ()
    batch: str = ""
    erasures_known: bool = False
    erased: bool = False
    consents_known: bool = False

    @property
    def runs(self) -> bool:
        """Whether runs may be planned."""
        return self.erasures_known and self.consents_known

    @property
    def reads(self) -> bool:
        """Whether rows may be read."""
        return self.erasures_known and self.erased

    @property
    def restored_at(self) -> dt.datetime:
        """`at` as a time."""
        return dt.datetime.fromisoformat(self.at)


def close(settings: Settings, backup: Backup, rights: Backup | None, brought: Brought, lost: int) -> Closed:
    """Close the home of `settings`, and return how. Raises StorageError."""
    known_to = max(backup.log_size, rights.log_size if rights is not None else 0)
    made = [dt.datetime.fromisoformat(one.at) for one in (backup, rights) if one is not None]
    at = max([dt.datetime.now(dt.UTC), *made]).isoformat()
    closed = Closed(backup.name, at, known_to, lost, tuple(sorted(brought.redo)), erased=not brought.redo)
    write_closed(settings, closed)
    return closed


def closed_of(settings: Settings) -> Closed | None:
    """Return how the home is closed, None for one that is open.

    Raises AccessRefused (`access.restored`) for a file that can't be read.
    """
    path = _path(settings)
    try:
        content = json.loads(path.read_bytes())
        if content.pop("format") != FORMAT or set(content) != {one.name for one in fields(Closed)}:
            raise ValueError
        return Closed(**{**content, "redo": tuple(content["redo"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise _refused("a file that tells nothing", "nothing was read or planned") from None


def write_closed(settings: Settings, closed: Closed) -> None:
    """Note `closed`. Raises StorageError."""
    with replacing(_path(settings)) as stream:
        stream.write(json.dumps({"format": FORMAT, **asdict(closed)}, indent=1).encode() + b"\n")


def require_open_for_runs(settings: Settings) -> None:
    """Raise AccessRefused (`access.restored`) where no run may be planned in this home."""
    closed = closed_of(settings)
    if closed is not None and not closed.runs:
        what = "erasures" if not closed.erasures_known else "consents"
        raise _refused(f"backup {closed.backup} restored, and later {what} not settled", "no run was planned")


def require_open_for_reading(settings: Settings) -> None:
    """Raise AccessRefused (`access.restored`) where no row of this home may be read, and no token translated."""
    closed = closed_of(settings)
    if closed is not None and not closed.reads:
        raise _refused(f"backup {closed.backup} restored, and later erasures not settled", "nothing was read")


def open_again(settings: Settings) -> None:
    """Open the home: `restored.json` goes."""
    _path(settings).unlink(missing_ok=True)


def _path(settings: Settings) -> Path:
    return settings.home / NAME


def _refused(found: str, not_done: str) -> AccessRefused:
    return AccessRefused(
        where=f"{NAME} in CLOAKHOUSE_HOME",
        expected="an installation of which all is known",
        found=found,
        not_done=not_done,
        remedy="`cloakhouse backup settle` (docs/runbooks/restore.md): erasures and consents after the backup count",
        code="restored",
    )
