"""Checks of what the installation is told to be: contracts, access policy, revision of its tables, keys' rotation."""

from __future__ import annotations

import datetime as dt

from cloakhouse.contracts.access_parser import load_policy
from cloakhouse.contracts.model import Kind
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.protocol import KeyState
from cloakhouse.keys.shares import Shares
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.standing import CURRENT, EMPTY, standing
from cloakhouse.settings import Settings
from cloakhouse.stages.access_notes import unfinished, withdrawn
from cloakhouse.stages.access_plan import is_for_reading, plan_of
from cloakhouse.stages.health_model import Check, Found, fine, note, wrong
from cloakhouse.stages.key_status import key_status
from cloakhouse.stages.restored import closed_of
from cloakhouse.stages.retention_plan import undeclared

FOLLOW = "renew them with `cloakhouse access apply --shares`"
APPLY = "look with `cloakhouse access apply --dry-run`, then apply it"


def contracts(settings: Settings, _now: dt.datetime) -> Found:
    """Look at every contract, at what they say of each other, and at their suites."""
    if not settings.contracts.is_dir():
        return wrong("no folder of contracts", "set CLOAKHOUSE_CONTRACTS to the folder of the data contracts")
    found = load_contracts(settings.contracts)
    if not found:
        return wrong("a folder without contracts", "write one: docs/contracts.md")
    feeds = sum(contract.kind is Kind.FEED for contract in found.values())
    text = f"{len(found)} contracts, {feeds} of them of feeds"
    if missing := undeclared(found):
        dataset, zone = missing[0]
        return note(f"{text}; {len(missing)} zones without retention, e.g. {zone} of {dataset}", "declare `retention`")
    return fine(text)


def access(settings: Settings, _now: dt.datetime) -> Found:
    """Compare the access policy with grants and shares."""
    policy, ring, shares = load_policy(settings.policy), open_ring(settings), Shares(settings.key_shares)
    if unfinished(settings):
        return wrong("withdrawals that a killed `access apply` left", "go on with `cloakhouse access apply`")
    if gone := withdrawn(settings, ring.service.grants()):
        return wrong(f"{len(gone)} grants withdrawn, whose dataset keys are as before", FOLLOW)
    plan, held = plan_of(policy, ring, shares), [g for g in ring.service.grants() if is_for_reading(g)]
    to_give, to_take = len(plan.grant) + len(plan.share), len(plan.revoke) + len(plan.unshare)
    if to_take:
        return wrong(f"{to_take} grants and shares that no role gives", APPLY)
    if to_give and not held and not shares.all():
        return note("not applied yet: nobody but the platform reads", APPLY)
    if to_give:
        return wrong(f"{to_give} grants and shares that roles give and are not there", APPLY)
    return fine(f"{len(held)} grants as the policy says")


def revision(settings: Settings, _now: dt.datetime) -> Found:
    """Look at the revision of the control database's tables."""
    found = standing(settings.database)
    if found.state == EMPTY and found.kind == "SQLite":
        return note("no control database yet: the first run makes it")
    if found.state == CURRENT:
        return fine(f"revision {found.revision}")
    text = f"{found.state}: revision {found.revision or 'none'}, and {found.expected} is expected"
    remedy = "run `cloakhouse database upgrade`, after a backup"
    return note(text, remedy) if found.usable else wrong(text, remedy)


def rotation(settings: Settings, now: dt.datetime) -> Found:
    """Look for master keys past their rotation, and for those that don't open."""
    found = key_status(settings, now).masters
    live = [one for one in found if one.description.state is not KeyState.DESTROYED]
    closed = [one for one in live if one.description.state is not KeyState.ENABLED]
    late = [one for one in live if one.next_rotation is not None and one.next_rotation < now]
    if late:
        name = late[0].description.name
        remedy = "see the DAG rotate_keys, or run `cloakhouse keys rotate`"
        return wrong(f"{len(late)} of {len(live)} are overdue, e.g. {name}", remedy)
    if closed:
        name = closed[0].description.name
        return note(
            f"{len(closed)} of {len(live)} are disabled, e.g. {name}", "`cloakhouse keys enable` if not meant so"
        )
    return fine(f"{len(live)} master keys, none overdue")


def settled(settings: Settings, _now: dt.datetime) -> Found:
    """Look whether a restored home still waits for what happened after its backup."""
    closed = closed_of(settings)
    if closed is None:
        return fine("nothing waits")
    waits = {
        "later erasures": not closed.erasures_known,
        "persons to be erased again": not closed.erased,
        "later consents": not closed.consents_known,
    }
    left = ", ".join(name for name, open_ in waits.items() if open_) or "nothing more"
    return wrong(f"a backup restored and not settled: {left}", "`cloakhouse backup settle` (docs/runbooks/restore.md)")


CHECKS = (
    Check("contracts", "contracts that are valid and fit each other", contracts),
    Check("access policy", "grants and shares as the policy says", access, platform=True),
    Check("tables", "the revision of this version", revision),
    Check("key rotation", "no master key past its rotation", rotation, platform=True),
    Check("restored home", "nothing that waits to be settled", settled),
)
