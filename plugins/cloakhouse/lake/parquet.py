"""Encrypted Parquet: the one module through which tables are written to and read from the lake.

Parquet Modular Encryption, AES_GCM_V1 with 256-bit keys, encrypted footer, double wrapping, key material inside
the file. Every column is encrypted under the master key of its class; a column without one is refused,
because the format would write it in plaintext. Properties are fresh for each file; the factory, which caches
wrapped key-encryption keys, is one per process.

Reading starts from a manifest's FileEntry: size and SHA-256 are compared and both magics must read `PARE`,
so that a swapped, spliced or plaintext file is found before the reader sees it.

Source: https://github.com/apache/parquet-format/blob/master/Encryption.md
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import IntegrityError, NotFound, StorageError
from cloakhouse.keys.files import fsync_folder, storage_error, temporary_beside
from cloakhouse.keys.protocol import FOOTER, KeyName, KeyService, master_key, zone_key
from cloakhouse.keys.secret import SecretKey

MAGIC = b"PARE"
UNNAMEABLE = frozenset(",;:")  # they separate names in the encryption configuration
CACHE_LIFETIME = dt.timedelta(minutes=10)
ROWS_PER_GROUP = 131_072


@dataclass(frozen=True)
class FileEntry:
    """One file as a manifest lists it: path within the lake, size (bytes), rows, SHA-256 (hex) of its bytes."""

    path: str
    bytes: int
    rows: int
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as JSON-ready fields."""
        return asdict(self)


class _Client(pe.KmsClient):  # type: ignore[misc]
    """Parquet's view of our key service. Only wrapped keys pass through it into files."""

    def __init__(self, service: KeyService) -> None:
        pe.KmsClient.__init__(self)
        self._service = service

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        name = KeyName(master_key_identifier)
        return base64.b64encode(self._service.wrap(name, SecretKey(key_bytes), _context(name))).decode()

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        name = KeyName(master_key_identifier)
        return self._service.unwrap(name, base64.b64decode(wrapped_key), _context(name)).reveal()


def _context(name: KeyName) -> dict[str, str]:
    return {"use": "parquet", "key": name}


class _RowGroups:
    """Gathers batches into row groups of a useful size; holds one group at most."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self.rows = 0
        self._writer = writer
        self._waiting: list[pa.Table] = []
        self._count = 0

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Take a batch; write the group once it is full."""
        self._waiting.append(pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch)
        self._count += batch.num_rows
        self.rows += batch.num_rows
        if self._count >= ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._count:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=ROWS_PER_GROUP)
        self._waiting, self._count = [], 0


