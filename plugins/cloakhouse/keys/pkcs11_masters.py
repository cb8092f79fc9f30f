"""Master keys as objects of a PKCS#11 token. Everything here runs as work in a logged-in session (pkcs11_token).

Version n of master key `protected/direct` is a secret key object: CKA_LABEL `PREFIX/protected/direct`,
CKA_KEY_TYPE AES with 256 bits, CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, not CKA_EXTRACTABLE, made by CKM_AES_KEY_GEN,
CKA_ENCRYPT and CKA_DECRYPT while enabled. CKA_ID (16 bytes, big-endian) is n (4) | creation in ms since 1970, UTC (6)
| random (6). The date stands there, in the manner of RFC 9562's UUIDv7, since CKA_START_DATE is optional, counts days
only, and can't be read back from SoftHSM2 2.6. Two processes that make the same version at once make two keys, which
harms nothing: the one with the smaller CKA_ID, which is the older, wraps, and each opens what it wrapped.

A destroyed key leaves a data object `PREFIX/destroyed/protected/direct` with the moment (ISO 8601, UTC), so that
nothing makes it again. Who holds the PIN can undo a marker or a disabling, but can't bring back a destroyed key.
"""

from __future__ import annotations

import datetime as dt
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.protocol import KeyDescription, KeyName, KeyState, KeyVersion

if TYPE_CHECKING:
    from pkcs11 import Session

TAG = 16  # bytes
ACTION_PROHIBITED = "Unmapped error code 0x1b"  # python-pkcs11 0.10 has no name for it
LAST_MOMENT = 253_402_300_799_000  # ms since 1970: the last that a datetime holds


