"""The access policy applied by two: who administers keys changes grants, and the platform uses keys to share them.

For key services whose roles keep the two apart, so that nobody can do what `cloakhouse.stages.access_apply` does alone.

Whoever administers keys (`apply_grants`), for which a home and a control database of their own are enough:

1. What the policy doesn't give any more is withdrawn.
2. When all of that is withdrawn, what is missing is granted. No key is used.

The platform (`apply_shares`):

1. What an earlier call wrote down and didn't finish is finished.
2. The grants that are there are compared with those that were there at the last look. What is gone is written down
   (`cloakhouse.stages.access_notes`), and the dataset keys that it opened get versions that whoever lost it never had.
3. Shares that the policy doesn't give are removed, after their dataset keys got a new version.
4. Dataset keys are shared, but for roles whose key somebody still holds whom the policy doesn't give it.

Each tells what the other has to do, and changes nothing when there is nothing to do. Until the second half is done,
whoever lost a grant opens what is written meanwhile with the dataset keys that they kept, and who needs a share waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from cloakhouse.contracts.access_parser import load_policy
from cloakhouse.errors import AccessRefused, CloakhouseError
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import Grant, KeyState
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.shares import Shares
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.access_apply import (
    LOCK_WAIT_S,
    POLICY,
    Applied,
    each,
    giving,
    name_of_grant,
    named,
    require_platform,
    unshare,
)
from cloakhouse.stages.access_notes import keep_look, note, renew_noted, unfinished, withdrawn
from cloakhouse.stages.access_plan import NOTHING, Plan, plan_of
from cloakhouse.stages.auditing import event, failures_recorded
from cloakhouse.stages.rotation import settle

LOCK = "the access policy"


class Half(StrEnum):
    """Which part of the policy is applied."""

    GRANTS = "grants"
    SHARES = "shares"


def planned_half(settings: Settings, half: Half, *, strict: bool = False) -> Applied:
    """Return what `apply_grants` or `apply_shares` would do. Raises as they do, and changes nothing."""
    ring, shares = open_ring(settings), Shares(settings.key_shares)
    plan = plan_of(load_policy(settings.policy), ring, shares, strict=strict)
    of_grants, of_shares = _halves(plan)
    if half is Half.GRANTS:
        return Applied(of_grants, resumed=False, left=of_shares)
    waiting = unfinished(settings) or bool(withdrawn(settings, ring.service.grants()))
    return Applied(of_shares, waiting, left=of_grants)


def apply_grants(settings: Settings, *, strict: bool = False, reason: str = "") -> Applied:
    """Make the grants equal to the policy, without using a key; return what was done, and what is left to the platform.

    Nothing is granted while something that is to be withdrawn isn't. What the service refuses is in `refused`. Raises
    ContractError for the policy, AccessRefused (`access.key`) for a principal of the age keystore, KeyServiceError,
    StageError (`stage.busy`), StorageError.
    """
    policy = load_policy(settings.policy)
    _check(settings, reason)
    with locked(settings.home / ".access.lock", LOCK_WAIT_S, LOCK):
        ring, shares = open_ring(settings, reason), Shares(settings.key_shares)
        plan = plan_of(policy, ring, shares, strict=strict)
        refused: list[tuple[str, CloakhouseError]] = []
        revoked = tuple(each(plan.revoke, ring.service.revoke, name_of_grant, refused))
        if revoked:
            ring.announce()
        granted = () if refused else tuple(each(plan.grant, ring.service.grant, name_of_grant, refused))
        of_grants, of_shares = _halves(plan)
        kept = tuple(grant for grant in plan.outside if grant not in revoked)
        done = replace(of_grants, grant=granted, revoke=revoked, outside=kept)
        return Applied(done, False, tuple(refused), of_shares)


def apply_shares(settings: Settings, *, reason: str = "") -> Applied:
    """Follow what was withdrawn and make shares equal to the policy; return what was done, and which grants are left.

    `refused` ends with AccessRefused (`access.withdrawal`) while grants are there that the policy doesn't give. Raises
    ContractError for the policy, AccessRefused (`access.key`) for a principal of the age keystore, KeyServiceError,
    StageError (`stage.busy`), StorageError, IntegrityError (`integrity.notes`).
    """
    policy = load_policy(settings.policy)
    _check(settings, reason)
    with locked(settings.home / ".access.lock", LOCK_WAIT_S, LOCK):
        ring, shares = open_ring(settings, reason), Shares(settings.key_shares)
        followed = _follow(settings, ring, shares)
        plan = plan_of(policy, ring, shares)
        unshare(settings, ring, shares, plan.unshare, reason)
        again = plan_of(policy, ring, shares).share
        withheld = {grant.name for grant in plan.revoke}
        open_to = [share for share in again if share.wrapping.master not in withheld]
        refused: list[tuple[str, CloakhouseError]] = []
        shared = tuple(each(open_to, giving(settings, ring, shares, reason), named, refused))
        waiting = [named(share) for share in again if share.wrapping.master in withheld]
        if plan.revoke:
            refused += [(what, _pending(plan.revoke)) for what in (*waiting, *map(name_of_grant, plan.revoke))]
        of_grants, of_shares = _halves(plan)
        return Applied(replace(of_shares, share=shared), followed, tuple(refused), of_grants)


def _check(settings: Settings, reason: str) -> None:
    with failures_recorded(settings, event(settings, Action.GRANT, POLICY, reason=reason)):
        require_platform(settings)


def _halves(plan: Plan) -> tuple[Plan, Plan]:
    """Return the part of a plan that is about grants, and the part that is about shares."""
    return replace(plan, share=(), unshare=()), replace(NOTHING, share=plan.share, unshare=plan.unshare)


def _follow(settings: Settings, ring: KeyRing, shares: Shares) -> bool:
    """Give what withdrawn grants opened new versions, and return whether there was any such grant."""
    resumed = unfinished(settings)
    if resumed:
        renew_noted(settings, ring)
    held = ring.service.grants()
    gone = withdrawn(settings, held)
    if gone:
        note(settings, ring, shares, gone)
    keep_look(settings, held)  # after the note: a kill between the two leads to the same note again
    if gone:
        for name in sorted({grant.name for grant in gone} & set(ring.service.names())):
            if ring.service.describe(name).state is KeyState.ENABLED:
                settle(settings, ring, name)
        renew_noted(settings, ring)
    return resumed or bool(gone)


def _pending(grants: Sequence[Grant]) -> AccessRefused:
    return AccessRefused(
        where="the key service",
        expected="no grant for reading that the access policy doesn't give",
        found=f"{len(grants)} of them, which this principal may not withdraw",
        not_done="nobody was shut out, and nothing was shared with roles whose keys these grants open",
        remedy="have whoever administers keys run `cloakhouse access apply --grants`, then run this again",
        code="withdrawal",
    )
