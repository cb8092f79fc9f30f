"""From contracts to accounts, and the proof by accounting that an account never gives more than its contract says."""

from __future__ import annotations

import datetime as dt
import pickle
from pathlib import Path

import pytest
from tests.support.acting import by
from tests.support.budgets import BUDGET, installation, write_contracts

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import AccessRefused, ConfigurationError, ContractError, NotFound
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.budget import Account, BudgetExhausted, PrivacyLedger
from cloakhouse.privacy.accounting import epsilon_of, rho_of
from cloakhouse.settings import Settings
from cloakhouse.stages.spending import AccountState, allowance, balances, charges, epsilon_alone, release

REASON = "run 4711 was killed before it drew noise"
LINES = Account("transactions", "household", "default")
PEOPLE = Account("customers", "household", "default")
RESEARCH = Account("transactions", "household", "research")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return installation(tmp_path)


@pytest.fixture
def contracts(settings: Settings) -> dict[str, Contract]:
    return load_contracts(settings.contracts)


def test_every_source_with_a_budget_is_charged(contracts: dict[str, Contract]) -> None:
    found = charges(contracts, ["transactions", "customers", "products", "customers"], "household", "model teams")
    assert set(found) == {PEOPLE, LINES}
    assert (found[LINES].rho, found[PEOPLE].rho) == (rho_of(12.0, 1e-6), rho_of(6.0, 1e-6))
    assert {(a.delta, a.renewal) for a in found.values()} == {(1e-6, "year")}


def test_a_named_consumer_has_an_account_and_all_others_share_one(contracts: dict[str, Contract]) -> None:
    sources = ["transactions", "customers"]
    assert set(charges(contracts, sources, "household", "research")) == {RESEARCH, PEOPLE}
    assert charges(contracts, sources, "household", "anybody") == charges(contracts, sources, "household", "default")


@pytest.mark.parametrize(
    ("sources", "unit", "where"),
    [
        (["products"], "household", "the privacy budget of products"),
        (["transactions", "customers"], "card", "the privacy budget of customers, transactions"),
        ([], "household", "the privacy budget of no source"),
        (["transactions", "tills"], "household", "the source tills"),
    ],
)
def test_no_budget_no_release(contracts: dict[str, Contract], sources: list[str], unit: str, where: str) -> None:
    with pytest.raises(ContractError) as refusal:
        charges(contracts, sources, unit, "default")
    assert (refusal.value.where, refusal.value.code) == (where, "contract.budget")


def test_a_consumer_whom_no_entry_covers(tmp_path: Path) -> None:
    write_contracts(tmp_path, {"transactions": BUDGET.replace("default: 12, ", "")})
    with pytest.raises(ContractError, match="add the consumer"):
        charges(load_contracts(tmp_path), ["transactions"], "household", "marketing")


def test_one_release_of_the_whole_budget_fits_exactly(settings: Settings, contracts: dict[str, Contract]) -> None:
    for number, own_delta in enumerate((0.0, 5e-7, 9.99e-7)):
        account = charges(contracts, ["transactions"], "household", "research")
        ledger = PrivacyLedger(f"{settings.database}{number}")
        rho = rho_of(3.0, 1e-6 - own_delta)
        with pytest.raises(BudgetExhausted):
            ledger.reserve("too much", account, rho + 1e-8, own_delta, "x", by())
        ledger.reserve("all", account, rho, own_delta, "x", by())
        for extra in ((1e-9, 0.0), (1e-9, 1e-18)):
            with pytest.raises(BudgetExhausted):
                ledger.reserve("more", account, *extra, "x", by())


def test_all_that_fits_together_comes_to_no_more_than_the_contract_says(
    settings: Settings, contracts: dict[str, Contract]
) -> None:
    ledger, account = PrivacyLedger(settings.database), charges(contracts, ["transactions"], "household", "research")
    rho = delta = 0.0
    for number in range(40):
        asked = (0.011 + number / 1e4, 1e-7 if number % 3 == 0 else 0.0)
        try:
            ledger.reserve(str(number), account, *asked, "x", by())
        except BudgetExhausted:
            continue
        rho, delta = rho + asked[0], delta + asked[1]
    assert epsilon_of(rho, 1e-6 - delta) <= 3.0 < epsilon_of(rho + 0.02, 1e-6 - delta)
    assert delta > 1e-7


def test_an_allowance_that_no_delta_is_left_for(contracts: dict[str, Contract]) -> None:
    budget = contracts["transactions"].privacy_budget
    assert budget is not None
    found = pickle.loads(pickle.dumps(allowance(budget, "research")))
    assert found.rho_at is not None
    assert found.rho_at(1e-6) == found.rho_at(2e-6) == 0.0
    assert found.rho_at(5e-7) == rho_of(3.0, 5e-7)
    assert found.ceiling(10**12) == 0


