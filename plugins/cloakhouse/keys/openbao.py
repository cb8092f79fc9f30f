"""Master keys in the transit engine of OpenBao or HashiCorp Vault.

Each master key is a transit key of type aes256-gcm96 with `derived`: the server derives, by HKDF from the key's version
and the call's `context`, the key that it encrypts with (openbao_form). Master keys never leave the server.

Making keys. `encrypt` on a missing key would make one of the server's choice, so we ask for it with a type that doesn't
exist: the server ignores that for a key that is there, and refuses otherwise. A key is made by `keys/NAME` with our
parameters, and never used for wrapping before its parameters were read back.

States. Disabled is OpenBao's soft delete: the key is refused for everything until it is restored. HashiCorp Vault has
nothing like it; `disable` is refused there as `key.unsupported`: withdraw the grants instead. Destroyed is deletion,
for good. A key of another name, the grave, is made before, so that nobody makes the destroyed key anew; an
administrator who wants the name back deletes the grave.

Source: https://openbao.org/api-docs/secret/transit/, tried with OpenBao 2.7.
"""

from __future__ import annotations

import base64
import datetime as dt
import time
from typing import Any

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.openbao_form import context_text, length_of, opened, wrapped_of
from cloakhouse.keys.openbao_names import Names
from cloakhouse.keys.openbao_policies import Policies
from cloakhouse.keys.openbao_refusals import ABSENT, explain, refuse
from cloakhouse.keys.openbao_uri import Place, parse
from cloakhouse.keys.openbao_wire import Answer, Wire
from cloakhouse.keys.protocol import Connection, Context, Grant, KeyDescription, KeyName, KeyState, KeyVersion
from cloakhouse.keys.secret import SecretKey

PARAMETERS: dict[str, object] = {
    "type": "aes256-gcm96",
    "derived": True,
    "convergent_encryption": False,
    "exportable": False,
    "allow_plaintext_backup": False,
}
NO_SUCH_TYPE = "never-made-by-encrypting"
CHECKED_FOR_S = 300.0  # how long a master key's parameters count as read


