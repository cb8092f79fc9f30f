"""From contracts to privacy budgets: which accounts a release charges, and what is left on each.

A contract's budget is an epsilon at a delta, per consumer and period. The ledger counts rho of zCDP and the deltas that
mechanisms spend directly; together they may come to that pair and no more: what deltas were spent directly is taken off
the delta at which rho is converted. Consumers that the contract doesn't name share the one account `default`, so that
nobody gains a budget by taking another name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cloakhouse.contracts.model import Contract, PrivacyBudget
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import ContractError
from cloakhouse.ledger.allowance import real_delta, whole_delta
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.budget import Account, Allowance, Balance, PrivacyLedger, Spend
from cloakhouse.privacy.accounting import MAX_RHO, epsilon_of, rho_of
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import asked, refusals_recorded

DEFAULT = "default"  # the consumer that stands for all whom a contract doesn't name


@dataclass(frozen=True)
class AccountState:
    """An account of a contract's budget, in epsilon at the contract's delta.

    Attributes:
        account: whose.
        epsilon, delta, renewal: what the contract allows.
        spent: epsilon that all spends of the period come to together, rounded up; reserved ones count. None when they
            come to more than can be stated at that delta, which takes a contract whose budget was lowered.
        left: epsilon of one release that would use up the rest. It isn't `epsilon` - `spent`: rho adds up, epsilons
            don't.
        balance: the same in rho and delta.
    """

    account: Account
    epsilon: float
    delta: float
    renewal: str
    spent: float | None
    left: float | None
    balance: Balance

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        numbers = {name: getattr(self.balance, name) for name in ("spent_rho", "spent_delta", "left_rho", "left_delta")}
        return {
            **vars(self.account),
            "epsilon": self.epsilon,
            "delta": self.delta,
            "spent_epsilon": self.spent,
            "left_epsilon": self.left,
            **numbers,
            "reserved_rho": self.balance.reserved_rho,
            "renewal": self.renewal,
            "renews": self.balance.renews.isoformat() if self.balance.renews else None,
        }


def charges(
    contracts: Mapping[str, Contract], sources: Iterable[str], unit: str, consumer: str
) -> dict[Account, Allowance]:
    """Return the accounts that a release from `sources` to `consumer` charges, and what each allows.

    Charged is every source whose contract has a budget for `unit`. Raises ContractError when none has one, for a
    source without a contract, and when a budget has nothing for the consumer.
    """
    found: dict[Account, Allowance] = {}
    names = sorted(set(sources))
    for name in names:
        if name not in contracts:
            raise _refused(f"the source {name}", "a contract", "none", "write its contract, or correct its name")
        budget = contracts[name].privacy_budget
        if budget is None or budget.unit != unit:
            continue
        key = consumer if consumer in budget.epsilon else DEFAULT
        if key not in budget.epsilon:
            expected, remedy = "one for this consumer, or `default`", "add the consumer to privacyBudget.epsilon"
            raise _refused(f"the privacy budget of {name}", expected, "neither", remedy)
        found[Account(name, unit, key)] = allowance(budget, key)
    if not found:
        where = "the privacy budget of " + (", ".join(names) or "no source")
        remedy = "declare privacyBudget in the contract of a source: unit, delta, renewal, epsilon by consumer"
        raise _refused(where, f"a budget per {unit} in at least one contract", "none", remedy)
    return found


def allowance(budget: PrivacyBudget, consumer: str) -> Allowance:
    """Return what `budget` allows `consumer`, one of its epsilon's keys. Raises ContractError as `rho_of`."""
    epsilon = budget.epsilon[consumer]
    rho_at = partial(_rho_at, epsilon, budget.delta)
    return Allowance(rho_of(epsilon, budget.delta), budget.delta, budget.renewal, rho_at)


def balances(settings: Settings) -> list[AccountState]:
    """Return every account that the contracts give a budget, in order, as it is now.

    Raises ContractError, StorageError.
    """
    ledger = PrivacyLedger(settings.database)
    states = []
    for name, contract in sorted(load_contracts(settings.contracts).items()):
        if budget := contract.privacy_budget:
            states += [_state(ledger, Account(name, budget.unit, key), budget) for key in sorted(budget.epsilon)]
    return states


def epsilon_alone(contracts: Mapping[str, Contract], spend: Spend) -> float | None:
    """Return the epsilon that `spend` alone comes to, at the smallest delta of the budgets it charges.

    None when no contract has such a budget any more, or its delta is less than was spent directly.
    """
    charged = (contracts[account.dataset] for account in spend.accounts if account.dataset in contracts)
    deltas = [contract.privacy_budget.delta for contract in charged if contract.privacy_budget]
    return _epsilon(spend.rho, _less(min(deltas), spend.delta)) if deltas else None


def release(settings: Settings, spend_id: str, reason: str) -> Spend:
    """Return the reserved spend of `spend_id`, given back, for a run that is dead; the audit events go with it.

    Raises NotFound and AccessRefused as the ledger's `release`, ConfigurationError for a reason that can't stand,
    AccessRefused (`access.identity`) for somebody unknown, KeyServiceError, StorageError.
    """
    ledger = PrivacyLedger(settings.database)
    known = any(spend.id == spend_id for spend in ledger.spends())
    what = spend_id if known else "another id"  # which may be any text
    log, event = asked(settings, Action.GIVE_BACK, what, reason, 0, platform=True)
    with refusals_recorded(log, event):
        return ledger.release(spend_id, event.reason, event)


def _state(ledger: PrivacyLedger, account: Account, budget: PrivacyBudget) -> AccountState:
    balance = ledger.balance(account, allowance(budget, account.consumer))
    rest = _less(budget.delta, balance.spent_delta)
    return AccountState(
        account,
        budget.epsilon[account.consumer],
        budget.delta,
        budget.renewal,
        spent=_epsilon(balance.spent_rho, rest),
        left=_epsilon(balance.left_rho, rest),
        balance=balance,
    )


def _rho_at(epsilon: float, delta: float, spent: float) -> float:
    """Return the rho that (`epsilon`, `delta`) allows once `spent` of delta is; 0 where that leaves nothing."""
    rest = _less(delta, spent)
    return rho_of(epsilon, rest) if rest else 0.0


def _less(delta: float, spent: float) -> float:
    """Return `delta` less `spent`, rounded down; 0 where nothing is left."""
    return real_delta(max(0, whole_delta(delta, up=False) - whole_delta(spent, up=True)))


def _epsilon(rho: float, delta: float) -> float | None:
    if not rho:
        return 0.0
    return epsilon_of(rho, delta) if delta and rho <= MAX_RHO else None


def _refused(where: str, expected: str, found: str, remedy: str) -> ContractError:
    return ContractError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing was spent, no noise was drawn, and nothing was released",
        remedy=remedy,
        code="budget",
    )
