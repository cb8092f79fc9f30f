"""Master keys at AWS KMS, through boto3.

    aws-kms:alias/PREFIX?region=eu-west-1        (see `cloakhouse.keys.aws_place`)

Master key `protected/direct` is the symmetric KMS key that the alias `alias/PREFIX/protected/direct` points to. The
wrapped form is KMS's own ciphertext. Credentials are those of boto3's standard chain.

Context. KMS takes any names and plain strings, but is known to refuse empty values, which the platform's contexts may
hold. So the context goes in as one entry of canonical JSON, which is injective, next to the name of the master key:

    cloakhouse:key      protected/direct
    cloakhouse:context  {"dataset":"people","zone":"landing"}

CloudTrail shows both, and a key policy can ask for kms:EncryptionContext:cloakhouse:key.

Where KMS differs from other services:
- `destroy` schedules the deletion for the earliest day KMS allows, in seven days. From then on the key is of no use to
  anyone and is told as DESTROYED, but until the day comes an administrator of the AWS account can cancel (deny
  kms:CancelKeyDeletion to all). After it key and alias are gone: the name is then missing, and wrapping makes it anew.
- A grant, and its withdrawal, are known everywhere within five minutes, mostly within seconds.
- `rotate` keeps the key's identity; KMS picks the version by itself when it unwraps.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from cloakhouse.errors import CloakhouseError, KeyServiceError
from cloakhouse.keys import aws_grants
from cloakhouse.keys.aws_calls import KmsCalls, not_done, where
from cloakhouse.keys.aws_place import Patience, Place, time_limit
from cloakhouse.keys.aws_refusals import BUSY, CONTEXT, DESTROYED, DISABLED, FORMAT, MISSING, UNSUPPORTED, refuse
from cloakhouse.keys.dataset_keys import canonical
from cloakhouse.keys.protocol import Connection, Context, Grant, KeyDescription, KeyName, KeyState, KeyVersion
from cloakhouse.keys.secret import SecretKey

NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
ALIAS_LIMIT = 256  # characters
CIPHERTEXT_LIMIT = 6144  # bytes, of Decrypt
WAITING_DAYS = 7  # the shortest PendingWindowInDays
PAUSES_S = (0.5, 1.0, 2.0, 4.0)  # a new key, alias or version is known everywhere after some seconds
STATES = {
    "Enabled": KeyState.ENABLED,
    "PendingDeletion": KeyState.DESTROYED,
    "PendingReplicaDeletion": KeyState.DESTROYED,
}  # any other state: not usable now, so DISABLED

T = TypeVar("T")


class AwsKmsService:
    """KeyService over one prefix of aliases. Safe in threads and across forks: each process opens its own client."""

    def __init__(self, place: Place, patience: Patience | None = None) -> None:
        self._place = place
        self._patience = patience or Patience()
        self._kms = KmsCalls(place, self._patience)
        self._arns: dict[KeyName, str] = {}

    @classmethod
    def from_uri(cls, uri: str, patience: Patience | None = None) -> AwsKmsService:
        """Return the service that `uri` names; nothing is sent yet. Raises ConfigurationError."""
        return cls(Place.parse(uri), patience)

    @property
    def uri(self) -> str:
        """The URI that it was opened with."""
        return self._place.uri

    def __repr__(self) -> str:
        return "AwsKmsService()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key service can't be pickled or copied; pass its URI instead")

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        """See KeyService.wrap."""
        bound = _bound(name, context)
        answer = self._making(name, "encrypt", Plaintext=key.reveal(), EncryptionContext=bound)
        return bytes(self._kms.part(answer, "CiphertextBlob", name))

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        """See KeyService.unwrap. KMS is told which key it must be, and the one it used is compared."""
        if not 1 <= len(wrapped) <= CIPHERTEXT_LIMIT:
            raise refuse(FORMAT, where(name), not_done("decrypt"), f"{len(wrapped)} bytes")
        alias, bound = self._alias(name), _bound(name, context)
        with time_limit(self._patience):
            answer = self._kms.call("decrypt", name, KeyId=alias, CiphertextBlob=wrapped, EncryptionContext=bound)
            used = self._kms.part(answer, "KeyId", name)
            if used != self._arns.get(name) and used != self._key(name)["Arn"]:
                raise refuse(CONTEXT, where(name), not_done("decrypt"))
        return self._secret(answer, name)

    def generate(self, name: KeyName, context: Context) -> tuple[SecretKey, bytes]:
        """See KeyService.generate. The key comes from KMS's generator."""
        bound = _bound(name, context)
        answer = self._making(name, "generate_data_key", KeySpec="AES_256", EncryptionContext=bound)
        return self._secret(answer, name), bytes(self._kms.part(answer, "CiphertextBlob", name))

    def names(self) -> tuple[KeyName, ...]:
        """See KeyService.names."""
        return tuple(sorted(self._key_ids()))

    def describe(self, name: KeyName) -> KeyDescription:
        """See KeyService.describe. Version 1 is of the day the key was made, each later one of a rotation."""
        key = self._key(name)
        state = _state(key)
        return KeyDescription(name, state, () if state is KeyState.DESTROYED else self._versions(name, key))

    def rotate(self, name: KeyName) -> KeyDescription:
        """See KeyService.rotate. KMS does it in the background; this waits some seconds for the new version."""
        key = self._key(name, usable=True)
        before = self._versions(name, key)
        self._kms.call("rotate_key_on_demand", name, KeyId=key["KeyId"])
        for pause in (*PAUSES_S, 0.0):
            versions = self._versions(name, key)
            if len(versions) > len(before):
                return KeyDescription(name, KeyState.ENABLED, versions)
            time.sleep(pause)
        raise refuse(BUSY, where(name), "the rotation has begun and goes on; nothing waits for it any more")

    def disable(self, name: KeyName) -> None:
        """See KeyService.disable."""
        self._kms.call("disable_key", name, KeyId=self._key(name, there=True)["KeyId"])

    def enable(self, name: KeyName) -> None:
        """See KeyService.enable."""
        self._kms.call("enable_key", name, KeyId=self._key(name, there=True)["KeyId"])

    def destroy(self, name: KeyName) -> None:
        """See KeyService.destroy: useless at once, final after seven days (see this module's text)."""
        key = self._key(name)
        if _state(key) is not KeyState.DESTROYED:
            self._discard(name, key["KeyId"])

    def grants(self) -> tuple[Grant, ...]:
        """See KeyService.grants. Those of destroyed keys are void and left out; those of others are marked as such."""
        found: set[Grant] = set()
        for name, key_id in self._key_ids().items():
            if _state(self._key(name)) is not KeyState.DESTROYED:
                found |= {aws_grants.read(name, entry) for entry in self._entries(name, key_id)}
        return tuple(sorted(found))

    def grant(self, grant: Grant) -> None:
        """See KeyService.grant. A key that was never used is made. Raises ConfigurationError for what is no ARN."""
        aws_grants.check(grant)
        name = grant.name
        try:
            key_id = self._key(name, usable=True)["KeyId"]
        except KeyServiceError as refusal:
            if refusal.code != "key.missing":
                raise
            key_id = self._make(name)
        entries = _settled(lambda: self._entries(name, key_id))
        if not any(aws_grants.gives(entry, grant) for entry in entries):
            self._kms.call("create_grant", name, KeyId=key_id, **aws_grants.request(grant))

    def revoke(self, grant: Grant) -> None:
        """See KeyService.revoke."""
        name = grant.name
        key_id = self._key(name)["KeyId"]
        found = [entry for entry in self._entries(name, key_id) if aws_grants.read(name, entry) == grant]
        if not found:
            place = f"grant of {name} to {grant.principal} for {grant.purpose}"
            raise refuse(
                MISSING, place, "no grant was changed", "no grant of that kind; `cloakhouse keys status` lists them"
            )
        for entry in found:
            self._kms.call("revoke_grant", name, KeyId=key_id, GrantId=entry["GrantId"])

    def connection(self) -> Connection:
        """See KeyService.connection."""
        return self._kms.connection()

    def _alias(self, name: KeyName) -> str:
        alias = f"{self._place.prefix}/{name}"
        if not NAME.fullmatch(name) or len(alias) > ALIAS_LIMIT:
            raise refuse(UNSUPPORTED, where(name), "nothing was sent", "a name that can't be an alias")
        return alias

    def _making(self, name: KeyName, operation: str, **parameters: Any) -> dict[str, Any]:
        """Return KMS's answer to `operation` with the master key, which is made if there is none."""
        with time_limit(self._patience):
            try:
                return self._kms.call(operation, name, KeyId=self._alias(name), **parameters)
            except KeyServiceError as refusal:
                if refusal.code != "key.missing":
                    raise
            key_id = self._make(name)
            return _settled(lambda: self._kms.call(operation, name, KeyId=key_id, **parameters))

    def _make(self, name: KeyName) -> str:
        """Make the master key and its alias; return the id of the key that the alias points to in the end."""
        alias = self._alias(name)
        made = self._kms.call(
            "create_key",
            name,
            Description=f"Cloakhouse master key {name}",
            KeyUsage="ENCRYPT_DECRYPT",
            KeySpec="SYMMETRIC_DEFAULT",
            Tags=[{"TagKey": "cloakhouse:key", "TagValue": str(name)}],
        )
        key_id = str(self._kms.part(made, "KeyMetadata", name)["KeyId"])
        try:
            _settled(lambda: self._kms.call("create_alias", name, AliasName=alias, TargetKeyId=key_id))
        except CloakhouseError as refusal:
            self._discard(name, key_id)  # nothing points to it
            if refusal.code != "key.exists":
                raise
            return str(_settled(lambda: self._key(name))["KeyId"])  # another process was faster: theirs counts
        return key_id

    def _discard(self, name: KeyName, key_id: str) -> None:
        self._kms.call("schedule_key_deletion", name, KeyId=key_id, PendingWindowInDays=WAITING_DAYS)

    def _key(self, name: KeyName, *, there: bool = False, usable: bool = False) -> dict[str, Any]:
        """Return KMS's metadata of the key behind the alias, which must be `there` (not destroyed), or be `usable`."""
        answer = self._kms.call("describe_key", name, KeyId=self._alias(name))
        key: dict[str, Any] = self._kms.part(answer, "KeyMetadata", name)
        self._arns[name] = key["Arn"]
        state = _state(key)
        if (there or usable) and state is KeyState.DESTROYED:
            raise refuse(DESTROYED, where(name), "nothing was changed")
        if usable and state is KeyState.DISABLED:
            raise refuse(DISABLED, where(name), "nothing was changed")
        return key

    def _versions(self, name: KeyName, key: dict[str, Any]) -> tuple[KeyVersion, ...]:
        rotations = self._kms.pages("list_key_rotations", "Rotations", name, KeyId=key["KeyId"])
        moments = [key["CreationDate"], *sorted(entry["RotationDate"] for entry in rotations)]
        return tuple(KeyVersion(number, moment.astimezone(dt.UTC)) for number, moment in enumerate(moments, 1))

    def _key_ids(self) -> dict[KeyName, str]:
        prefix = f"{self._place.prefix}/"
        aliases = self._kms.pages("list_aliases", "Aliases", None)
        return {
            KeyName(alias["AliasName"].removeprefix(prefix)): alias["TargetKeyId"]
            for alias in aliases
            if alias["AliasName"].startswith(prefix) and "TargetKeyId" in alias
        }

    def _entries(self, name: KeyName, key_id: str) -> list[dict[str, Any]]:
        return list(self._kms.pages("list_grants", "Grants", name, KeyId=key_id))

    def _secret(self, answer: dict[str, Any], name: KeyName) -> SecretKey:
        try:
            return SecretKey(self._kms.part(answer, "Plaintext", name))
        except ValueError:
            raise refuse(FORMAT, where(name), not_done("decrypt"), "something wrapped that is no key") from None


def _bound(name: KeyName, context: Context) -> dict[str, str]:
    return {"cloakhouse:key": str(name), "cloakhouse:context": canonical(context).decode()}


def _state(key: dict[str, Any]) -> KeyState:
    return STATES.get(key["KeyState"], KeyState.DISABLED)


def _settled(ask: Callable[[], T]) -> T:
    """Return what `ask` does, asking again while KMS does not know yet what was made a moment ago."""
    for pause in PAUSES_S:
        try:
            return ask()
        except KeyServiceError as refusal:
            if refusal.code != "key.missing":
                raise
        time.sleep(pause)
    return ask()
