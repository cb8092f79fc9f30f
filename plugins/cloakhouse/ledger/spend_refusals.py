"""What the privacy ledger says when it refuses."""

from __future__ import annotations

from cloakhouse.errors import AccessRefused, ConfigurationError, NotFound
from cloakhouse.ledger.allowance import Account, Balance, Spend, real_delta, real_rho


class BudgetExhausted(AccessRefused):
    """What is left of a privacy budget doesn't allow the spend (`access.budget`)."""


def exhausted(account: Account, balance: Balance, rho: int, delta: int) -> BudgetExhausted:
    """Return the refusal of a spend of `rho` (billionths) and `delta` (10^-18)."""
    wait = f"wait until it renews on {balance.renews:%Y-%m-%d} (UTC)" if balance.renews else "note that it never renews"
    return BudgetExhausted(
        where=f"the privacy budget of {account}",
        expected=f"at most what is left: rho {balance.left_rho:.9g}, delta {balance.left_delta:.3g}",
        found=f"rho {real_rho(rho):.9g} and delta {real_delta(delta):.3g} asked for; "
        f"rho {balance.spent_rho:.9g} is spent, {balance.reserved_rho:.9g} of it only reserved",
        not_done="nothing was spent on any account, and no noise was drawn",
        remedy=f"ask for a smaller epsilon, or {wait}; `cloakhouse budget show` tells what is left in epsilon, "
        "`cloakhouse budget history` what is reserved; privacyBudget in the contract sets it",
        code="budget",
    )


def misused(spend_id: str, expected: str, found: str, remedy: str) -> ConfigurationError:
    """Return the refusal of a request that can't be what was meant."""
    return ConfigurationError(
        where=f"the privacy spend {spend_id or 'without an id'}",
        expected=expected,
        found=found,
        not_done="nothing was spent, and no noise was drawn",
        remedy=remedy,
        code="spend",
    )


def ended(spend: Spend, kind: str) -> AccessRefused:
    """Return the refusal to `commit` or `release` (`kind`) a spend that ended the other way."""
    return AccessRefused(
        where=f"the privacy spend {spend.id}",
        expected=f"a reserved spend to {kind}",
        found=f"one that is {spend.state}",
        not_done="it stays as it is",
        remedy="what is out can't be taken back, and what was given back can't be used: reserve anew under another id",
        code="spend",
    )


def unknown(kind: str) -> NotFound:
    """Return the refusal to `commit` or `release` (`kind`) what was never reserved."""
    return NotFound(
        where="the privacy ledger",
        expected=f"a reserved spend to {kind}",
        found="none of that id",
        not_done="nothing was changed",
        remedy="`cloakhouse budget history` lists the ids",
        code="spend",
    )
