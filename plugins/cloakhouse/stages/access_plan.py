"""What grants and shares a policy asks for, and how far those that are there differ from it. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloakhouse.contracts.access_policy import LANDING, READ_ZONES, ROLE_KEYS, AccessPolicy, Role
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile
from cloakhouse.keys.protocol import FILE, FOOTER, Grant, KeyName, KeyState
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.shares import Share, Shares

NOT_OURS = "not ours:"  # how AWS KMS's grants that the platform did not make begin


@dataclass(frozen=True)
class Plan:
    """The way from what is to what the policy says.

    Attributes:
        grant / revoke: grants to give and to withdraw.
        share / unshare: dataset keys to wrap (again) for a role, and shares to remove.
        outside: grants that are not about reading, such as detokenization; the policy doesn't speak of them.
    """

    grant: tuple[Grant, ...]
    revoke: tuple[Grant, ...]
    share: tuple[Share, ...]
    unshare: tuple[Share, ...]
    outside: tuple[Grant, ...]

    @property
    def empty(self) -> bool:
        """Whether all is as the policy says."""
        return not (self.grant or self.revoke or self.share or self.unshare)


NOTHING = Plan((), (), (), (), ())


def wanted_grants(policy: AccessPolicy) -> dict[Grant, set[str]]:
    """Return each grant that the policy gives, and the roles that it is there for."""
    wanted: dict[Grant, set[str]] = {}
    for principal in policy.principals.values():
        for role in (policy.roles[name] for name in principal.roles):
            keys = {key for rule in role.reads for zone in rule.zones for key in role.keys(rule, zone)}
            for grant in (Grant(principal.account, KeyName(key), p) for key in keys for p in role.purposes):
                wanted.setdefault(grant, set()).add(role.name)
    return wanted


def wanted_shares(policy: AccessPolicy, files: Iterable[DatasetKeyFile]) -> set[Share]:
    """Return the shares of the dataset keys in `files` for roles whose rules name datasets, and that somebody has."""
    live = [file.key for file in files if file.state is KeyState.ENABLED and file.key.zone in READ_ZONES]
    had = {name for principal in policy.principals.values() for name in principal.roles}
    roles = [role for name, role in policy.roles.items() if name in had]
    return {Share(role.key.partition("/")[2], key) for role in roles for key in live if _shared(role, key)}


def _shared(role: Role, key: DatasetKey) -> bool:
    rules = [rule for rule in role.reads if not rule.whole_zone and rule.about(key.zone, key.dataset)]
    return any(key.use in rule.uses(key.zone) for rule in rules)


def is_for_reading(grant: Grant) -> bool:
    """Return whether a grant is of those that the policy decides over: a readable zone's keys, or a role's."""
    zone, _, use = grant.name.partition("/")
    if grant.purpose.startswith(NOT_OURS):
        return False
    if zone == LANDING:
        return use == FILE
    return zone == ROLE_KEYS or (zone in READ_ZONES and use in (FOOTER, *(c.key_name for c in ColumnClass)))


def plan_of(policy: AccessPolicy, ring: KeyRing, shares: Shares, *, strict: bool = False) -> Plan:
    """Return what is to be done so that grants and shares are as `policy` says; `strict` revokes what is outside, too.

    Raises KeyServiceError, AccessRefused.
    """
    held = set(ring.service.grants())
    outside = sorted(grant for grant in held if not is_for_reading(grant))
    wanted = set(wanted_grants(policy))
    unwanted = (held if strict else held - set(outside)) - wanted
    files = {file.key: file for file in ring.all()}
    in_state = states(ring)
    in_use = [file for file in files.values() if in_state.get(file.key.master) is KeyState.ENABLED]
    there, needed = set(shares.all()), wanted_shares(policy, in_use)
    return Plan(
        grant=tuple(sorted(g for g in wanted - held if in_state.get(g.name) is not KeyState.DESTROYED)),
        revoke=tuple(sorted(unwanted, key=_footer_first)),
        share=tuple(_behind(needed, files, shares)),
        unshare=tuple(sorted(there - needed)),
        outside=tuple(outside),
    )


def missing_shares(policy: AccessPolicy, ring: KeyRing, shares: Shares) -> list[Share]:
    """Return the shares that `policy` promises of enabled dataset keys and that are not there, or not up to date.

    Asks for no grant. Raises KeyServiceError for a damaged share.
    """
    files = {file.key: file for file in ring.all()}
    needed = wanted_shares(policy, files.values())  # which are of enabled dataset keys
    return _behind(needed, files, shares)


def _behind(needed: Iterable[Share], files: Mapping[DatasetKey, DatasetKeyFile], shares: Shares) -> list[Share]:
    """Return the shares of `needed` that are not there, or not up to date, in order."""
    return sorted(share for share in needed if not shares.up_to_date(share, files))


def states(ring: KeyRing) -> dict[KeyName, KeyState]:
    """Return the state of every master key. Raises KeyServiceError."""
    return {name: ring.service.describe(name).state for name in ring.service.names()}


def _footer_first(grant: Grant) -> tuple[bool, Grant]:
    """Order grants so that from the first withdrawal on no file of the zone opens."""
    return not grant.name.endswith(f"/{FOOTER}"), grant
