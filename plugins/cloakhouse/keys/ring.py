"""Dataset keys: one key per zone, class and dataset between the master keys and the data.

    master key `protected/direct` (at the key service)
      -> dataset key `protected/direct/transactions` (here, wrapped; every version kept until it is retired)
        -> data key of a landed file, or Parquet's key-encryption key (wrapped, inside the file)

So a worker asks the key service once per class and dataset in five minutes, however many files it opens; a new version
of a master key re-wraps a handful of small files and no data; and destroying a dataset key shreds the dataset
everywhere. This is the branch key of AWS's hierarchical keyring (AWS Cryptographic Material Providers Library,
"hierarchical keyring").

Bytes on disk. `<folder>/<zone>/<class>/<dataset>.json`, mode 0600, replaced in one step:

    {"format": 1, "key": "protected/direct/transactions", "state": "enabled",
     "versions": [{"version": 1, "created": "...", "master_version": 1, "wrapped": "<base64>"}]}

A wrapped data key is `CHD1` | version (4 bytes, big-endian) | nonce (12) | AES-256-GCM ciphertext | tag (16).
Additional authenticated data: `CHD1` | version | name | 0x00 | context as canonical JSON. Nonces are random, so a
dataset key wraps at most 2^32 data keys (SP 800-38D, section 8.3): one or two per file.
"""

from __future__ import annotations

import os
import secrets
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.copied import refuse_in_copy
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile, KeyRecord, canonical, refused
from cloakhouse.keys.files import listed, locked, replacing
from cloakhouse.keys.protocol import Context, KeyService, KeyState
from cloakhouse.keys.secret import SecretKey

MAGIC = b"CHD1"
HEADER = struct.Struct(">4sI12s")
LIFETIME_S = 300.0
LOCK_WAIT_S = 30.0
EPOCH = "epoch"


@dataclass(frozen=True)
class _Opened:
    """What a process keeps of a dataset key until `until` (monotonic seconds): the file, and versions opened so far."""

    until: float
    file: DatasetKeyFile
    keys: dict[int, SecretKey]


