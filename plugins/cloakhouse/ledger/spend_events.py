"""Events of privacy spends, one for each account that is charged: `by` says who spends, why and in which run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cloakhouse.ledger.allowance import RELEASED, Account, Spend, real_delta, real_rho
from cloakhouse.ledger.audit_event import REFUSED, Action, Event
from cloakhouse.ledger.spends import Asked


def spent(by: Event, spend: Spend) -> list[Event]:
    """Return the events of `spend` in the state that it has come to: `give back` for a released one."""
    action = Action.GIVE_BACK if spend.state == RELEASED else Action.SPEND
    reason = by.reason or spend.reason
    return _of(replace(by, action=action, reason=reason), spend.id, spend.accounts, spend.rho, spend.delta, spend.state)


def refused(by: Event, spend_id: str, asked: Asked, code: str) -> list[Event]:
    """Return the events of a spend that an account had too little left for."""
    accounts, rho, delta, _ = asked
    described = replace(by, action=Action.SPEND, decision=REFUSED, code=code)
    return _of(described, spend_id, accounts, real_rho(rho), real_delta(delta), "refused")


def _of(
    described: Event, spend_id: str, accounts: Iterable[Account], rho: float, delta: float, state: str
) -> list[Event]:
    common = {**described.facts, "rho": format(rho, ".9g"), "spent_delta": format(delta, ".6g"), "state": state}
    return [
        replace(
            described,
            object=spend_id,
            dataset=account.dataset,
            count=0,
            facts={**common, "unit": account.unit, "consumer": account.consumer},
        )
        for account in accounts
    ]