def test_balances_in_epsilon(settings: Settings, contracts: dict[str, Contract]) -> None:
    fresh = balances(settings)
    assert [state.account for state in fresh] == [PEOPLE, LINES, RESEARCH]
    assert [(s.epsilon, s.spent) for s in fresh] == [(6.0, 0.0), (12.0, 0.0), (3.0, 0.0)]
    assert [s.left for s in fresh] == pytest.approx([6.0, 12.0, 3.0], abs=1e-6)
    ledger = PrivacyLedger(settings.database)
    spend = ledger.reserve(
        "a", charges(contracts, ["transactions", "customers"], "household", "x"), rho_of(3.0, 1e-6), 0.0, "x", by()
    )
    people, lines, research = balances(settings)
    assert people.spent == lines.spent == pytest.approx(3.0, abs=1e-6)
    assert people.left == epsilon_of(people.balance.left_rho, 1e-6)
    assert people.left is not None
    assert people.left > 6.0 - 3.0
    assert research.spent == 0.0
    assert epsilon_alone(contracts, spend) == people.spent
    year = dt.datetime.now(dt.UTC).year
    assert people.as_dict() == {
        "dataset": "customers",
        "unit": "household",
        "consumer": "default",
        "epsilon": 6.0,
        "delta": 1e-6,
        "spent_epsilon": people.spent,
        "left_epsilon": people.left,
        "spent_rho": spend.rho,
        "spent_delta": 0.0,
        "left_rho": people.balance.left_rho,
        "left_delta": 1e-6,
        "reserved_rho": spend.rho,
        "renewal": "year",
        "renews": f"{year + 1}-01-01T00:00:00+00:00",
    }


def test_a_budget_that_was_lowered_or_taken_away(settings: Settings, contracts: dict[str, Contract]) -> None:
    ledger = PrivacyLedger(settings.database)
    spend = ledger.reserve("a", charges(contracts, ["transactions"], "household", "x"), 0.5, 5e-7, "x", by())

    def changed(budget: str) -> list[AccountState]:
        write_contracts(settings.contracts, {"transactions": budget, "customers": ""})
        return balances(settings)

    lowered = changed(BUDGET.replace("1.0e-6", "1.0e-7"))[0]
    assert (lowered.spent, lowered.balance.left_rho, lowered.balance.left_delta, lowered.left) == (None, 0.0, 0.0, 0.0)
    assert epsilon_alone(load_contracts(settings.contracts), spend) is None
    raised = changed(BUDGET.replace("1.0e-6, renewal: year", "0.00005, renewal: never"))[0]
    assert raised.spent == epsilon_of(0.5, 4.95e-5) == epsilon_alone(load_contracts(settings.contracts), spend)
    assert raised.as_dict()["renews"] is None
    assert changed("") == []
    assert epsilon_alone(load_contracts(settings.contracts), spend) is None
    assert epsilon_alone({}, spend) is None


def events(settings: Settings) -> list[tuple[str, str, str, str, str]]:
    return [(e.actor, e.action, e.object, e.decision, e.code) for e in AuditLog(settings.database).events()]


def test_a_dead_run_s_spend_is_given_back_and_recorded(settings: Settings, contracts: dict[str, Contract]) -> None:
    ledger = PrivacyLedger(settings.database)
    ledger.reserve("a", charges(contracts, ["transactions"], "household", "x"), 0.5, 0.0, "x", by())
    found = release(settings, "a", f" {REASON} ")
    assert (found.state, found.reason) == ("released", REASON)
    assert ledger.spends() == [found]
    assert events(settings)[1:] == [("platform", "give back", "a", "allowed", "")]


def test_releases_that_are_refused_are_recorded_too(settings: Settings, contracts: dict[str, Contract]) -> None:
    ledger = PrivacyLedger(settings.database)
    ledger.reserve("a", charges(contracts, ["transactions"], "household", "x"), 0.5, 0.0, "x", by())
    with pytest.raises(ConfigurationError):
        release(settings, "a", "why not")
    assert ledger.spends()[0].state == "reserved"
    ledger.commit("a", by())
    with pytest.raises(AccessRefused):
        release(settings, "a", REASON)
    with pytest.raises(NotFound):
        release(settings, "b", REASON)
    assert events(settings)[2:] == [
        ("platform", "give back", "a", "refused", "access.spend"),
        ("platform", "give back", "another id", "refused", "not-found.spend"),
    ]
    assert ledger.spends()[0].state == "committed"
