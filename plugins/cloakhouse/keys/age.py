"""The embedded key service: master keys in one signed file, each sealed with age to the principals that may use it.

    <folder>/keystore.json            sealed master keys, principals, grants (see `cloakhouse.keys.keystore`)
    <folder>/administration.pem       the key that signs it; whoever changes grants or keys needs it
    <folder>/identities/platform.txt  the platform's identity; other principals keep theirs where they work

No server is needed, and still a principal opens only the keys that are granted to it: for others it has no
sealed copy. The purpose of a grant is checked by this code and recorded; it is policy, not cryptography.

A wrapped key is `CHW1` | version (4 bytes, big-endian) | nonce (12) | AES-256-GCM ciphertext (length of
the key) | tag (16). Additional authenticated data: `CHW1` | version | name | 0x00 | context as canonical JSON.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloakhouse.errors import AccessRefused, KeyServiceError
from cloakhouse.keys.age_changes import change_state, granting, new_version, revoking, without
from cloakhouse.keys.age_files import KeystoreFiles
from cloakhouse.keys.dataset_keys import canonical
from cloakhouse.keys.identity import Identity, check_principal, check_recipient, make_identity, read_identity
from cloakhouse.keys.keystore import PLATFORM, Keystore, Master
from cloakhouse.keys.protocol import (
    Connection,
    Context,
    Grant,
    KeyDescription,
    KeyName,
    KeyState,
    new_data_key,
)
from cloakhouse.keys.secret import SecretKey

MAGIC = b"CHW1"
HEADER = struct.Struct(">4sI12s")
OPERATIONS = "operations"


class AgeKeyService:
    """KeyService over a folder, as seen by the principal whose identity file is given, for one purpose.

    The platform (default identity) may use every key for every purpose, and makes the keystore at its first use.
    """

    def __init__(self, folder: Path, identity: Path | None = None, purpose: str = OPERATIONS) -> None:
        self._files = KeystoreFiles(folder)
        self._folder = folder
        self._identity_file = identity or self._files.platform
        self._purpose = purpose
        self._guard = threading.RLock()
        self._identity: Identity | None = None
        self._opened: dict[tuple[str, int, bytes], SecretKey] = {}

    @property
    def uri(self) -> str:
        """`age:` and the folder."""
        return f"age:{self._folder}"

    def __repr__(self) -> str:
        return "AgeKeyService()"

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        """See KeyService.wrap."""
        keystore = self._keystore(create=True)
        if name not in keystore.masters:
            keystore = self._change(lambda k: k if name in k.masters else new_version(k, name))
        version, master = self._master(keystore, name, None)
        nonce = os.urandom(12)
        return HEADER.pack(MAGIC, version, nonce) + AESGCM(master.reveal()).encrypt(
            nonce, key.reveal(), _aad(version, name, context)
        )

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        """See KeyService.unwrap."""
        if len(wrapped) < HEADER.size + 16 or wrapped[:4] != MAGIC:
            raise _refused(name, "a key wrapped by this service", "bytes of another form", "format")
        _, version, nonce = HEADER.unpack_from(wrapped)
        _, master = self._master(self._keystore(), name, version)
        try:
            plain = AESGCM(master.reveal()).decrypt(nonce, wrapped[HEADER.size :], _aad(version, name, context))
        except InvalidTag:
            raise _refused(name, "the wrapped key and context as written", "another", "context") from None
        return SecretKey(plain)

    def generate(self, name: KeyName, context: Context) -> tuple[SecretKey, bytes]:
        """See KeyService.generate."""
        key = new_data_key()
        return key, self.wrap(name, key, context)

    def names(self) -> tuple[KeyName, ...]:
        """See KeyService.names."""
        return tuple(KeyName(name) for name in sorted(self._keystore(create=True).masters))

    def describe(self, name: KeyName) -> KeyDescription:
        """See KeyService.describe."""
        return _known(self._keystore(create=True), name).describe(name)

    def rotate(self, name: KeyName) -> KeyDescription:
        """See KeyService.rotate."""
        return self._change(lambda k: new_version(k, name, _usable(k, name))).masters[name].describe(name)

    def disable(self, name: KeyName) -> None:
        """See KeyService.disable. Until `enable`, only the platform keeps a sealed copy."""
        self._change(lambda k: change_state(k, name, _not_destroyed(k, name), KeyState.DISABLED, self._me()))

    def enable(self, name: KeyName) -> None:
        """See KeyService.enable."""
        self._change(lambda k: change_state(k, name, _not_destroyed(k, name), KeyState.ENABLED, self._me()))

    def destroy(self, name: KeyName) -> None:
        """See KeyService.destroy. Copies of the keystore file made before still hold the key: destroy them, too."""
        self._change(lambda k: without(k, name, _known(k, name)))

    def grants(self) -> tuple[Grant, ...]:
        """See KeyService.grants."""
        return tuple(sorted(self._keystore(create=True).grants))

    def grant(self, grant: Grant) -> None:
        """See KeyService.grant. The principal must be enrolled; a key that was never used is made."""

        def change(keystore: Keystore) -> Keystore:
            if grant.name not in keystore.masters:
                keystore = new_version(keystore, grant.name)
            _usable(keystore, grant.name)
            return granting(keystore, grant, self._me())

        self._change(change)

    def revoke(self, grant: Grant) -> None:
        """See KeyService.revoke. A new version, which the principal never had, wraps from now on."""
        self._change(lambda k: revoking(k, grant, self._me()))

    def enrol(self, principal: str, *, identity: Path | None = None, recipient: str | None = None) -> str:
        """Make `principal` known and return its recipient.

        With `recipient` (age1...) the principal keeps its secret to itself; else `identity` is made, a file.
        Enrolling again with the same recipient changes nothing. Raises KeyServiceError, AccessRefused.
        """
        check_principal(principal)
        self._keystore(create=True)
        if recipient is None:
            assert identity is not None, "an identity file or a recipient"
            recipient = make_identity(identity, principal, self._me().keystore)
        recipient = check_recipient(recipient)

        def change(keystore: Keystore) -> Keystore:
            known = keystore.principals.get(principal)
            if known == recipient:
                return keystore
            if known is not None or keystore.principal(recipient) is not None:
                raise _refused(
                    f"principal {principal}", "a name and a recipient that are new", "known ones", "identity"
                )
            return replace(keystore, principals={**keystore.principals, principal: recipient})

        self._change(change)
        return recipient

    def principal(self) -> str | None:
        """Return the name of whoever asks; None for an identity that isn't enrolled. Raises KeyServiceError."""
        return self._keystore().principal(self._me().recipient)

    @property
    def unmade(self) -> bool:
        """Whether the platform asks and has no identity yet: keystore and identity are made when it first wraps."""
        return self._identity_file == self._files.platform and not self._identity_file.exists()

    def connection(self) -> Connection:
        """See KeyService.connection."""
        self._keystore()
        return Connection(f"age:{self._folder.name}", "in process", "age X25519, AES-256-GCM", False)

    def _me(self) -> Identity:
        with self._guard:
            if self._identity is None:
                self._identity = read_identity(self._identity_file)
            return self._identity

    def _keystore(self, *, create: bool = False) -> Keystore:
        with self._guard:
            if create and self._identity_file == self._files.platform:
                self._files.ensure()
            return self._files.read(self._me().keystore)

    def _change(self, change: Callable[[Keystore], Keystore]) -> Keystore:
        with self._guard:
            self._keystore(create=True)
            return self._files.change(self._me().keystore, change)

    def _master(self, keystore: Keystore, name: KeyName, version: int | None) -> tuple[int, SecretKey]:
        """Return (version, key) of a master key, the newest for None, if this principal may use it now."""
        found = _usable(keystore, name)
        self._authorise(keystore, name)
        chosen = [v for v in found.versions if version is None or v.version == version]
        if not chosen:
            raise _refused(name, f"version {version} of the master key", "no such version", "missing")
        entry = chosen[-1]
        key = (name, entry.version, entry.sealed)
        with self._guard:
            if key not in self._opened:
                self._opened[key] = SecretKey(self._me().open(entry.sealed))
            return entry.version, self._opened[key]

    def _authorise(self, keystore: Keystore, name: KeyName) -> None:
        me = keystore.principal(self._me().recipient)
        if me == PLATFORM or (me is not None and Grant(me, name, self._purpose) in keystore.grants):
            return
        purposes = sorted({g.purpose for g in keystore.grants if (g.principal, g.name) == (me, name)})
        raise AccessRefused(
            where=f"master key {name}",
            expected=f"a grant for {me or 'this identity'}, for the purpose `{self._purpose}`",
            found=f"grants for: {', '.join(purposes)}" if purposes else "none",
            not_done="no key was opened and nothing was decrypted",
            remedy="state a granted purpose (CLOAKHOUSE_PURPOSE), or ask the administrator for a grant "
            "(`cloakhouse keys grant`)",
            code="key",
        )