@dataclass(frozen=True)
class Master:
    """One version of master key `name`: an object in the token, for the session that found it."""

    key_id: bytes
    name: KeyName
    enabled: bool
    object: Any

    @property
    def version(self) -> int:
        """Number of the version, from 1."""
        return int.from_bytes(self.key_id[:4])

    @property
    def created(self) -> dt.datetime:
        """When it was made (UTC, ms), by the clock of whoever asked."""
        moment = min(int.from_bytes(self.key_id[4:10]), LAST_MOMENT)
        return dt.datetime.fromtimestamp(moment / 1000, dt.UTC)

    def encrypt(self, nonce: bytes, plain: bytes, aad: bytes) -> bytes:
        """Return ciphertext and tag. Raises KeyServiceError (`key.disabled`)."""
        import pkcs11

        try:
            sealed = self.object.encrypt(
                plain, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=pkcs11.GCMParams(nonce, aad, 8 * TAG)
            )
        except pkcs11.PKCS11Error:
            if not self.object[pkcs11.Attribute.ENCRYPT]:
                raise _off(self.name) from None
            raise
        return bytes(sealed)

    def decrypt(self, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        """Return what `encrypt` was given. Raises KeyServiceError (`key.disabled`, `key.context`).

        A wrong tag has many names: CKR_ENCRYPTED_DATA_INVALID by the standard, CKR_GENERAL_ERROR from SoftHSM2. If
        the token still answers, and the key is still there and enabled, it was the tag.
        """
        import pkcs11

        try:
            plain = self.object.decrypt(
                sealed, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=pkcs11.GCMParams(nonce, aad, 8 * TAG)
            )
        except pkcs11.PKCS11Error:
            if not self.object[pkcs11.Attribute.DECRYPT]:
                raise _off(self.name) from None
            raise refused(self.name, "the wrapped key and context as written", "another", "context") from None
        return bytes(plain)


class Masters:
    """The master keys whose labels begin with `prefix` and a slash."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def names(self, session: Session) -> tuple[KeyName, ...]:
        """Return the names of all, in order; destroyed ones are among them."""
        from pkcs11 import Attribute, ObjectClass

        def labels(kind: ObjectClass, start: str) -> set[KeyName]:
            found = (o.get_attributes((Attribute.LABEL, Attribute.ID)) for o in _find(session, {Attribute.CLASS: kind}))
            ours = (said[Attribute.LABEL] for said in found if kind is ObjectClass.DATA or _is_ours(said[Attribute.ID]))
            return {KeyName(label.removeprefix(start)) for label in ours if label.startswith(start)}

        masters = labels(ObjectClass.SECRET_KEY, self._label(KeyName("")))
        return tuple(sorted(masters | labels(ObjectClass.DATA, self._marker(KeyName("")))))

    def exists(self, session: Session, name: KeyName) -> bool:
        """Return whether the key was ever made."""
        return bool(self.all(session, name)) or self._destroyed(session, name)

    def describe(self, session: Session, name: KeyName) -> KeyDescription:
        """See KeyService.describe."""
        masters = self.all(session, name)
        if self._destroyed(session, name):
            return KeyDescription(name, KeyState.DESTROYED, ())
        if not masters:
            raise _unknown(name)
        state = KeyState.ENABLED if all(master.enabled for master in masters) else KeyState.DISABLED
        oldest = {master.version: master.created for master in reversed(masters)}
        return KeyDescription(name, state, tuple(KeyVersion(v, oldest[v]) for v in sorted(oldest)))

    def make(self, session: Session, name: KeyName, version: int) -> None:
        """Make a version in the token."""
        from pkcs11 import Attribute, KeyType, MechanismFlag

        moment = int(time.time() * 1000).to_bytes(6)
        session.generate_key(
            KeyType.AES,
            256,
            id=struct.pack(">I", version) + moment + session.generate_random(48),
            label=self._label(name),
            store=True,
            capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True},
        )

    def all(self, session: Session, name: KeyName) -> list[Master]:
        """Return every version in the token, in order. Asked anew each time: other processes disable and destroy."""
        from pkcs11 import Attribute, ObjectClass

        wanted = (Attribute.ID, Attribute.ENCRYPT, Attribute.DECRYPT)
        masters = []
        for found in _find(session, {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self._label(name)}):
            said = found.get_attributes(wanted)
            if _is_ours(said[Attribute.ID]):
                enabled = said[Attribute.ENCRYPT] and said[Attribute.DECRYPT]
                masters.append(Master(said[Attribute.ID], name, enabled, found))
        return sorted(masters, key=lambda master: master.key_id)

    def enabled(self, session: Session, name: KeyName) -> list[Master]:
        """Return every version, in order, of a key that may be used. Raises KeyServiceError.

        One disabled version stops all: a disabling was cut short.
        """
        masters = self.all(session, name)
        if self._destroyed(session, name):
            raise _gone(name)
        if not masters:
            raise _unknown(name)
        if not all(master.enabled for master in masters):
            raise _off(name)
        return masters

    def _destroyed(self, session: Session, name: KeyName) -> bool:
        from pkcs11 import Attribute, ObjectClass

        marker = {Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: self._marker(name)}
        return bool(_find(session, marker))

    def switch(self, session: Session, name: KeyName, *, on: bool) -> None:
        """Let every version be used, or none. Raises KeyServiceError (also `key.unsupported`)."""
        import pkcs11

        masters = self.all(session, name)
        if self._destroyed(session, name):
            raise _gone(name)
        if not masters:
            raise _unknown(name)
        try:
            for master in masters:
                for use in (pkcs11.Attribute.ENCRYPT, pkcs11.Attribute.DECRYPT):
                    master.object[use] = on
        except pkcs11.PKCS11Error as fault:
            fixed = (pkcs11.AttributeReadOnly, pkcs11.AttributeTypeInvalid, pkcs11.TemplateInconsistent)
            if not isinstance(fault, fixed) and str(fault) != ACTION_PROHIBITED:
                raise
            expected = "a token that lets CKA_ENCRYPT and CKA_DECRYPT be changed"
            remedy = "take the PIN away from those who shall not use the key, or destroy the key"
            raise refused(name, expected, "one that fixes them", "unsupported", remedy) from None

    def destroy(self, session: Session, name: KeyName) -> None:
        """Destroy every version. The marker comes first: what is cut short after it holds already."""
        from pkcs11 import Attribute, ObjectClass

        masters = self.all(session, name)
        if not self._destroyed(session, name):
            if not masters:
                raise _unknown(name)
            session.create_object(
                {
                    Attribute.CLASS: ObjectClass.DATA,
                    Attribute.TOKEN: True,
                    Attribute.PRIVATE: True,
                    Attribute.LABEL: self._marker(name),
                    Attribute.APPLICATION: "cloakhouse",
                    Attribute.VALUE: dt.datetime.now(dt.UTC).isoformat(timespec="seconds").encode(),
                }
            )
        for master in masters:
            master.object.destroy()

    def _label(self, name: KeyName) -> str:
        return f"{self._prefix}/{name}"

    def _marker(self, name: KeyName) -> str:
        return f"{self._prefix}/destroyed/{name}"


def _find(session: Session, template: dict[Any, Any]) -> list[Any]:
    from pkcs11 import Attribute

    return list(session.get_objects({**template, Attribute.TOKEN: True}))


def _is_ours(key_id: bytes) -> bool:
    return len(key_id) == 16


def refused(name: str, expected: str, found: str, code: str, remedy: str = "") -> KeyServiceError:
    """Return what is wrong with master key `name`."""
    return KeyServiceError(
        where=f"master key {name}",
        expected=expected,
        found=found,
        not_done="nothing was wrapped and nothing was decrypted",
        remedy=remedy or "check that CLOAKHOUSE_KEYS names the token and prefix that the lake was written with",
        code=code,
    )


def _unknown(name: str) -> KeyServiceError:
    return refused(name, "a master key in the token", "none of that name", "missing")


def _off(name: str) -> KeyServiceError:
    return refused(name, "an enabled master key", "a disabled one", "disabled", "enable the key, if it may be used")


def _gone(name: str) -> KeyServiceError:
    remedy = "none: what it wrapped is lost for good, as was intended"
    return refused(name, "a master key that exists", "one that was destroyed", "destroyed", remedy)
