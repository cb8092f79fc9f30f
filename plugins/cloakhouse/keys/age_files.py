"""The keystore's files: read with their modes and signature checked, replaced in one step under a lock."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.files import create_once, locked, replacing, storage_error
from cloakhouse.keys.identity import Administration, new_identity
from cloakhouse.keys.keystore import PLATFORM, Keystore, parse
from cloakhouse.keys.secret_files import open_regular

LOCK_WAIT_S = 30.0


class KeystoreFiles:
    """The files of one keystore folder. Keeps the last document read, and reads again when the file changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "keystore.json"
        self.platform = folder / "identities" / f"{PLATFORM}.txt"
        self._administration = folder / "administration.pem"
        self._cached: tuple[tuple[int, int, int], Keystore] | None = None
        self._seen = 0  # the newest serial

    def ensure(self) -> None:
        """Make the keystore if there is none: signing key, the document, and last the platform's identity.

        Killed in between, the next call goes on. Of racing processes each finds the same three files. Where the
        identity is, a keystore was: a document that is missing then was lost, and `read` tells so; a new one in its
        place would wrap new data under keys that the restored one doesn't have.

        Raises StorageError where the folder can't be looked into or written.
        """
        try:
            if self.platform.exists():
                return
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as fault:
            raise storage_error(fault, self._folder, "no keystore was made") from None
        with locked(self._folder / ".lock", LOCK_WAIT_S, "keystore"):
            if self.platform.exists():
                return
            administration = Administration.ensure(self._administration)
            if self._file.exists():
                found = self.read(administration.pin)
                if found.masters or len(found.principals) > 1:
                    return  # in use: its identity was lost, which whoever reads it will tell
            recipient, identity = new_identity(PLATFORM, administration.pin)
            first = Keystore(1, {PLATFORM: recipient})
            with replacing(self._file) as stream:
                stream.write(first.encoded(administration.sign(first.signed_bytes())))
            create_once(self.platform, identity)

    def read(self, pin: str) -> Keystore:
        """Return the keystore, which the key that `pin` names must have signed.

        Raises KeyServiceError: `key.missing`, `key.mode` (others may write it), `key.damaged` (changed, signed by
        another key, or older than one seen before).
        """
        try:
            with open_regular(self._file) as stream:
                status = os.fstat(stream.fileno())
                mark = (status.st_ino, status.st_size, status.st_mtime_ns)
                if self._cached is not None and self._cached[0] == mark:
                    return self._cached[1]
                raw = stream.read()
        except FileNotFoundError:
            raise _refused("a keystore", "none", "missing") from None
        except OSError as fault:
            raise _refused("a readable keystore", type(fault).__name__) from None
        if stat.S_IMODE(status.st_mode) & 0o022:
            raise _refused("a file that only its owner may write", f"mode {stat.S_IMODE(status.st_mode):04o}", "mode")
        keystore = parse(raw, pin)
        if keystore is None:
            raise _refused("a keystore of format 2 with its administrator's signature", "another, or a damaged one")
        if keystore.serial < self._seen:
            raise _refused(f"serial {self._seen} or later", f"the older serial {keystore.serial}")
        self._cached, self._seen = (mark, keystore), keystore.serial
        return keystore

    def change(self, pin: str, change: Callable[[Keystore], Keystore]) -> Keystore:
        """Apply `change` to the newest document and return what stands then. No change writes nothing.

        Raises AccessRefused without the administrator's key, KeyServiceError, StorageError.
        """
        administration = Administration(self._administration)
        if administration.pin != pin:  # what it signed would be refused by everyone
            raise _refused("the signing key of this keystore", "that of another")
        with locked(self._folder / ".lock", LOCK_WAIT_S, "keystore"):
            before = self.read(pin)
            after = change(before)
            if after is not before:
                after = replace(after, serial=before.serial + 1)
                with replacing(self._file) as stream:
                    stream.write(after.encoded(administration.sign(after.signed_bytes())))
                self._seen = after.serial
            return after


def _refused(expected: str, found: str, code: str = "damaged") -> KeyServiceError:
    return KeyServiceError(
        where="keystore.json",
        expected=expected,
        found=found,
        not_done="no master key was opened",
        remedy="check CLOAKHOUSE_KEYS and CLOAKHOUSE_IDENTITY; restore the keystore folder from its backup "
        "(a keystore of another installation opens nothing here)",
        code=code,
    )
