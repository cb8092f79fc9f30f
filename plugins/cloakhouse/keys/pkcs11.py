"""The key service over a PKCS#11 token (an HSM, or SoftHSM2): master keys never leave it.

Where they are in the token: see cloakhouse.keys.pkcs11_masters.

A wrapped key is `CHP1` | CKA_ID (16) | nonce (12) | AES-256-GCM ciphertext (length of the key) | tag (16), encrypted
inside the token (CKM_AES_GCM). Additional authenticated data: `CHP1` | CKA_ID | name | 0x00 | context as canonical
JSON. The nonce is 96 random bits of the token's generator (SP 800-38D, section 8.2.2), so a version may wrap at most
2^32 data keys (section 8.3): rotate before. A token that insists on its own nonces is refused (`key.unsupported`).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.pkcs11_masters import TAG, Masters, refused
from cloakhouse.keys.pkcs11_token import Token
from cloakhouse.keys.pkcs11_uri import parse
from cloakhouse.keys.protocol import Connection, Context, Grant, KeyDescription, KeyName
from cloakhouse.keys.secret import SecretKey

if TYPE_CHECKING:
    from pkcs11 import Session

T = TypeVar("T")
MAGIC = b"CHP1"
HEADER = struct.Struct(">4s16s12s")
LENGTHS = (16, 24, 32, 48, 64)  # bytes of a SecretKey
TIMEOUT_S = 20.0


class Pkcs11Service:
    """KeyService over a PKCS#11 token. Every call ends within `timeout_s` seconds."""

    def __init__(self, uri: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._uri = uri
        self._token = Token(parse(uri), timeout_s)
        self._masters = Masters(self._token.uri.prefix)

    @classmethod
    def from_uri(cls, uri: str, *, timeout_s: float = TIMEOUT_S) -> Pkcs11Service:
        """Return the service that an RFC 7512 `uri` names; the token is opened at first use. ConfigurationError."""
        return cls(uri, timeout_s=timeout_s)

    @property
    def uri(self) -> str:
        """The RFC 7512 URI as given; the PIN is in a file that it names."""
        return self._uri

    def __repr__(self) -> str:
        return "Pkcs11Service()"

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        """See KeyService.wrap."""
        return self._token.run(lambda session: self._wrap(session, name, key, context))

    def generate(self, name: KeyName, context: Context) -> tuple[SecretKey, bytes]:
        """See KeyService.generate; the data key comes from the token's generator."""

        def work(session: Session) -> tuple[SecretKey, bytes]:
            key = SecretKey(session.generate_random(256))
            return key, self._wrap(session, name, key, context)

        return self._token.run(work)

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        """See KeyService.unwrap."""
        if len(wrapped) - HEADER.size - TAG not in LENGTHS or wrapped[:4] != MAGIC:
            raise refused(name, "a key wrapped by this service", "bytes of another form", "format")
        _, key_id, nonce = HEADER.unpack_from(wrapped)

        def work(session: Session) -> SecretKey:
            for master in self._masters.enabled(session, name):
                if master.key_id == key_id:
                    sealed, aad = wrapped[HEADER.size :], _aad(key_id, name, context)
                    return SecretKey(master.decrypt(nonce, sealed, aad))
            raise refused(name, "the version that wrapped the key", "no such version", "missing")

        return self._token.run(work)

    def names(self) -> tuple[KeyName, ...]:
        """See KeyService.names; destroyed ones are among them."""
        return self._token.run(self._masters.names)

    def describe(self, name: KeyName) -> KeyDescription:
        """See KeyService.describe."""
        return self._token.run(lambda session: self._masters.describe(session, name))

    def rotate(self, name: KeyName) -> KeyDescription:
        """See KeyService.rotate. A disabled key can't be rotated, for its new version would be enabled."""

        def work(session: Session) -> KeyDescription:
            self._masters.make(session, name, self._masters.enabled(session, name)[-1].version + 1)
            return self._masters.describe(session, name)

        return self._change(work)

    def disable(self, name: KeyName) -> None:
        """See KeyService.disable. Raises KeyServiceError (`key.unsupported`) if the token fixes what a key may do."""
        self._change(lambda session: self._masters.switch(session, name, on=False))

    def enable(self, name: KeyName) -> None:
        """See KeyService.enable, and `disable`."""
        self._change(lambda session: self._masters.switch(session, name, on=True))

    def destroy(self, name: KeyName) -> None:
        """See KeyService.destroy. A destruction that was cut short holds, and can be asked for again."""
        self._change(lambda session: self._masters.destroy(session, name))

    def grants(self) -> tuple[Grant, ...]:
        """Return (): a token knows no principals but the holder of its PIN."""
        return ()

    def grant(self, grant: Grant) -> None:
        """Raise KeyServiceError (`key.unsupported`)."""
        raise _no_principals(grant)

    def revoke(self, grant: Grant) -> None:
        """Raise KeyServiceError (`key.unsupported`)."""
        raise _no_principals(grant)

    def connection(self) -> Connection:
        """See KeyService.connection. What a networked HSM's module does behind PKCS#11 is its own."""
        self._token.run(lambda session: None)
        return Connection(endpoint=self._token.uri.token, protocol="in process", cipher="none", leaves_process=False)

    def _change(self, work: Callable[[Session], T]) -> T:
        def alone(session: Session) -> T:
            self._token.alone()
            return work(session)

        return self._token.run(alone)

    def _wrap(self, session: Session, name: KeyName, key: SecretKey, context: Context) -> bytes:
        if not self._masters.exists(session, name):
            self._token.alone()
            if not self._masters.exists(session, name):  # nobody made it while we waited
                self._masters.make(session, name, 1)
        masters = self._masters.enabled(session, name)
        newest = next(master for master in masters if master.version == masters[-1].version)
        nonce, aad = session.generate_random(96), _aad(newest.key_id, name, context)
        sealed = newest.encrypt(nonce, key.reveal(), aad)
        # a token that took a nonce of its own would make keys that never open again
        if newest.decrypt(nonce, sealed, aad) != key.reveal():
            raise refused(name, "AES-GCM under the nonce given", "another nonce", "unsupported")
        return HEADER.pack(MAGIC, newest.key_id, nonce) + sealed


def _aad(key_id: bytes, name: str, context: Context) -> bytes:
    canonical = json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()
    return MAGIC + key_id + name.encode() + b"\0" + canonical


def _no_principals(grant: Grant) -> KeyServiceError:
    return KeyServiceError(
        where=f"grant of master key {grant.name} to {grant.principal}",
        expected="a key service that knows principals",
        found="a PKCS#11 token, which knows the holder of its PIN only",
        not_done="no grant was changed",
        remedy="give the PIN's file to the principal's account or take it away, or use one token per principal",
        code="unsupported",
    )