class OpenBaoService:
    """KeyService over a transit engine. Keys are made on first use, by whoever may `create` them there."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._wire = Wire(place)
        self._names = Names(place.prefix)
        self._policies = Policies(self._wire, place, self._names)
        self._checked: dict[str, float] = {}

    @classmethod
    def from_uri(cls, uri: str) -> OpenBaoService:
        """Return the service that `uri` names (see openbao_uri); connects to nothing. Raises ConfigurationError."""
        return cls(parse(uri))

    def __repr__(self) -> str:
        return "OpenBaoService()"

    @property
    def uri(self) -> str:
        """The URI that the service was made from."""
        return self._place.uri

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        """See KeyService.wrap."""
        plaintext = base64.b64encode(key.reveal()).decode()
        data = self._seal("encrypt", name, context, {"plaintext": plaintext, "type": NO_SUCH_TYPE})
        return wrapped_of(name, data)

    def generate(self, name: KeyName, context: Context) -> tuple[SecretKey, bytes]:
        """See KeyService.generate."""
        data = self._seal("datakey/plaintext", name, context, {"bits": 256})
        return opened(name, data, 32), wrapped_of(name, data)

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        """See KeyService.unwrap."""
        length = length_of(wrapped)
        if length is None:
            raise refuse(name, "format")
        body: dict[str, object] = {"ciphertext": wrapped.decode("ascii"), "context": context_text(name, context)}
        answer = self._call("POST", f"decrypt/{self._names.key(name)}", name, body)
        if not answer.ok:
            raise self._explained(name, answer)
        return opened(name, answer.data, length)

    def names(self) -> tuple[KeyName, ...]:
        """See KeyService.names; destroyed ones are among them."""
        answer = self._wire.call("LIST", f"{self._place.mount}/keys", "the list of keys")
        found = {self._names.master(str(key)) for key in answer.data.get("keys", [])}
        return tuple(sorted(name for name in found if name is not None))

    def describe(self, name: KeyName) -> KeyDescription:
        """See KeyService.describe; versions below the server's `min_decryption_version` are not told."""
        data = self._read(name, self._names.key(name))
        if data is None:
            if self._buried(name):
                return KeyDescription(name, KeyState.DESTROYED, ())
            raise refuse(name, "missing")
        state = KeyState.DISABLED if data.get("soft_deleted") else KeyState.ENABLED
        try:
            made = sorted((int(version), dt.datetime.fromtimestamp(at, dt.UTC)) for version, at in data["keys"].items())
        except (KeyError, AttributeError, TypeError, ValueError):
            raise refuse(name, "unsupported") from None
        return KeyDescription(name, state, tuple(KeyVersion(*version) for version in made))

    def rotate(self, name: KeyName) -> KeyDescription:
        """See KeyService.rotate."""
        self._change("POST", "rotate", name)
        return self.describe(name)

    def disable(self, name: KeyName) -> None:
        """See KeyService.disable. Raises KeyServiceError (`key.unsupported`) at HashiCorp Vault."""
        self._switch(name, "DELETE", "soft-delete", KeyState.DISABLED)

    def enable(self, name: KeyName) -> None:
        """See KeyService.enable."""
        if self.describe(name).state is not KeyState.ENABLED:
            self._switch(name, "POST", "soft-delete-restore", KeyState.ENABLED)

    def destroy(self, name: KeyName) -> None:
        """See KeyService.destroy. Doing it again changes nothing, and ends what was interrupted."""
        if self.describe(name).state is KeyState.DESTROYED:
            return
        self._create(name, self._names.grave(name))
        self._delete(name)

    def grants(self) -> tuple[Grant, ...]:
        """See KeyService.grants: read from the server's policies."""
        return self._policies.all()

    def grant(self, grant: Grant) -> None:
        """See KeyService.grant: in the policy of principal and purpose."""
        self._policies.add(grant)

    def revoke(self, grant: Grant) -> None:
        """See KeyService.revoke."""
        self._policies.remove(grant)

    def connection(self) -> Connection:
        """See KeyService.connection."""
        protocol, cipher = self._wire.negotiated()
        return Connection(self._place.endpoint, protocol, cipher, leaves_process=True)

    def _call(self, method: str, path: str, name: KeyName, body: dict[str, object] | None = None) -> Answer:
        return self._wire.call(method, f"{self._place.mount}/{path}", f"master key {name}", body)

    def _seal(self, verb: str, name: KeyName, context: Context, body: dict[str, object]) -> dict[str, Any]:
        sent = {**body, "context": context_text(name, context)}
        for _ in range(2):
            self._check(name)
            answer = self._call("POST", f"{verb}/{self._names.key(name)}", name, sent)
            if answer.ok:
                return answer.data
            self._checked.pop(name, None)
            if not any(text in answer.told for text in ABSENT):
                break
        raise self._explained(name, answer)

    def _check(self, name: KeyName) -> None:
        """Make sure that the master key stands, as we make it; it may stand there made by somebody else."""
        if self._checked.get(name, -CHECKED_FOR_S) + CHECKED_FOR_S > time.monotonic():
            return
        key = self._names.key(name)
        data = self._read(name, key) or self._make(name)
        if any(data.get(parameter) != value for parameter, value in PARAMETERS.items()):
            raise refuse(name, "unsupported")
        self._checked[name] = time.monotonic()

    def _make(self, name: KeyName) -> dict[str, Any]:
        """Make a master key that never existed. Two who do it at once make one: the second request changes nothing."""
        if self._buried(name):
            raise refuse(name, "destroyed")
        self._create(name, self._names.key(name))
        if self._buried(name):  # destroyed between the two looks: what we just made must not stay
            self._delete(name)
            raise refuse(name, "destroyed")
        data = self._read(name, self._names.key(name))
        if data is None:
            raise refuse(name, "missing")
        return data

    def _create(self, name: KeyName, key: str) -> None:
        answer = self._call("POST", f"keys/{key}", name, dict(PARAMETERS))
        if not answer.ok:
            raise self._explained(name, answer)

    def _delete(self, name: KeyName) -> None:
        self._checked.pop(name, None)
        key = self._names.key(name)
        allowed = self._call("POST", f"keys/{key}/config", name, {"deletion_allowed": True})
        answer = self._call("DELETE", f"keys/{key}", name) if allowed.ok else allowed
        if not answer.ok and self._read(name, key) is not None:  # gone already when another destroys it too
            raise explain(name, answer)

    def _switch(self, name: KeyName, method: str, verb: str, wanted: KeyState) -> None:
        """Change the state and look: the server answers success even where there is no key."""
        self._checked.pop(name, None)
        answer = self._change(method, verb, name, strict=False)
        found = self.describe(name).state
        if found is KeyState.DESTROYED:
            raise refuse(name, "destroyed")
        if found is not wanted:
            raise refuse(name, "no-switch") if answer.status in (404, 405) else explain(name, answer)

    def _change(self, method: str, verb: str, name: KeyName, *, strict: bool = True) -> Answer:
        answer = self._call(method, f"keys/{self._names.key(name)}/{verb}", name)
        if strict and not answer.ok:
            raise self._explained(name, answer)
        return answer

    def _read(self, name: KeyName, key: str) -> dict[str, Any] | None:
        answer = self._call("GET", f"keys/{key}", name)
        if answer.status == 404 and "no handler" not in answer.told:
            return None
        if not answer.ok:
            raise explain(name, answer)
        return answer.data

    def _buried(self, name: KeyName) -> bool:
        return self._read(name, self._names.grave(name)) is not None

    def _explained(self, name: KeyName, answer: Answer) -> KeyServiceError:
        if any(text in answer.told for text in ABSENT):
            return refuse(name, "destroyed" if self._buried(name) else "missing")
        return explain(name, answer)
