"""What each role of infra/terraform may do, all policies taken together."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace
from typing import Any

from tests.support.cloud import (
    FOLDER,
    Account,
    bucket_documents,
    key_document,
    platform,
    role_documents,
    service_key_documents,
)
from tests.support.cloud_probes import Probe, key_arn, universe
from tests.support.iam import Document, Grant, Policies, Request, allowed

from cloakhouse.contracts.access_parser import parse_policy
from cloakhouse.keys.aws_grants import OPERATIONS
from cloakhouse.stages.access_plan import wanted_grants

POLICY = FOLDER.parents[2] / "dags" / "access.yaml"
TOKEN_GRANTS = {  # given with `cloakhouse keys grant`, as docs/keys.md and docs/subject-access.md tell
    "privacy-officer": ("tokens/root", "purposes/rights", "purposes/analytics"),
    "customer-service": ("reversible/customer_service",),
}
Held = frozenset[tuple[str, str]]


@dataclass
class World:
    """All documents of an account. A test changes a copy."""

    at: Account
    roles: dict[str, dict[str, Any]]
    keys: dict[str, dict[str, Any]]
    own_keys: dict[str, dict[str, Any]]
    buckets: dict[str, dict[str, Any]]
    grants: list[Grant]

    def copy(self) -> World:
        """Return a world whose documents can be changed."""
        return copy.deepcopy(self)

    def changed(self, role: str | None = None, key: str | None = None) -> World:
        """Return a world in which the policy of `role`, or of `key`, can be changed; all else is shared."""
        roles = dict(self.roles)
        if role is not None:
            roles[role] = {**roles[role], "policy": copy.deepcopy(roles[role]["policy"])}
        keys = self.keys if key is None else {**self.keys, key: copy.deepcopy(self.keys[key])}
        return replace(self, roles=roles, keys=keys)

    def may(self, role: str, probe: Probe) -> bool:
        """Return whether `role` may do what is probed, all policies taken together."""
        documents = self.roles[role]
        grants = [grant for grant in self.grants if grant.grantee == self.at.role(role)]
        policies = Policies([documents["policy"]], documents["boundary"], self._of_resource(probe), grants)
        return allowed(_request(self.at, role, probe), policies)

    def gives(self, role: str, probe: Probe) -> bool:
        """Return whether the role's own policy allows it, whatever others deny."""
        return allowed(_request(self.at, role, probe), Policies([self.roles[role]["policy"]]))

    def _of_resource(self, probe: Probe) -> Document | None:
        kind, _, name = probe.label.partition(":")
        if kind == "key":
            return self.keys[name]
        if kind == "own key":
            return self.own_keys[name.split(",")[0]]
        if kind in ("object", "list", "bucket"):
            bucket = probe.resource.removeprefix(self.at.bucket()).partition("/")[0].removeprefix("-") or "lake"
            return self.buckets[bucket]
        return None


def _request(at: Account, role: str, probe: Probe) -> Request:
    arn = at.role(role)
    return Request(arn, probe.action, probe.resource, {**probe.context, "aws:PrincipalArn": arn})


def grants_of_the_policy(at: Account) -> list[tuple[str, str]]:
    """Return (role, master key) of each grant that dags/access.yaml leads to, when each role has one principal."""
    roles = [role for role, is_ in platform()["roles"].items() if is_["trust"] == "trust_person"]
    text = POLICY.read_text(encoding="utf-8")
    named = [role for role in roles if f"\n  {role}:" in text]
    lines = [f'  {r}: {{roles: [{r}], account: "{at.role(r)}", reviewBy: 2027-02-28}}' for r in named]
    policy = parse_policy(text.replace("principals: {}", "principals:\n" + "\n".join(lines)), "access.yaml")
    account = {at.role(role): role for role in named}
    return sorted({(account[grant.principal], str(grant.name)) for grant in wanted_grants(policy)})


@functools.cache
def shipped(at: Account = Account()) -> World:  # noqa: B008 an account is frozen
    """Return the world as infra/terraform makes it, with the grants of dags/access.yaml and of tokens."""
    held = [*grants_of_the_policy(at), *((role, key) for role, keys in TOKEN_GRANTS.items() for key in keys)]
    return World(
        at,
        {role: role_documents(at, role) for role in platform()["roles"]},
        {key: key_document(at, key) for key in platform()["keys"]},
        service_key_documents(at),
        bucket_documents(at),
        [Grant(at.role(role), key_arn(at, key), tuple(OPERATIONS)) for role, key in held],
    )


@functools.cache
def probes(at: Account) -> tuple[Probe, ...]:
    """Return the universe of an account, made once."""
    return tuple(universe(at))


def held(world: World, role: str) -> Held:
    """Return (action, label) of everything in the universe that `role` may do."""
    return frozenset((p.action, p.label) for p in probes(world.at) if world.may(role, p))


def given(world: World, role: str) -> Held:
    """Return (action, label) of everything in the universe that the role's own policy allows."""
    return frozenset((p.action, p.label) for p in probes(world.at) if world.gives(role, p))