class KeyRing:
    """The dataset keys of one installation over its key service. Opened keys stay in this process, for a while.

    They are dropped after `lifetime_s` seconds and as soon as any process revokes, disables, rotates or destroys
    something (the epoch), so that a job in progress is refused at its next file. Safe for threads and processes.
    """

    def __init__(self, service: KeyService, folder: Path, *, lifetime_s: float = LIFETIME_S) -> None:
        self._service = service
        self._folder = folder
        self._lifetime_s = lifetime_s
        self._guard = threading.RLock()
        self._open: dict[DatasetKey, _Opened] = {}
        self._seen = self.epoch()

    def __repr__(self) -> str:
        return "KeyRing()"

    @property
    def service(self) -> KeyService:
        """The key service that holds the master keys."""
        return self._service

    def wrap(self, key: DatasetKey, material: SecretKey, context: Context) -> bytes:
        """Return `material` wrapped under the newest version of dataset key `key`, bound to `context`.

        The dataset key is made at first use. Raises KeyServiceError, AccessRefused, StorageError.
        """
        version, opened = self._opened(key, None, create=True)
        nonce = os.urandom(12)
        sealed = AESGCM(opened.reveal()).encrypt(nonce, material.reveal(), _aad(version, key, context))
        return HEADER.pack(MAGIC, version, nonce) + sealed

    def unwrap(self, key: DatasetKey, wrapped: bytes, context: Context) -> SecretKey:
        """Return the data key in `wrapped`.

        Raises KeyServiceError when the dataset key or version is missing or destroyed, its master key can't be used,
        the context differs or a bit changed; AccessRefused.
        """
        version, opened = self._opened(key, self.version_of(wrapped))
        _, _, nonce = HEADER.unpack_from(wrapped)
        try:
            plain = AESGCM(opened.reveal()).decrypt(nonce, wrapped[HEADER.size :], _aad(version, key, context))
        except InvalidTag:
            raise refused(key, "the wrapped key and context as written", "another", "context") from None
        return SecretKey(plain)

    def ensure(self, keys: Iterable[DatasetKey]) -> None:
        """Make each of `keys` that isn't there; none is opened. Raises as `wrap`."""
        for key in keys:
            self._file(key, create=True)

    def require(self, keys: Iterable[DatasetKey]) -> None:
        """Open each of `keys`, or raise what refuses the first one that can't be opened."""
        for key in keys:
            self._opened(key, None)

    @staticmethod
    def version_of(wrapped: bytes) -> int:
        """Return the version of the dataset key that `wrapped` names. Raises KeyServiceError (`key.format`)."""
        if len(wrapped) < HEADER.size + 16 + 16 or wrapped[:4] != MAGIC:
            raise KeyServiceError(
                where="a wrapped data key",
                expected="CHD1, the form that the key ring writes",
                found="bytes of another form",
                not_done="nothing was decrypted",
                remedy="restore the file from a backup of the lake",
                code="format",
            )
        version: int = HEADER.unpack_from(wrapped)[1]
        return version

    def newest(self, key: DatasetKey) -> int:
        """Return the version of `key` that wraps now. Raises as `require`."""
        return self._opened(key, None)[0]

    def epoch(self) -> int:
        """Return a number that changes with every revocation, rotation, disabling, enabling or destruction."""
        try:
            return int((self._folder / EPOCH).read_text(), 16)
        except (OSError, ValueError):
            return 0

    def forget(self) -> None:
        """Drop the opened keys of this process."""
        with self._guard:
            self._open.clear()

    def announce(self) -> None:
        """Have every process drop the keys that it has opened. Raises StorageError, KeyServiceError (`key.copy`)."""
        refuse_in_copy(self._folder, "the epoch of the dataset keys")
        with replacing(self._folder / EPOCH) as stream:
            stream.write(f"{secrets.randbits(63):x}".encode())

    def all(self) -> list[DatasetKeyFile]:
        """Return every dataset key of the installation, in order.

        Raises KeyServiceError for a damaged file, StorageError where they can't be listed.
        """
        names = (path.with_suffix("").parts[-3:] for path in listed(self._folder, "*/*/*.json"))
        return [DatasetKeyFile.read(self._folder, DatasetKey.parse("/".join(name))) for name in sorted(names)]

    def rotate(self, key: DatasetKey) -> int:
        """Add a version, which wraps from now on, and return it. Raises KeyServiceError, AccessRefused."""
        with self._changing(key) as file:
            file = file.plus(self._made(key, file.newest + 1))
            file.write(self._folder)
        return file.newest

    def rewrap(self, key: DatasetKey) -> bool:
        """Wrap every version under the newest version of the master key; return whether any was under an older one.

        Neither the dataset key nor any data changes. Raises KeyServiceError, AccessRefused.
        """
        current = self._master_version(key)
        with self._changing(key, announce=False) as file:
            if all(record.master_version == current for record in file.versions):
                return False
            fresh = []
            for record in file.versions:
                opened = self._service.unwrap(key.master, record.wrapped, key.context(record.version))
                wrapped = self._service.wrap(key.master, opened, key.context(record.version))
                fresh.append(KeyRecord(record.version, record.created, current, wrapped))
            file.holding(fresh).write(self._folder)
        return True

    def retire(self, key: DatasetKey, below: int) -> int:
        """Destroy the versions below `below` and return how many there were; the newest always stays."""
        with self._changing(key) as file:
            kept = [r for r in file.versions if r.version >= below or r.version == file.newest]
            file.holding(kept).write(self._folder)
        return len(file.versions) - len(kept)

    def destroy(self, key: DatasetKey) -> None:
        """Destroy every version: what they wrapped opens nowhere any more. The name stays taken.

        Destroying twice changes nothing. Raises KeyServiceError: `key.missing` when there is no such key, `key.copy`.
        """
        refuse_in_copy(self._folder, f"dataset key {key.name}")
        with locked(self._folder / ".lock", LOCK_WAIT_S, "dataset keys"):
            file = DatasetKeyFile.read(self._folder, key)
            if file.state is not KeyState.DESTROYED:
                DatasetKeyFile(key, KeyState.DESTROYED, ()).write(self._folder)
            self.announce()

    @contextmanager
    def _changing(self, key: DatasetKey, *, announce: bool = True) -> Iterator[DatasetKeyFile]:
        refuse_in_copy(self._folder, f"dataset key {key.name}")
        with locked(self._folder / ".lock", LOCK_WAIT_S, "dataset keys"):
            yield DatasetKeyFile.read(self._folder, key).usable()
            if announce:
                self.announce()

    def _opened(self, key: DatasetKey, version: int | None, *, create: bool = False) -> tuple[int, SecretKey]:
        """Return a version of `key` (None: the newest) and the key itself, asking the service at most once a while."""
        with self._guard:
            epoch = self.epoch()
            if epoch != self._seen:
                self._open.clear()
                self._seen = epoch
            found = self._open.get(key)
            if found is None or time.monotonic() > found.until:
                found = _Opened(time.monotonic() + self._lifetime_s, self._file(key, create=create), {})
                self._open[key] = found
            record = found.file.record(version)
            if record.version not in found.keys:
                context = key.context(record.version)
                found.keys[record.version] = self._service.unwrap(key.master, record.wrapped, context)
            return record.version, found.keys[record.version]

    def _file(self, key: DatasetKey, *, create: bool) -> DatasetKeyFile:
        if create and not DatasetKeyFile.exists(self._folder, key):
            refuse_in_copy(self._folder, f"dataset key {key.name}")
            with locked(self._folder / ".lock", LOCK_WAIT_S, "dataset keys"):
                if not DatasetKeyFile.exists(self._folder, key):
                    DatasetKeyFile(key, KeyState.ENABLED, (self._made(key, 1),)).create(self._folder)
        return DatasetKeyFile.read(self._folder, key).usable()

    def _made(self, key: DatasetKey, version: int) -> KeyRecord:
        # asked before: a rotation between the two calls leaves a version too low, so it is wrapped again: the safe side
        try:
            master = self._master_version(key)
        except KeyServiceError as fault:
            if fault.code != "key.missing":
                raise
            master = 1  # made by the call that follows
        _, wrapped = self._service.generate(key.master, key.context(version))
        return KeyRecord.now(version, master, wrapped)

    def _master_version(self, key: DatasetKey) -> int:
        versions = self._service.describe(key.master).versions
        if not versions:
            raise refused(key, "its master key", "one that was destroyed", "destroyed")
        return versions[-1].version


def _aad(version: int, key: DatasetKey, context: Context) -> bytes:
    return MAGIC + struct.pack(">I", version) + key.name.encode() + b"\0" + canonical(context)
