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

from cloakhouse.errors import IntegrityError, StageError
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
    IntegrityError (`integrity.backup`) for what is no key file or no keystore, StorageError."""
    found = _read(settings, identities)
    for _ in range(READINGS):
        again = _read(settings, identities)
        if found is not None and again == found:
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


def is_identity(path: str) -> bool:
    """Return whether a file of a backup is one of those that are in it where they were asked for alone."""
    return path == f"home/{KEYSTORE}/administration.pem" or path.startswith(f"home/{KEYSTORE}/identities/")


def mode_of(path: str) -> int:
    """Return the mode of a restored file: public keys are anybody's to read."""
    return 0o644 if path.startswith("signing-keys/") and path.endswith(PUBLIC) else 0o600


def _read(settings: Settings, identities: bool) -> dict[str, bytes] | None:
    """Return the content of each key file; None when one went while they were read."""
    found: dict[str, bytes] = {}
    scheme, _, place = settings.keys.partition(":")
    try:
        for folder in FOLDERS:
            _below(settings.home / folder, folder, found)
        if scheme == "age":
            store: dict[str, bytes] = {}
            _below(Path(place), KEYSTORE, store)
            sealed = f"{KEYSTORE}/keystore.json"
            if sealed not in store:
                raise _unfit("the age keystore", "keystore.json", "none: the keys of a backup without it open nothing")
            found |= store if identities else {sealed: store[sealed]}
    except FileNotFoundError:
        return None
    return found


def _below(folder: Path, name: str, found: dict[str, bytes]) -> None:
    if not os.path.lexists(folder):
        return  # never made
    try:
        for place, folders, files in os.walk(folder, onerror=_raise):
            folders.sort()
            if any((Path(place) / one).is_symlink() for one in folders):
                raise _unfit(f"the folder {name}", "folders and files alone", "a link to a folder")
            for file in sorted(files):
                if not file.startswith("."):
                    path = Path(place) / file
                    if path.stat().st_size > LONGEST:
                        raise _unfit(f"the folder {name}", f"files of at most {LONGEST:,} bytes", "a larger one")
                    found[f"{name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    except FileNotFoundError:
        raise  # replaced while it was read, or a link to nothing: the next readings tell
    except OSError as fault:
        raise storage_error(fault, folder, "no backup was made") from None


def _raise(fault: OSError) -> None:
    raise fault


def _unfit(where: str, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=where,
        expected=expected,
        found=found,
        not_done="no backup was made",
        remedy="see that CLOAKHOUSE_KEYS names the keystore, and that its folders hold key files alone; make it again",
        code="backup",
    )
