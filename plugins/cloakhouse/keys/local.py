"""The embedded key service: master keys in one file that only its owner may read.

Whoever can read the file can unwrap everything: it is meant for one machine, for trials and for tests.

Bytes on disk. `masters.json` (mode 0600 in a folder of mode 0700):

    {"format": 1, "keys": {"protected/direct": [{"version": 1, "key": "<base64 of 32 bytes>"}]}}

A wrapped key is `CHW1` | version (4 bytes, big-endian) | nonce (12) | AES-256-GCM ciphertext (length of
the key) | tag (16). Additional authenticated data: `CHW1` | version | name | 0x00 | context as canonical JSON.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import struct
import threading
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.files import locked, replacing, storage_error
from cloakhouse.keys.protocol import Context, KeyName
from cloakhouse.keys.secret import SecretKey

MAGIC = b"CHW1"
HEADER = struct.Struct(">4sI12s")
LOCK_WAIT_S = 30.0


class LocalKeyService:
    """KeyService over a folder. Master keys are made on first use; processes are kept apart by a file lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "masters.json"
        self._cache: dict[str, dict[int, bytes]] = {}
        self._guard = threading.Lock()

    @property
    def uri(self) -> str:
        """`local:` and the folder."""
        return f"local:{self._folder}"

    def __repr__(self) -> str:
        return "LocalKeyService()"

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        """See KeyService.wrap."""
        versions = self._versions(name, create=True)
        version = max(versions)
        nonce = os.urandom(12)
        sealed = AESGCM(versions[version]).encrypt(nonce, key.reveal(), _aad(version, name, context))
        return HEADER.pack(MAGIC, version, nonce) + sealed

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        """See KeyService.unwrap."""
        if len(wrapped) < HEADER.size + 16 or wrapped[:4] != MAGIC:
            raise _refused(name, "a key wrapped by this service", "bytes of another form", "format")
        _, version, nonce = HEADER.unpack_from(wrapped)
        master = self._versions(name, create=False).get(version)
        if master is None:
            raise _refused(name, f"version {version} of the master key", "no such version", "missing")
        try:
            plain = AESGCM(master).decrypt(nonce, wrapped[HEADER.size :], _aad(version, name, context))
        except InvalidTag:
            raise _refused(name, "the wrapped key and context as written", "another", "context") from None
        return SecretKey(plain)

    def _versions(self, name: str, *, create: bool) -> dict[int, bytes]:
        with self._guard:
            if name not in self._cache:
                self._cache = self._load()
            if name not in self._cache and create:
                self._cache = self._add(name)
            return self._cache.get(name, {})

    def _load(self) -> dict[str, dict[int, bytes]]:
        try:
            mode = self._file.stat().st_mode
            text = self._file.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as fault:
            raise _refused("masters.json", "a readable keystore", type(fault).__name__, "unreadable") from None
        if stat.S_IMODE(mode) & 0o077:
            raise _refused("masters.json", "mode 0600", f"mode {stat.S_IMODE(mode):04o}", "mode")
        try:
            document = json.loads(text)
            keys = {
                name: {int(v["version"]): base64.b64decode(v["key"], validate=True) for v in versions}
                for name, versions in document["keys"].items()
            }
            sound = document["format"] == 1 and all(keys.values())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            sound = False
        if not sound or any(len(key) != 32 for versions in keys.values() for key in versions.values()):
            raise _refused("masters.json", "a keystore of format 1", "a damaged file", "damaged")
        return keys

    def _add(self, name: str) -> dict[str, dict[int, bytes]]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as fault:
            raise storage_error(fault, self._folder, "no master key was made") from None
        with locked(self._folder / ".lock", LOCK_WAIT_S, "keystore"):
            keys = self._load()
            if name in keys:
                return keys
            keys[name] = {1: os.urandom(32)}
            document = {
                "format": 1,
                "keys": {
                    n: [{"version": v, "key": base64.b64encode(k).decode()} for v, k in sorted(versions.items())]
                    for n, versions in sorted(keys.items())
                },
            }
            with replacing(self._file) as stream:
                stream.write(json.dumps(document, indent=1).encode())
            return keys


def _aad(version: int, name: str, context: Context) -> bytes:
    canonical = json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()
    return MAGIC + struct.pack(">I", version) + name.encode() + b"\0" + canonical


def _refused(name: str, expected: str, found: str, code: str) -> KeyServiceError:
    return KeyServiceError(
        where=f"master key {name}",
        expected=expected,
        found=found,
        not_done="no data key was opened and nothing was decrypted",
        remedy="check that CLOAKHOUSE_KEYS names the keystore that the lake was written with, or restore it",
        code=code,
    )
