"""Grants and shares made equal to the access policy, so that the keys enforce what it says.

1. Who changes grants is the platform, with the administrator's key.
2. What an earlier call left undone when it was killed is finished.
3. What the policy doesn't give any more is written down (`cloakhouse.stages.access_notes`), withdrawn, and the dataset
   keys that it opened get versions that whoever lost it never had; then the note is removed.
4. Shares that the policy doesn't give are removed, after their dataset keys got a new version.
5. What is missing is granted, and dataset keys are shared, also those that got new versions above.

Withdrawals come first, so that a call that ends early leaves too little open and not too much. Each step looks at what
is there: the next call goes on after a kill anywhere, and one that finds nothing to do changes nothing.

Where nobody may both change grants and use keys, two do it in halves: `cloakhouse.stages.access_halves`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cloakhouse.contracts.access_parser import load_policy
from cloakhouse.errors import AccessRefused, CloakhouseError
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import Grant
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.shares import Share, Shares
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.access import revoke_grants
from cloakhouse.stages.access_notes import has_looked, keep_look, note, noted, renew, renew_noted, unfinished
from cloakhouse.stages.access_plan import NOTHING, Plan, missing_shares, plan_of
from cloakhouse.stages.auditing import changing, event, failures_recorded
from cloakhouse.stages.reading_access import principal_of

POLICY = "access policy"
LOCK_WAIT_S = 30.0
T = TypeVar("T")


@dataclass(frozen=True)
class Applied:
    """What was done, or with a dry run would be.

    Attributes:
        done: grants and shares that were changed; `outside` was left as it is, unless it was revoked.
        resumed: whether a killed call's withdrawals were finished first (or are waiting, with a dry run).
        refused: what the key service refused, by grant or share.
        left: what another principal has still to do (`cloakhouse.stages.access_halves`).
    """

    done: Plan
    resumed: bool
    refused: tuple[tuple[str, CloakhouseError], ...] = ()
    left: Plan = NOTHING

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {
            **_changes(self.done),
            "outside": [grant.as_dict() for grant in self.done.outside],
            "resumed": self.resumed,
            "refused": [{"what": what, **problem.as_dict()} for what, problem in self.refused],
            "left": _changes(self.left),
        }


def _changes(plan: Plan) -> dict[str, Any]:
    return {
        "granted": [grant.as_dict() for grant in plan.grant],
        "revoked": [grant.as_dict() for grant in plan.revoke],
        "shared": [named(share) for share in plan.share],
        "unshared": [named(share) for share in plan.unshare],
    }


def planned(settings: Settings, *, strict: bool = False) -> Applied:
    """Return what `apply` would do. Raises ContractError for the policy, KeyServiceError, AccessRefused."""
    plan = plan_of(load_policy(settings.policy), open_ring(settings), Shares(settings.key_shares), strict=strict)
    return Applied(plan, unfinished(settings))


def apply(settings: Settings, *, strict: bool = False, reason: str = "") -> Applied:
    """Make the grants equal to the policy and return what was done; see the module. `strict` revokes those outside.

    Grants and shares that the service refuses keep no other waiting: they are in `refused`. Raises ContractError for
    the policy, AccessRefused (`access.key`) for who isn't the administrator, KeyServiceError for a withdrawal that
    failed, StageError (`stage.busy`), StorageError, IntegrityError.
    """
    policy = load_policy(settings.policy)
    with failures_recorded(settings, event(settings, Action.GRANT, POLICY, reason=reason)):
        require_platform(settings)
    with locked(settings.home / ".access.lock", LOCK_WAIT_S, "the access policy"):
        ring, shares = open_ring(settings, reason), Shares(settings.key_shares)
        resumed = _resume(settings, ring, reason)
        plan = plan_of(policy, ring, shares, strict=strict)
        if plan.revoke:
            note(settings, ring, shares, plan.revoke)
            _resume(settings, ring, reason)
        unshare(settings, ring, shares, plan.unshare, reason)
        refused: list[tuple[str, CloakhouseError]] = []
        granted = list(each(plan.grant, ring.service.grant, name_of_grant, refused))
        again = plan_of(policy, ring, shares).share
        shared = list(each(again, giving(settings, ring, shares, reason), named, refused))
        kept = tuple(grant for grant in plan.outside if grant not in plan.revoke)
        if has_looked(settings):
            keep_look(settings, ring.service.grants())
        done = replace(plan, grant=tuple(granted), share=tuple(shared), outside=kept)
        return Applied(done, resumed, tuple(refused))


def share_missing(settings: Settings) -> tuple[Share, ...]:
    """Give roles with some datasets of a zone the dataset keys that the policy promises them; return what was given.

    For keys that are new: a dataset's first publication ends with it. No grant is changed. Raises ContractError,
    KeyServiceError, AccessRefused, StageError (`stage.busy`), StorageError.
    """
    policy = load_policy(settings.policy)
    with locked(settings.home / ".access.lock", LOCK_WAIT_S, "the access policy"):
        ring, shares = open_ring(settings), Shares(settings.key_shares)
        missing = tuple(missing_shares(policy, ring, shares))
        give = giving(settings, ring, shares)
        for share in missing:
            give(share)
    return missing


def unshare(settings: Settings, ring: KeyRing, shares: Shares, gone: Iterable[Share], reason: str = "") -> None:
    """Remove shares, each after its dataset key got a new version.

    Raises KeyServiceError, AccessRefused, StorageError.
    """
    for share in gone:
        with changing(settings, _event(settings, Action.REVOKE, share, reason)):
            renew(ring, {share.key.name: None})
            shares.remove(share)


def giving(settings: Settings, ring: KeyRing, shares: Shares, reason: str = "") -> Callable[[Share], None]:
    """Return what writes a share; one that wasn't there is an event, one that is brought up to date gives nothing."""
    there, files = frozenset(shares.all()), {file.key: file for file in ring.all()}

    def give(share: Share) -> None:
        with contextlib.ExitStack() as stack:
            if share not in there:
                stack.enter_context(changing(settings, _event(settings, Action.GRANT, share, reason)))
            shares.write(share, files[share.key], ring)

    return give


