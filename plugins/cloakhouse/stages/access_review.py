"""Who can open what, and why; and what should make somebody look: the access policy beside the grants and their use."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloakhouse.contracts.access_parser import load_policy
from cloakhouse.contracts.access_policy import AccessPolicy, Principal, Role, Rule
from cloakhouse.keys.protocol import FOOTER, Grant, KeyName
from cloakhouse.keys.shares import Shares
from cloakhouse.ledger.access_uses import AccessUses
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.access_notes import unfinished
from cloakhouse.stages.access_plan import Plan, is_for_reading, plan_of, wanted_grants

UNUSED_DAYS = 90
LastUses = Mapping[tuple[str, str, str], dt.datetime]  # by principal, key and purpose


class Kind(StrEnum):
    """What a finding is about."""

    OVERDUE = "overdue"  # past the day by which it was to be reviewed
    UNEXPLAINED = "unexplained"  # a grant for reading without a role behind it
    UNFINISHED = "unfinished"  # withdrawals that a killed `access apply` left
    BY_CODE_ONLY = "by code only"  # the key service knows no grants: whoever reaches it opens every key
    MISSING = "missing"  # a role gives it, and the key service doesn't: not applied yet
    UNUSED = "unused"
    NOBODY = "nobody"  # a role that no principal has
    OUTSIDE = "outside"  # a grant that isn't about reading


FAILING = frozenset({Kind.OVERDUE, Kind.UNEXPLAINED, Kind.UNFINISHED})


@dataclass(frozen=True)
class Opening:
    """What one principal can open by one rule of one role, in one zone for one purpose.

    Attributes:
        granted: `yes`, `no` or `partly`: whether the keys that it takes are granted at the key service.
        last_use: of any key of the rule but the footer's (UTC); None for never.
        review_by: the earlier of the role's day and the principal's.
    """

    principal: str
    role: str
    purpose: str
    zone: str
    datasets: tuple[str, ...]
    classes: tuple[str, ...]
    granted: str
    last_use: dt.datetime | None
    review_by: dt.date

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {
            **vars(self),
            "datasets": list(self.datasets),
            "classes": list(self.classes),
            "last_use": self.last_use.isoformat() if self.last_use else None,
            "review_by": self.review_by.isoformat(),
        }


@dataclass(frozen=True, order=True)
class Finding:
    """Something to look at: `who` is a principal or a role, `what` a key, a role or a file."""

    kind: Kind
    who: str
    what: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        """Return the fields, JSON-ready."""
        return {"kind": self.kind.value, "who": self.who, "what": self.what, "detail": self.detail}


@dataclass(frozen=True)
class Review:
    """Everything that the policy opens, and the findings in the order of Kind."""

    openings: tuple[Opening, ...]
    findings: tuple[Finding, ...]

    @property
    def failing(self) -> tuple[Finding, ...]:
        """The findings that may not stand: overdue, unexplained, unfinished."""
        return tuple(finding for finding in self.findings if finding.kind in FAILING)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {
            "openings": [opening.as_dict() for opening in self.openings],
            "findings": [finding.as_dict() for finding in self.findings],
            "failing": len(self.failing),
        }


def review(settings: Settings, now: dt.datetime, unused_days: int = UNUSED_DAYS) -> Review:
    """Return who can open what at `now` (UTC), and what there is to look at.

    A grant is unused when no read was recorded in `unused_days`; since a key service doesn't say when it was given,
    one of today is unused until its first read. Raises ContractError, KeyServiceError, AccessRefused, StorageError.
    """
    policy, ring = load_policy(settings.policy), open_ring(settings)
    plan = plan_of(policy, ring, Shares(settings.key_shares))
    held = set(ring.service.grants())
    used = {(u.principal, u.key, u.purpose): u.last_at for u in AccessUses(settings.database).all()}
    openings = tuple(_openings(policy, held, plan, used))
    findings = [
        *_of_policy(policy, now.date()),
        *_of_grants(policy, held, plan, used, now - dt.timedelta(days=unused_days)),
        *_of_installation(settings),
    ]
    order = list(Kind)
    return Review(openings, tuple(sorted(findings, key=lambda f: (order.index(f.kind), f))))


def _openings(policy: AccessPolicy, held: set[Grant], plan: Plan, used: LastUses) -> Iterator[Opening]:
    for _, principal in sorted(policy.principals.items()):
        for role in (policy.roles[name] for name in sorted(principal.roles)):
            for purpose in role.purposes:
                for rule in role.reads:
                    for zone in rule.zones:
                        yield _opening(principal, role, purpose, rule, zone, held, plan, used)


def _opening(
    principal: Principal,
    role: Role,
    purpose: str,
    rule: Rule,
    zone: str,
    held: set[Grant],
    plan: Plan,
    used: LastUses,
) -> Opening:
    keys = role.keys(rule, zone)
    there = [Grant(principal.account, KeyName(key), purpose) in held for key in keys]
    if not rule.whole_zone:  # the grant alone opens nothing: each dataset key is shared
        mine = [s for s in plan.share if s.wrapping.master == role.key]
        there += [False for s in mine if rule.about(s.key.zone, s.key.dataset) and s.key.zone == zone]
    moments = [used[who] for key in keys if _tells(key) and (who := (principal.name, key, purpose)) in used]
    return Opening(
        principal.name,
        role.name,
        purpose,
        zone,
        rule.datasets,
        tuple(sorted(c.value for c in rule.classes)),
        "yes" if all(there) else "partly" if any(there) else "no",
        max(moments, default=None),
        _review_by(principal, role),
    )


def _of_policy(policy: AccessPolicy, today: dt.date) -> Iterator[Finding]:
    for principal in policy.principals.values():
        for role in (policy.roles[name] for name in principal.roles):
            due = _review_by(principal, role)
            if due < today:
                yield Finding(Kind.OVERDUE, principal.name, f"role {role.name}", f"to be reviewed by {due}")
    given = {name for principal in policy.principals.values() for name in principal.roles}
    for role in policy.roles.values():
        if role.name not in given:
            yield Finding(Kind.NOBODY, role.name, "role", "no principal has it, so it has no grants")


def _of_grants(
    policy: AccessPolicy, held: set[Grant], plan: Plan, used: LastUses, since: dt.datetime
) -> Iterator[Finding]:
    names = {principal.account: principal.name for principal in policy.principals.values()}
    wanted = wanted_grants(policy)
    for grant in held:
        who = names.get(grant.principal, grant.principal)
        if not is_for_reading(grant):
            yield Finding(Kind.OUTSIDE, who, grant.name, f"for {grant.purpose}; not about reading datasets")
        elif grant not in wanted:
            yield Finding(Kind.UNEXPLAINED, who, grant.name, f"for {grant.purpose}; no role gives it")
        elif _tells(grant.name):
            last = used.get((who, grant.name, grant.purpose))
            if last is None or last < since:
                yield Finding(
                    Kind.UNUSED, who, grant.name, f"for {grant.purpose}; last used {last.date() if last else 'never'}"
                )
    for grant in plan.grant:
        roles = ", ".join(sorted(wanted[grant]))
        yield Finding(Kind.MISSING, names[grant.principal], grant.name, f"for {grant.purpose}; by {roles}")
    for share in plan.share:
        yield Finding(Kind.MISSING, share.role.replace("_", "-"), share.key.name, "the dataset's key isn't shared")
    for share in plan.unshare:
        yield Finding(Kind.UNEXPLAINED, share.role.replace("_", "-"), share.key.name, "shared; no rule gives it")


def _of_installation(settings: Settings) -> Iterator[Finding]:
    if unfinished(settings):
        yield Finding(Kind.UNFINISHED, "platform", "access-changes.json", "go on with `cloakhouse access apply`")
    if settings.keys.startswith("pkcs11:"):
        yield Finding(Kind.BY_CODE_ONLY, "everybody", "every key", "a PKCS#11 token knows a PIN and no grants")


def _tells(key: str) -> bool:
    """Return whether use of `key` tells of a read: a footer's is used for all of them."""
    return not key.endswith(f"/{FOOTER}")


def _review_by(principal: Principal, role: Role) -> dt.date:
    return min(role.review_by, principal.review_by or role.review_by)