class TableStore:
    """Reads and writes encrypted tables below one lake folder. One per process; keeps the key cache."""

    def __init__(self, lake: Path, service: KeyService) -> None:
        self._lake = lake
        self._factory = pe.CryptoFactory(lambda _config: _Client(service))
        self._connection = pe.KmsConnectionConfig()

    @contextlib.contextmanager
    def writing(
        self, path: str, schema: pa.Schema, classes: Mapping[str, ColumnClass]
    ) -> Iterator[tuple[Callable[[pa.RecordBatch | pa.Table], None], list[FileEntry]]]:
        """Yield (write, entries): call `write` per batch; after the block `entries` holds the one FileEntry.

        `path` is relative to the lake and starts with the zone. The file appears in one step. Raises
        IntegrityError for a column without class or a file that did not come out encrypted, StorageError.
        """
        keys = self._column_keys(path, schema, classes)
        target = self._lake / path
        temporary = temporary_beside(target)
        entries: list[FileEntry] = []
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            configuration = pe.EncryptionConfiguration(
                footer_key=zone_key(path.split("/", 1)[0], FOOTER),
                column_keys=keys,
                encryption_algorithm="AES_GCM_V1",
                plaintext_footer=False,
                double_wrapping=True,
                cache_lifetime=CACHE_LIFETIME,
                internal_key_material=True,
                data_key_length_bits=256,
            )
            properties = self._factory.file_encryption_properties(self._connection, configuration)
            with pq.ParquetWriter(
                temporary,
                schema,
                compression="zstd",
                encryption_properties=properties,
                coerce_timestamps="us",
            ) as writer:
                groups = _RowGroups(writer)
                yield groups.add, entries
                groups.flush()
            size, digest = _make_durable(temporary)
            temporary.replace(target)
            fsync_folder(target.parent)
            entries.append(FileEntry(path, size, groups.rows, digest))
        except OSError as fault:
            raise _storage(fault, target) from None
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def write(self, path: str, table: pa.Table, classes: Mapping[str, ColumnClass]) -> FileEntry:
        """Write `table` to `path` and return its entry. Raises as `writing`."""
        with self.writing(path, table.schema, classes) as (write, entries):
            write(table)
        return entries[0]

    def read(self, entry: FileEntry, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of one file, optionally only `columns`. Raises IntegrityError, KeyServiceError, and
        NotFound for a column that the file doesn't have."""
        with self._opened(entry) as file:
            return file.read(columns=_present(file, entry, columns))

    def batches(
        self, entry: FileEntry, columns: Sequence[str] | None = None, rows: int = 65_536
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one file in batches of at most `rows`. Raises as `read`."""
        with self._opened(entry) as file:
            yield from file.iter_batches(batch_size=rows, columns=_present(file, entry, columns))

    @contextlib.contextmanager
    def _opened(self, entry: FileEntry) -> Iterator[pq.ParquetFile]:
        path = self._lake / entry.path
        size, digest = _measure(path, entry)
        if (size, digest) != (entry.bytes, entry.sha256):
            raise _tampered(entry, f"{entry.bytes} bytes with SHA-256 {entry.sha256[:12]}", "other bytes")
        properties = self._factory.file_decryption_properties(
            self._connection, pe.DecryptionConfiguration(cache_lifetime=CACHE_LIFETIME)
        )
        try:
            with pq.ParquetFile(path, decryption_properties=properties) as file:
                if file.metadata.num_rows != entry.rows:
                    raise _tampered(entry, f"{entry.rows} rows", f"{file.metadata.num_rows} rows")
                yield file
        except (OSError, pa.ArrowException) as fault:
            if isinstance(fault, OSError) and fault.errno is not None:
                raise storage_error(fault, path, "the file was not read") from None
            raise _tampered(entry, "pages and a footer with valid tags", "others") from None

    @staticmethod
    def _column_keys(path: str, schema: pa.Schema, classes: Mapping[str, ColumnClass]) -> dict[str, list[str]]:
        zone = path.split("/", 1)[0]
        keys: dict[str, list[str]] = {}
        for name in schema.names:
            nameable = name == name.strip(" ") != "" and not set(name) & UNNAMEABLE and schema.names.count(name) == 1
            if name not in classes or not nameable or pa.types.is_nested(schema.field(name).type):
                raise IntegrityError(
                    where=f"{path}, column {name}",
                    expected="a flat column with a class, and so a key, and a name of its own without any of , ; :",
                    found="another: Parquet might write it in plaintext",
                    not_done="the file was not written",
                    remedy="declare the column with its class in the contract",
                )
            keys.setdefault(master_key(zone, classes[name]), []).append(name)
        return keys


def _present(file: pq.ParquetFile, entry: FileEntry, columns: Sequence[str] | None) -> list[str] | None:
    """Return `columns` as a list; pyarrow would leave out an unknown one without a word."""
    if columns is None:
        return None
    names = file.schema_arrow.names
    missing = [column for column in columns if column not in names]
    if missing:
        raise NotFound(
            where=entry.path,
            expected=f"a column `{missing[0]}`",
            found=f"{len(names)} columns of other names",
            not_done="nothing of it was read",
            remedy="compare the contract's version with the one that the file was written under",
        )
    return list(columns)


def _make_durable(path: Path) -> tuple[int, str]:
    """Check that the finished file is encrypted, fsync it, return (bytes, SHA-256)."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        size, digest = _digest(stream)
        stream.seek(0)
        head = stream.read(4)
        stream.seek(-4, 2)
        if head != MAGIC or stream.read(4) != MAGIC:
            raise IntegrityError(
                where=path.name,
                expected="an encrypted footer (PARE at both ends)",
                found="another file",
                not_done="the file was not made visible",
                remedy="check the version of pyarrow; encryption was off",
            )
    return size, digest


def _digest(stream: Any) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    while block := stream.read(1 << 20):
        size += len(block)
        digest.update(block)
    return size, digest.hexdigest()


def _measure(path: Path, entry: FileEntry) -> tuple[int, str]:
    try:
        with path.open("rb") as stream:
            if stream.read(4) != MAGIC:
                raise _tampered(entry, "encrypted Parquet", "a file that is not (plaintext is never accepted)")
            stream.seek(0)
            return _digest(stream)
    except FileNotFoundError:
        raise _tampered(entry, "the file", "no file") from None
    except OSError as fault:
        raise storage_error(fault, path, "the file was not read") from None


def _storage(fault: OSError, target: Path) -> Exception:
    if fault.errno is None:
        return StorageError(
            where=target.name,
            expected="room and permission to write",
            found="the system refused the write",
            not_done="the file was not made visible",
            remedy="check space and permissions in CLOAKHOUSE_HOME, then run again",
        )
    return storage_error(fault, target, "the file was not made visible")


def _tampered(entry: FileEntry, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=entry.path,
        expected=expected,
        found=found,
        not_done="nothing of it was read",
        remedy="restore the file from a backup of the lake; the manifest tells what it must be",
    )