def _event(settings: Settings, action: Action, share: Share, reason: str) -> Event:
    """Return the event of a dataset key being shared with a role, or no longer."""
    facts = {"shared_with": share.role}
    return event(settings, action, share.key.name, dataset=share.key.dataset, count=1, reason=reason, facts=facts)


def require_platform(settings: Settings) -> None:
    """Raise AccessRefused (`access.key`) for the identity of a principal of the age keystore."""
    if settings.keys.startswith("age:") and principal_of(settings) is not None:
        raise AccessRefused(
            where="CLOAKHOUSE_IDENTITY",
            expected="the platform's own identity, and the administrator's key beside it, to change grants",
            found="the identity of a principal",
            not_done="no key and no grant was changed",
            remedy="have the platform's administrator do this; `--dry-run` shows what would be done",
            code="key",
        )


def each(
    wanted: Iterable[T], work: Callable[[T], None], name: Callable[[T], str], refused: list[tuple[str, CloakhouseError]]
) -> Iterator[T]:
    """Do `work` for each and yield those for which it was done; ends early when nobody may, or nothing answers."""
    for each in wanted:
        try:
            work(each)
        except CloakhouseError as problem:
            refused.append((name(each), problem))
            if isinstance(problem, AccessRefused) or problem.retryable:
                return
        else:
            yield each


def _resume(settings: Settings, ring: KeyRing, reason: str) -> bool:
    """Do what is written down, and return whether anything was."""
    if not unfinished(settings):
        return False
    held = set(ring.service.grants())
    revoke_grants(settings, [grant for grant in noted(settings) if grant in held], reason)
    renew_noted(settings, ring)
    return True


def name_of_grant(grant: Grant) -> str:
    """Return how a grant is told."""
    return f"{grant.name} to {grant.principal} for {grant.purpose}"


def named(share: Share) -> str:
    """Return how a share is told."""
    return f"{share.key.name} with {share.role.replace('_', '-')}"