def _known(keystore: Keystore, name: KeyName) -> Master:
    if name not in keystore.masters:
        raise _refused(name, "a master key of this name", "none", "missing")
    return keystore.masters[name]


def _not_destroyed(keystore: Keystore, name: KeyName) -> Master:
    master = _known(keystore, name)
    if master.state is KeyState.DESTROYED:
        raise _refused(name, "a master key", "one that was destroyed", "destroyed")
    return master


def _usable(keystore: Keystore, name: KeyName) -> Master:
    master = _not_destroyed(keystore, name)
    if master.state is KeyState.DISABLED:
        raise _refused(name, "an enabled master key", "a disabled one", "disabled")
    return master


def _aad(version: int, name: str, context: Context) -> bytes:
    return MAGIC + struct.pack(">I", version) + name.encode() + b"\0" + canonical(context)


REMEDIES = {
    "disabled": "if it may be used again: `cloakhouse keys enable`",
    "destroyed": "none: what it wrapped can't be read any more",
    "identity": "choose another name: a principal keeps its recipient",
}


def _refused(where: str, expected: str, found: str, code: str) -> KeyServiceError:
    return KeyServiceError(
        where=where if code == "identity" else f"master key {where}",
        expected=expected,
        found=found,
        not_done="no data key was opened and nothing was decrypted",
        remedy=REMEDIES.get(
            code, "check that CLOAKHOUSE_KEYS names the keystore that the lake was written with, or restore it"
        ),
        code=code,
    )
