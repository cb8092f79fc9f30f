"""The keystore's document: sealed master keys, principals and grants, signed as a whole. Values only, no IO.

Bytes on disk, `keystore.json` (UTF-8, one form only, so that no two readings are possible):

    {"keystore": BODY, "signature": "<base64, Ed25519 over BODY as canonical JSON>"}

    BODY = {"format": 2, "serial": 7,
            "principals": {"platform": "age1..."},
            "masters": {"protected/direct": {"state": "enabled",
                        "versions": [{"version": 1, "created": "...", "sealed": "<base64 of an age file>"}]}},
            "grants": [["model-team", "synthetic/plain", "model-training"]]}

`serial` grows with every change; a process refuses a keystore older than one it has seen. A sealed master key is
32 random bytes encrypted with age to the platform and, while it is enabled, to each principal with a grant for it.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from cloakhouse.keys.identity import verify
from cloakhouse.keys.protocol import Grant, KeyDescription, KeyName, KeyState, KeyVersion

FORMAT = 2
PLATFORM = "platform"


@dataclass(frozen=True)
class SealedVersion:
    """One version of a master key, sealed with age to its recipients."""

    version: int
    created: dt.datetime
    sealed: bytes


@dataclass(frozen=True)
class Master:
    """A master key: its state and its versions, ascending; a destroyed one has none."""

    state: KeyState
    versions: tuple[SealedVersion, ...]

    def describe(self, name: KeyName) -> KeyDescription:
        """Return what may be told of it."""
        return KeyDescription(name, self.state, tuple(KeyVersion(v.version, v.created) for v in self.versions))


@dataclass(frozen=True)
class Keystore:
    """The whole document."""

    serial: int = 0
    principals: Mapping[str, str] = field(default_factory=dict)
    masters: Mapping[str, Master] = field(default_factory=dict)
    grants: frozenset[Grant] = frozenset()

    def principal(self, recipient: str) -> str | None:
        """Return the principal whose recipient this is, or None."""
        return next((name for name, known in self.principals.items() if known == recipient), None)

    def recipients(self, name: str) -> list[str]:
        """Return the recipients of master key `name`: the platform, and while it is enabled whoever holds a grant."""
        master = self.masters.get(name)
        enabled = master is None or master.state is KeyState.ENABLED
        holders = {grant.principal for grant in self.grants if grant.name == name and enabled}
        return [self.principals[principal] for principal in sorted(holders | {PLATFORM})]

    def holding(self, name: str, master: Master) -> Keystore:
        """Return the keystore with `master` under `name`."""
        return replace(self, masters=MappingProxyType({**self.masters, name: master}))

    def encoded(self, signature: str) -> bytes:
        """Return the bytes of `keystore.json`."""
        return json.dumps({"keystore": self._body(), "signature": signature}, indent=1, sort_keys=True).encode() + b"\n"

    def signed_bytes(self) -> bytes:
        """Return what the signature covers."""
        return json.dumps(self._body(), sort_keys=True, separators=(",", ":")).encode()

    def _body(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "serial": self.serial,
            "principals": dict(self.principals),
            "masters": {name: _master_out(master) for name, master in self.masters.items()},
            "grants": [[g.principal, g.name, g.purpose] for g in sorted(self.grants)],
        }


def parse(raw: bytes, pin: str) -> Keystore | None:
    """Return the keystore in `raw`, or None when a bit differs from what the key that `pin` names has signed."""
    try:
        document = json.loads(raw)
        signature, body = document["signature"], document["keystore"]
        keystore = Keystore(
            int(body["serial"]),
            {str(name): str(recipient) for name, recipient in body["principals"].items()},
            {str(name): _master_in(master) for name, master in body["masters"].items()},
            frozenset(Grant(principal, KeyName(name), purpose) for principal, name, purpose in body["grants"]),
        )
        sound = keystore.encoded(signature) == raw and verify(pin, signature, keystore.signed_bytes())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return keystore if sound else None


def _master_out(master: Master) -> dict[str, Any]:
    versions = [
        {"version": v.version, "created": v.created.isoformat(), "sealed": base64.b64encode(v.sealed).decode()}
        for v in master.versions
    ]
    return {"state": master.state.value, "versions": versions}


def _master_in(content: dict[str, Any]) -> Master:
    versions = (
        SealedVersion(
            int(v["version"]), dt.datetime.fromisoformat(v["created"]), base64.b64decode(v["sealed"], validate=True)
        )
        for v in content["versions"]
    )
    return Master(KeyState(content["state"]), tuple(versions))
