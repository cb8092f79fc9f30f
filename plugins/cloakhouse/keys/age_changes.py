"""What an administrator may change in a keystore, as functions from one document to the next.

Master keys are opened with the administrator's identity and sealed again to whoever may use them after the change.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import replace

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.identity import Identity, seal
from cloakhouse.keys.keystore import PLATFORM, Keystore, Master, SealedVersion
from cloakhouse.keys.protocol import Grant, KeyName, KeyState


def new_version(keystore: Keystore, name: KeyName, before: Master | None = None) -> Keystore:
    """Return the keystore with a fresh version of `name` after those of `before`, which stay."""
    versions = before.versions if before else ()
    number = versions[-1].version + 1 if versions else 1
    created = dt.datetime.now(dt.UTC).replace(microsecond=0)
    fresh = SealedVersion(number, created, seal(os.urandom(32), keystore.recipients(name)))
    state = before.state if before else KeyState.ENABLED
    return keystore.holding(name, Master(state, (*versions, fresh)))


def change_state(keystore: Keystore, name: KeyName, master: Master, state: KeyState, me: Identity) -> Keystore:
    """Return the keystore with `name` in `state`; sealed to the platform alone while it is disabled."""
    if master.state is state:
        return keystore
    return _resealed(keystore.holding(name, replace(master, state=state)), name, me)


def without(keystore: Keystore, name: KeyName, master: Master) -> Keystore:
    """Return the keystore with every version of `name` gone; the name stays taken, and its grants go, too."""
    if master.state is KeyState.DESTROYED:
        return keystore
    kept = frozenset(grant for grant in keystore.grants if grant.name != name)
    return replace(keystore.holding(name, Master(KeyState.DESTROYED, ())), grants=kept)


def granting(keystore: Keystore, grant: Grant, me: Identity) -> Keystore:
    """Return the keystore with `grant`. Raises KeyServiceError for a principal that isn't enrolled."""
    if grant.principal not in keystore.principals or grant.principal == PLATFORM:
        raise _no_such(
            grant,
            f"an enrolled principal ({', '.join(sorted(set(keystore.principals) - {PLATFORM})) or 'none yet'})",
            "enrol it first: `cloakhouse keys enrol`",
            "identity",
        )
    if grant in keystore.grants:
        return keystore
    return _resealed(replace(keystore, grants=keystore.grants | {grant}), grant.name, me)


def revoking(keystore: Keystore, grant: Grant, me: Identity) -> Keystore:
    """Return the keystore without `grant`, with a version of the key that the principal never had."""
    if grant not in keystore.grants:
        raise _no_such(grant, "a grant as it was given", "`cloakhouse keys status` lists the grants", "missing")
    keystore = replace(keystore, grants=keystore.grants - {grant})
    master = keystore.masters[grant.name]
    keystore = _resealed(keystore, grant.name, me)
    # a disabled key, too: else what it wraps once it is enabled again would be under a version that was known
    if master.state is not KeyState.DESTROYED and not any(
        g.principal == grant.principal and g.name == grant.name for g in keystore.grants
    ):
        keystore = new_version(keystore, grant.name, keystore.masters[grant.name])
    return keystore


def _resealed(keystore: Keystore, name: KeyName, me: Identity) -> Keystore:
    master, recipients = keystore.masters[name], keystore.recipients(name)
    versions = tuple(replace(v, sealed=seal(me.open(v.sealed), recipients)) for v in master.versions)
    return keystore.holding(name, replace(master, versions=versions))


def _no_such(grant: Grant, expected: str, remedy: str, code: str) -> KeyServiceError:
    return KeyServiceError(
        where=f"grant of {grant.name} to {grant.principal} for {grant.purpose}",
        expected=expected,
        found="none of that name",
        not_done="no grant was changed",
        remedy=remedy,
        code=code,
    )
