"""Grants as the server's own policies: what `cloakhouse.analyst.training` holds is what such a token may use.

There is one policy for each principal and purpose, `<prefix>.<principal>.<purpose>`, in JSON:

    {"path": {"transit/encrypt/cloakhouse-protected-direct": {"capabilities": ["update"]}, ...}}

The server's administrator gives the principal a token with the policy of the purpose (and `default`); from then on a
grant or a withdrawal counts for tokens that exist already. A policy from which all is withdrawn stays, empty: deleting
it could swallow a grant that somebody else is just adding. OpenBao refuses a change that is based on an older version
(check-and-set). HashiCorp Vault can't: there a change is read back and made again if it was overwritten, which misses
one that is overwritten after that, so only one administrator should grant at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.openbao_names import Names
from cloakhouse.keys.openbao_uri import Place
from cloakhouse.keys.openbao_wire import Wire
from cloakhouse.keys.protocol import Grant, KeyName

POLICIES = "sys/policies/acl"
WORD = re.compile(r"[a-z0-9-]{1,64}")
ATTEMPTS = 12

Paths = dict[str, Any]


class Policies:
    """The grants at a server, one policy for each principal and purpose."""

    def __init__(self, wire: Wire, place: Place, names: Names) -> None:
        self._wire = wire
        self._place = place
        self._names = names

    def all(self) -> tuple[Grant, ...]:
        """Return every grant, in order. Raises KeyServiceError, AccessRefused."""
        answer = self._wire.call("LIST", POLICIES, "the policies")
        found: list[Grant] = []
        for policy in answer.data.get("keys", []):
            prefix, *parts = str(policy).split(".")
            if prefix == self._place.prefix and len(parts) == 2 and all(WORD.fullmatch(part) for part in parts):
                paths, _ = self._read(str(policy))
                found += [Grant(parts[0], name, parts[1]) for name in self._granted(paths)]
        return tuple(sorted(found))

    def add(self, grant: Grant) -> None:
        """Add a grant. Raises KeyServiceError, AccessRefused."""
        given = self._paths(grant.name)
        self._change(grant, lambda paths: {**paths, **given})

    def remove(self, grant: Grant) -> None:
        """Withdraw a grant. Raises KeyServiceError (`key.missing` if there is none), AccessRefused."""
        paths, _ = self._read(self._policy(grant))
        if grant.name not in self._granted(paths):
            raise _refused(
                self._policy(grant), f"a grant of {grant.name}", "none", "missing", "see the grants there are"
            )
        given = self._paths(grant.name)
        self._change(grant, lambda paths: {path: rule for path, rule in paths.items() if path not in given})

    def _change(self, grant: Grant, edit: Callable[[Paths], Paths]) -> None:
        policy = self._policy(grant)
        for _ in range(ATTEMPTS):
            paths, version = self._read(policy)
            wanted = edit(paths)
            if wanted == paths:
                return
            text = json.dumps({"path": wanted}, sort_keys=True)
            condition = {} if version is None else {"cas": version}
            answer = self._wire.call("PUT", f"{POLICIES}/{policy}", policy, {"policy": text, **condition})
            if not answer.ok and "check-and-set" not in answer.told:
                raise _refused(policy, "a policy that the server takes", f"status {answer.status}", "unsupported", "")
        raise _refused(policy, "a policy that stays", "one that others change all the time", "throttled", "run again")

    def _read(self, policy: str) -> tuple[Paths, int | None]:
        """Return the rules of a policy by path, and its version for check-and-set (-1: there must be none)."""
        answer = self._wire.call("GET", f"{POLICIES}/{policy}", policy)
        if answer.status == 404:
            return {}, -1
        try:
            paths = json.loads(answer.data["policy"])["path"]
        except (KeyError, TypeError, ValueError, RecursionError):
            paths = None
        if not isinstance(paths, dict):
            remedy = "delete the policy at the server and grant again with `cloakhouse keys grant`"
            raise _refused(policy, "a policy as the platform writes it, in JSON", "another", "format", remedy)
        return paths, answer.data.get("version")

    def _granted(self, paths: Paths) -> list[KeyName]:
        start = f"{self._place.mount}/decrypt/"
        keys = [path.removeprefix(start) for path in paths if path.startswith(start)]
        return [name for name in map(self._names.master, keys) if name is not None]

    def _paths(self, name: KeyName) -> Paths:
        mount, key, grave = self._place.mount, self._names.key(name), self._names.grave(name)
        use = {f"{mount}/{verb}/{key}": {"capabilities": ["update"]} for verb in ("encrypt", "decrypt")}
        generate = {f"{mount}/datakey/plaintext/{key}": {"capabilities": ["update"]}}
        look = {f"{mount}/keys/{which}": {"capabilities": ["read"]} for which in (key, grave)}
        return use | generate | look

    def _policy(self, grant: Grant) -> str:
        for what, word in (("principal", grant.principal), ("purpose", grant.purpose)):
            if not WORD.fullmatch(word):
                expected = f"a {what} of 1 to 64 small letters, digits and `-`"
                raise _refused("a grant", expected, "other characters", "unsupported", "choose another name")
        return f"{self._place.prefix}.{grant.principal}.{grant.purpose}"


def _refused(policy: str, expected: str, found: str, code: str, remedy: str) -> KeyServiceError:
    return KeyServiceError(
        where=f"policy {policy}",
        expected=expected,
        found=found,
        not_done="no grant was changed",
        remedy=remedy or "look at the server's log",
        code=code,
    )
