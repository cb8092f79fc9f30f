"""Data encrypted again: which versions of dataset keys a file needs, and the same rows under new keys."""

from __future__ import annotations

import secrets
from pathlib import PurePosixPath

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.footer import read_crypto
from cloakhouse.lake.landed import LandedObject, landing, opened
from cloakhouse.lake.modules import FormatError, KeyMaterial
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.protocol import ObjectStore

BLOCK = 1 << 20  # bytes
MARK = "~"  # in the names of files that were encrypted again


def key_versions(store: ObjectStore, path: str, ring: KeyRing) -> dict[DatasetKey, int]:
    """Return the dataset keys that the Parquet file at `path` needs, each with the oldest version of it in use.

    Read from the file's bytes. Raises IntegrityError for a file that is none or damaged, KeyServiceError.
    """
    found: dict[DatasetKey, int] = {}
    for material in _materials(store, path, ring):
        key = DatasetKey.parse(material.key)
        version = ring.version_of(material.kek if material.kek is not None else material.wrapped)
        found[key] = min(version, found.get(key, version))
    return found


def _materials(store: ObjectStore, path: str, ring: KeyRing) -> list[KeyMaterial]:
    try:
        local = store.fetched(path)
        with local.open("rb") as stream:
            crypto = read_crypto(stream, local.stat().st_size)
        own = [chunk.material for chunk in crypto.open_footer(ring) if chunk.material is not None]
        return [crypto.material, *own]
    except (FormatError, OSError) as fault:
        raise IntegrityError(
            where=path,
            expected="an encrypted Parquet file",
            found=str(fault)
            if isinstance(fault, FormatError)
            else f"a file that can't be read ({type(fault).__name__})",
            not_done="it was not encrypted again",
            remedy="restore the file from a backup of the lake; `cloakhouse keys coverage` lists what is damaged",
        ) from None


def reencrypt_table(entry: FileEntry, store: TableStore) -> FileEntry:
    """Write the rows of `entry` to a new file beside it, under the newest keys, and return its entry.

    The old file stays. Batch by batch, so that memory stays flat. Raises IntegrityError, KeyServiceError,
    StorageError.
    """
    old = PurePosixPath(entry.path)
    stem = old.stem.split(MARK)[0]
    path = str(old.with_name(f"{stem}{MARK}{secrets.token_hex(4)}.parquet"))
    with store.writing(path, *store.layout(entry)) as (write, entries):
        for batch in store.batches(entry):
            write(batch)
    if entries[0].rows != entry.rows:
        raise IntegrityError(
            where=path,
            expected=f"{entry.rows} rows, as in the file before",
            found=f"{entries[0].rows} rows",
            not_done="the new file is not used",
            remedy="run the command again",
        )
    return entries[0]


def reencrypt_landed(store: ObjectStore, target: LandedObject, ring: KeyRing) -> None:
    """Encrypt a landed file again under a fresh data key, in one step; readers of the old bytes go on undisturbed.

    Raises IntegrityError, KeyServiceError, StorageError.
    """
    with opened(store, target, ring) as source, landing(store, target, ring) as writer:
        while block := source.read(BLOCK):
            writer.write(block)
