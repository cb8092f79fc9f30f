"""The key files of an installation, as they are at one moment: wrapped keys, their public halves, the keystore.

| folder | what | in a backup |
| --- | --- | --- |
| `dataset-keys`, `token-roots`, `signing-keys`, `key-shares` | keys wrapped by the key service, public keys | always |
| `keystore/keystore.json` | master keys sealed to principals, grants (age keystore alone) | always |
| `keystore/administration.pem`, `keystore/identities/*` | what opens and signs all that | where it is asked for |

Other key services keep their master keys themselves; their own backup is their operator's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cloakhouse.errors import StageError
from cloakhouse.keys.files import storage_error
from cloakhouse.settings import Settings

FOLDERS = ("dataset-keys", "key-shares", "signing-keys", "token-roots")
KEYSTORE = "keystore"
READINGS = 10
LONGEST = 64 << 20  # bytes of a key file
PUBLIC = ".pem"


@dataclass(frozen=True)
class KeyFile:
    """A key file: its path below the home, its content."""

    path: str
    content: bytes = field(repr=False)


def read_keys(settings: Settings, identities: bool = False) -> list[KeyFile]:
    """Return the key files, read twice alike, by path. Raises StageError (`stage.busy`) when they change all the time,
    StorageError."""
    found = _read(settings, identities)
    for _ in range(READINGS):
        again = _read(settings, identities)
        if again == found:
            return [KeyFile(path, content) for path, content in sorted(found.items())]
        found = again
    raise StageError(
        where="the key files",
        expected="two readings that agree",
        found=f"{READINGS} that don't",
        not_done="no backup was made",
        remedy="make it again when no rotation or granting runs",
        code="busy",
    )


def is_key_file(path: str) -> bool:
    """Return whether a restored file may have this path below the home."""
    parts = PurePosixPath(path).parts
    return len(parts) > 1 and parts[0] in (*FOLDERS, KEYSTORE) and not any(part.startswith(".") for part in parts)


def mode_of(path: str) -> int:
    """Return the mode of a restored file: public keys are anybody's to read."""
    return 0o644 if path.startswith("signing-keys/") and path.endswith(PUBLIC) else 0o600


def _read(settings: Settings, identities: bool) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for folder in FOLDERS:
        _below(settings.home / folder, folder, found)
    scheme, _, place = settings.keys.partition(":")
    if scheme == "age":
        store: dict[str, bytes] = {}
        _below(Path(place), KEYSTORE, store)
        found |= (
            store if identities else {path: store[path] for path in (f"{KEYSTORE}/keystore.json",) if path in store}
        )
    return found


def _below(folder: Path, name: str, found: dict[str, bytes]) -> None:
    try:
        for place, folders, files in os.walk(folder, onerror=_raise):
            folders.sort()
            for file in sorted(files):
                if not file.startswith("."):
                    path = Path(place) / file
                    found[f"{name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()[:LONGEST]
    except FileNotFoundError:
        return  # replaced while it was read, or never made: the second reading tells
    except OSError as fault:
        raise storage_error(fault, folder, "no backup was made") from None


def _raise(fault: OSError) -> None:
    raise fault
