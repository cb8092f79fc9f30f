"""`cloakhouse budget show | history | release`: what was spent of the privacy budgets, and what is left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show as out
from cloakhouse.client.key_common import told
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    from cloakhouse.stages.spending import AccountState

ACCOUNTS = (
    Heading("dataset"),
    Heading("unit"),
    Heading("consumer"),
    Heading("epsilon", "allowed\nepsilon", right=True),
    Heading("spent", "spent\nepsilon", right=True),
    Heading("left", "left\nepsilon", right=True),
    Heading("delta", right=True),
    Heading("renews"),
)
SPENDS = (
    Heading("id", whole=True),
    Heading("reserved", "reserved (UTC)"),
    Heading("state"),
    Heading("datasets"),
    Heading("rho", right=True),
    Heading("epsilon", "epsilon\nalone", right=True),
    Heading("purpose"),
)


@click.group()
def budget() -> None:
    """Show privacy budgets, and release what a dead run reserved.

    Guarantees are per unit of privacy (a household). Spends add up in rho of zCDP, not in epsilon, so the epsilon that
    is left isn't the one allowed less the one spent.
    """


@budget.command()
@output_option
def show(output: str) -> None:
    """List the accounts: allowed, spent and left in epsilon, and when they renew.

    Reserved spends count as spent. `left` is the epsilon of one release that would use up the rest.
    """
    from cloakhouse.client.control import explained
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages.spending import balances

    settings = installed()
    with explained(settings):
        states = balances(settings)
    if output == "json":
        out.write_json([state.as_dict() for state in states])
    elif states:
        out.write_table(ACCOUNTS, [_account(state) for state in states])
    else:
        out.note("no contract has a privacy budget (privacyBudget): nothing that needs one can be released")


@budget.command()
@click.option("--dataset", help="Only what was spent on this dataset.")
@output_option
def history(dataset: str | None, output: str) -> None:
    """List the spends, oldest first: id, state, rho, and the epsilon that each would come to alone."""
    from cloakhouse.client.control import explained
    from cloakhouse.client.disclosing import installed
    from cloakhouse.contracts.parser import load_contracts
    from cloakhouse.ledger.budget import PrivacyLedger
    from cloakhouse.stages.spending import epsilon_alone

    settings = installed()
    contracts = load_contracts(settings.contracts)
    with explained(settings):
        spends = PrivacyLedger(settings.database).spends()
    spends = [s for s in spends if dataset is None or any(account.dataset == dataset for account in s.accounts)]
    if dataset is not None and not spends and dataset not in contracts:
        raise _no_such(dataset, sorted(contracts))
    records = [{**spend.as_dict(), "epsilon_alone": epsilon_alone(contracts, spend)} for spend in spends]
    if output == "json":
        out.write_json(records)
    elif records:
        out.write_table(SPENDS, [_spend(record) for record in records])
    else:
        out.note("nothing has been spent yet")


@budget.command()
@click.argument("spend_id")
@click.option("--reason", required=True, help="Why, for the record: 10 to 500 characters.")
@output_option
def release(spend_id: str, reason: str, output: str) -> None:
    """Give back what a dead run had reserved.

    Only when its run has ended and nothing that it made of the data was seen by anybody: a committed spend can't be
    given back, and a reserved one whose result is out must be left as it is. It is recorded (`cloakhouse audit list`).
    """
    from cloakhouse.client.control import explained
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages import spending

    settings = installed()
    with explained(settings):
        spend = spending.release(settings, spend_id, reason)
    told(
        output,
        spend.as_dict(),
        f"released {spend.id}: rho {spend.rho:.9g} is given back to " + ", ".join(map(str, spend.accounts)),
    )


def _account(state: AccountState) -> dict[str, Any]:
    renews = state.balance.renews
    return {
        **vars(state.account),
        "epsilon": f"{state.epsilon:.3f}",
        "spent": _rounded_up(state.spent),
        "left": "-" if state.left is None else f"{state.left:.3f}",
        "delta": f"{state.delta:g}",
        "renews": f"{renews:%Y-%m-%d}" if renews else "never",
    }


def _spend(record: dict[str, Any]) -> dict[str, Any]:
    return {
        **record,
        "reserved": record["reserved_at"][:19].replace("T", " "),
        "datasets": ", ".join(sorted({account["dataset"] for account in record["accounts"]})),
        "epsilon": _rounded_up(record["epsilon_alone"]),
    }


def _rounded_up(epsilon: float | None) -> str:
    return "-" if epsilon is None else f"{math.ceil(epsilon * 1000) / 1000:.3f}"


def _no_such(dataset: str, known: list[str]) -> Exception:
    from cloakhouse.errors import NotFound

    return NotFound(
        where="--dataset",
        expected="one of: " + ", ".join(known),
        found="none of that name",
        not_done="nothing was listed",
        remedy="`cloakhouse contracts` lists them",
        code="dataset",
    )
