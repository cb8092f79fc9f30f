"""What `cloakhouse access apply` keeps: withdrawals that aren't finished yet, and the grants that it saw last.

Whoever lost a grant may have kept the dataset keys that it opened. So each of these gets a version that nobody kept,
and until all have one the note stays, and a call after a kill goes on with it. `<home>/access-changes.json`, mode 0600:

    {"format": 1, "renew": {"synthetic/plain/baskets": 3}, "revoke": [["ann", "synthetic/plain", "reporting"]]}

`renew` holds the version that each dataset key had before: one that still has it is given another. `revoke` are the
grants that are, or were, to be withdrawn.

Where somebody else withdraws (`cloakhouse.stages.access_halves`), the platform knows it by what it saw last.
`<home>/access-grants.json`, mode 0600:

    {"format": 1, "grants": [["ann", "synthetic/plain", "reporting"]]}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile
from cloakhouse.keys.files import fsync_folder, replacing, storage_error
from cloakhouse.keys.protocol import Grant, KeyName, KeyState
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.shares import Shares
from cloakhouse.settings import Settings
from cloakhouse.stages.access_plan import states

FORMAT = 1


def unfinished(settings: Settings) -> bool:
    """Return whether a killed call left withdrawals to finish."""
    return _notes(settings).exists()


def note(settings: Settings, ring: KeyRing, shares: Shares, grants: Iterable[Grant]) -> None:
    """Write down `grants`, which are withdrawn, and the version of each dataset key that they open.

    Raises KeyServiceError, StorageError.
    """
    grants = list(grants)
    names = {grant.name for grant in grants}
    shared = {share.key for share in shares.all() if share.wrapping.master in names}
    exposed = {f.key.name: f.newest for f in _live(ring) if f.key.master in names or f.key in shared}
    content = {"format": FORMAT, "renew": exposed, "revoke": _listed(grants)}
    with replacing(_notes(settings)) as stream:
        stream.write(json.dumps(content, sort_keys=True).encode())


def noted(settings: Settings) -> list[Grant]:
    """Return the grants of the note; none without one. Raises IntegrityError (`integrity.notes`)."""
    return _read(_notes(settings))[0] if unfinished(settings) else []


def renew_noted(settings: Settings, ring: KeyRing) -> None:
    """Give the dataset keys of the note their versions, tell every process, and remove the note.

    Raises IntegrityError (`integrity.notes`), KeyServiceError, AccessRefused, StorageError.
    """
    notes = _notes(settings)
    _, versions = _read(notes)
    ring.announce()
    renew(ring, versions)
    try:
        notes.unlink()
        fsync_folder(notes.parent)
    except OSError as fault:
        raise storage_error(fault, notes, "what was withdrawn is withdrawn; it will be looked at again") from None


def renew(ring: KeyRing, versions: Mapping[str, int | None]) -> None:
    """Give each dataset key another version, unless it has a newer one than the given version already."""
    live = {file.key.name: file for file in _live(ring)}
    for name, before in versions.items():
        file = live.get(name)
        if file is not None and (before is None or file.newest == before):
            ring.rotate(file.key)


def withdrawn(settings: Settings, held: Sequence[Grant]) -> list[Grant]:
    """Return the grants of the platform's last look that are not among those `held` now; none before the first look.

    Raises IntegrityError (`integrity.notes`).
    """
    path = _last_look(settings)
    try:
        return sorted(set(_grants_in(json.loads(path.read_bytes())["grants"])) - set(held))
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError):
        expected = "the grants that `cloakhouse access apply --shares` saw last, in format 1"
        remedy = "have the keys of grants that were withdrawn lately rotated, remove the file, run again"
        raise _damaged(path, expected, remedy) from None


def keep_look(settings: Settings, held: Sequence[Grant]) -> None:
    """Keep the grants that are `held` as the platform's last look. Raises StorageError."""
    content = json.dumps({"format": FORMAT, "grants": _listed(sorted(held))}).encode()
    path = _last_look(settings)
    if not path.exists() or path.read_bytes() != content:
        with replacing(path) as stream:
            stream.write(content)


def has_looked(settings: Settings) -> bool:
    """Return whether the platform ever kept a look."""
    return _last_look(settings).exists()


def _listed(grants: Iterable[Grant]) -> list[list[str]]:
    return [[grant.principal, grant.name, grant.purpose] for grant in grants]


def _grants_in(rows: Iterable[Iterable[str]]) -> list[Grant]:
    found = [Grant(principal, KeyName(name), purpose) for principal, name, purpose in rows]
    if not all(isinstance(part, str) for grant in found for part in grant.as_dict().values()):
        raise TypeError("texts are expected")
    return found


def _damaged(path: Path, expected: str, remedy: str) -> IntegrityError:
    return IntegrityError(
        where=path.name,
        expected=expected,
        found="another text",
        not_done="no grant was changed",
        remedy=remedy,
        code="notes",
    )


def _read(notes: Path) -> tuple[list[Grant], dict[str, int | None]]:
    try:
        content = json.loads(notes.read_bytes())
        versions = {DatasetKey.parse(name).name: int(version) for name, version in content["renew"].items()}
        return _grants_in(content["revoke"]), {**versions}
    except (ValueError, KeyError, TypeError, AttributeError, IntegrityError):
        raise _damaged(
            notes,
            "what an earlier `cloakhouse access apply` noted, in format 1",
            "remove the file, rotate the keys that were being withdrawn (`cloakhouse keys rotate`), run again",
        ) from None


def _live(ring: KeyRing) -> list[DatasetKeyFile]:
    """Return the dataset keys that open: a disabled master key's get their version when it is next rotated."""
    of_master = states(ring)
    live = [file for file in ring.all() if file.state is KeyState.ENABLED]
    return [file for file in live if of_master.get(file.key.master) is KeyState.ENABLED]


def _notes(settings: Settings) -> Path:
    return settings.home / "access-changes.json"


def _last_look(settings: Settings) -> Path:
    return settings.home / "access-grants.json"
