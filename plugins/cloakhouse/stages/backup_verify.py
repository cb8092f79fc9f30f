"""Verifying a backup: its signature, and every file of it; with the recipient's key what is in the files, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.stages.backup_database import Loading
from cloakhouse.stages.backup_manifest import DATABASE, Backup, chosen
from cloakhouse.stages.backup_sealing import check_sealed, opened

Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Verified:
    """A backup that is what was written: how many of its files were opened, too, and rows of its database read."""

    backup: Backup
    opened: int
    rows: int


def verify(
    shelf: ObjectStore,
    trusted: PublicKey,
    name: str = "",
    identity: Path | None = None,
    watch: Watch = lambda what, done, total: None,
) -> Verified:
    """Return the backup `name` (none: the newest full one), each byte of it compared with what was signed.

    With `identity`, the recipient's private key, every file is opened and compared as well, and the rows of the
    database are read. Raises NotFound, IntegrityError (`integrity.backup`, `integrity.signature`, `integrity.sealed`,
    `integrity.envelope`), ConfigurationError, KeyServiceError, StorageError.
    """
    backup = chosen(shelf, trusted, name)
    rows = 0
    for number, one in enumerate(backup.files, start=1):
        if identity is None:
            check_sealed(shelf, one)
        elif one.path == DATABASE:
            counted: list[int] = []
            loading = Loading(backup.revision, lambda _table, few, counted=counted: counted.append(len(few)))  # type: ignore[misc]
            opened(shelf, one, identity, loading)
            loading.finish()
            rows = sum(counted)
        else:
            opened(shelf, one, identity)
        if number % 100 == 0 or number == len(backup.files):
            watch("files", number, len(backup.files))
    backup.file(DATABASE)
    return Verified(backup, len(backup.files) if identity is not None else 0, rows)
