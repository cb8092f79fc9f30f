"""Grants and shares made equal to the access policy, so that the keys enforce what it says.

1. Who changes grants is the platform, with the administrator's key.
2. What an earlier call left undone when it was killed is finished.
3. What the policy doesn't give any more is written down (`access-changes.json`), withdrawn, and the dataset keys that
   it opened get versions that whoever lost it never had; then the note is removed.
4. Shares that the policy doesn't give are removed, after their dataset keys got a new version.
5. What is missing is granted, and dataset keys are shared, also those that got new versions above.

Withdrawals come first, so that a call that ends early leaves too little open and not too much. Each step looks at what
is there: the next call goes on after a kill anywhere, and one that finds nothing to do changes nothing.

Bytes on disk, `<home>/access-changes.json`, mode 0600, there only while a withdrawal isn't finished:

    {"format": 1, "renew": {"synthetic/plain/baskets": 3}, "revoke": [["ann", "synthetic/plain", "reporting"]]}

`renew` holds the version that each dataset key had before: one that still has it is given another.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from cloakhouse.contracts.access_parser import load_policy
from cloakhouse.errors import AccessRefused, CloakhouseError, IntegrityError
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile
from cloakhouse.keys.files import fsync_folder, locked, replacing, storage_error
from cloakhouse.keys.protocol import Grant, KeyName, KeyState
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.shares import Share, Shares
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.access import revoke_grants
from cloakhouse.stages.access_plan import Plan, missing_shares, plan_of, states
from cloakhouse.stages.auditing import changing, event, failures_recorded
from cloakhouse.stages.reading_access import principal_of

FORMAT = 1
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
    """

    done: Plan
    resumed: bool
    refused: tuple[tuple[str, CloakhouseError], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        grants = {name: [g.as_dict() for g in getattr(self.done, name)] for name in ("grant", "revoke", "outside")}
        return {
            "granted": grants["grant"],
            "revoked": grants["revoke"],
            "shared": [_named(s) for s in self.done.share],
            "unshared": [_named(s) for s in self.done.unshare],
            "outside": grants["outside"],
            "resumed": self.resumed,
            "refused": [{"what": what, **problem.as_dict()} for what, problem in self.refused],
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
        _require_administrator(settings)
    with locked(settings.home / ".access.lock", LOCK_WAIT_S, "the access policy"):
        ring, shares = open_ring(settings, reason), Shares(settings.key_shares)
        resumed = _resume(settings, ring, reason)
        plan = plan_of(policy, ring, shares, strict=strict)
        if plan.revoke:
            _note(settings, ring, shares, plan.revoke)
            _resume(settings, ring, reason)
        for share in plan.unshare:
            with changing(settings, _event(settings, Action.REVOKE, share, reason)):
                _renew(ring, {share.key.name: None})
                shares.remove(share)
        refused: list[tuple[str, CloakhouseError]] = []
        granted = list(_each(plan.grant, ring.service.grant, _name_of_grant, refused))
        files = {file.key: file for file in ring.all()}
        again = plan_of(policy, ring, shares).share
        give = _giving(settings, ring, shares, files, reason)
        shared = list(_each(again, give, _named, refused))
        kept = tuple(grant for grant in plan.outside if grant not in plan.revoke)
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
        files = {file.key: file for file in ring.all()}
        missing = tuple(missing_shares(policy, ring, shares))
        give = _giving(settings, ring, shares, files)
        for share in missing:
            give(share)
    return missing


def _giving(
    settings: Settings, ring: KeyRing, shares: Shares, files: dict[DatasetKey, DatasetKeyFile], reason: str = ""
) -> Callable[[Share], None]:
    """Return what writes a share; one that wasn't there is an event, one that is brought up to date gives nothing."""
    there = frozenset(shares.all())

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


def unfinished(settings: Settings) -> bool:
    """Return whether a killed call left withdrawals to finish."""
    return _notes(settings).exists()


def _require_administrator(settings: Settings) -> None:
    if settings.keys.startswith("age:") and principal_of(settings) is not None:
        raise AccessRefused(
            where="CLOAKHOUSE_IDENTITY",
            expected="the platform's own identity, and the administrator's key beside it, to change grants",
            found="the identity of a principal",
            not_done="no key and no grant was changed",
            remedy="have the platform's administrator do this; `--dry-run` shows what would be done",
            code="key",
        )


def _each(
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


def _note(settings: Settings, ring: KeyRing, shares: Shares, grants: Iterable[Grant]) -> None:
    """Write down what is to be withdrawn, and the version of each dataset key that it opens."""
    names = {grant.name for grant in grants}
    shared = {share.key for share in shares.all() if share.wrapping.master in names}
    exposed = {f.key.name: f.newest for f in _live(ring) if f.key.master in names or f.key in shared}
    content = {"format": FORMAT, "renew": exposed, "revoke": [[g.principal, g.name, g.purpose] for g in grants]}
    with replacing(_notes(settings)) as stream:
        stream.write(json.dumps(content, sort_keys=True).encode())


def _resume(settings: Settings, ring: KeyRing, reason: str) -> bool:
    """Do what is written down, and return whether anything was."""
    notes = _notes(settings)
    if not notes.exists():
        return False
    revoke, renew = _read(notes)
    held = set(ring.service.grants())
    revoke_grants(settings, [grant for grant in revoke if grant in held], reason)
    ring.announce()
    _renew(ring, renew)
    try:
        notes.unlink()
        fsync_folder(notes.parent)
    except OSError as fault:
        raise storage_error(fault, notes, "what was withdrawn is withdrawn; it will be looked at again") from None
    return True


def _read(notes: Path) -> tuple[list[Grant], dict[str, int | None]]:
    try:
        content = json.loads(notes.read_bytes())
        revoke = [Grant(principal, KeyName(name), purpose) for principal, name, purpose in content["revoke"]]
        return revoke, {DatasetKey.parse(name).name: int(version) for name, version in content["renew"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, IntegrityError):
        raise IntegrityError(
            where=notes.name,
            expected="what an earlier `cloakhouse access apply` noted, in format 1",
            found="another text",
            not_done="no grant was changed",
            remedy="remove the file, rotate the keys that were being withdrawn (`cloakhouse keys rotate`), run again",
            code="notes",
        ) from None


def _renew(ring: KeyRing, renew: dict[str, int | None]) -> None:
    """Give each dataset key another version, unless it has a newer one than the given version already."""
    live = {file.key.name: file for file in _live(ring)}
    for name, before in renew.items():
        file = live.get(name)
        if file is not None and (before is None or file.newest == before):
            ring.rotate(file.key)


def _live(ring: KeyRing) -> list[DatasetKeyFile]:
    """Return the dataset keys that open: a disabled master key's get their version when it is next rotated."""
    of_master = states(ring)
    live = [file for file in ring.all() if file.state is KeyState.ENABLED]
    return [file for file in live if of_master.get(file.key.master) is KeyState.ENABLED]


def _notes(settings: Settings) -> Path:
    return settings.home / "access-changes.json"


def _name_of_grant(grant: Grant) -> str:
    return f"{grant.name} to {grant.principal} for {grant.purpose}"


def _named(share: Share) -> str:
    return f"{share.key.name} with {share.role.replace('_', '-')}"
