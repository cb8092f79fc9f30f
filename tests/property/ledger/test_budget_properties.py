"""Random histories of the ledger against a model of exact fractions, in the order in which people may act."""

from __future__ import annotations

import datetime as dt
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support import databases
from tests.support.acting import by

from cloakhouse.errors import AccessRefused, ConfigurationError, NotFound
from cloakhouse.ledger.budget import Account, Allowance, BudgetExhausted, PrivacyLedger, Spend

START = dt.datetime(2030, 11, 29, 23, tzinfo=dt.UTC)
ACCOUNTS = {
    Account("transactions", "household", "default"): Allowance(1.0, 1e-6, "month"),
    Account("transactions", "household", "research"): Allowance(0.3, 0.0, "never"),
    Account("customers", "household", "default"): Allowance(0.7, 5e-7, "year"),
}
IDS = st.sampled_from([f"release {number}" for number in range(8)])


class Histories(RuleBasedStateMachine):
    kind = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = databases.fresh(self.kind, Path(self.folder.name))
        self.ledger = PrivacyLedger(self.database.__enter__())
        self.now = START
        self.known: dict[str, dict[str, Any]] = {}

    def teardown(self) -> None:
        self.ledger._engine.dispose()
        self.database.__exit__(None, None, None)
        self.folder.cleanup()

    def counted(self, account: Account) -> list[dict[str, Any]]:
        since = ACCOUNTS[account].window(self.now)[0]
        return [
            spend
            for spend in self.known.values()
            if account in spend["accounts"] and spend["state"] != "released" and spend["at"] >= since
        ]

    def total(self, account: Account, what: str) -> Fraction:
        return sum((spend[what] for spend in self.counted(account)), Fraction(0))

    @rule(hours=st.integers(1, 24 * 40))
    def time_passes(self, hours: int) -> None:
        self.now += dt.timedelta(hours=hours)

    @rule(
        name=IDS,
        accounts=st.sets(st.sampled_from(sorted(ACCOUNTS)), min_size=1),
        rho=st.integers(1, 4 * 10**8),
        delta=st.sampled_from([0, 0, 10**11, 4 * 10**11]),
    )
    def reserve(self, name: str, accounts: set[Account], rho: int, delta: int) -> None:
        asked = {"accounts": accounts, "rho": Fraction(rho, 10**9), "delta": Fraction(delta, 10**18)}
        fits = all(
            self.total(account, what) + asked[what] <= Fraction(str(getattr(ACCOUNTS[account], what)))
            for account in accounts
            for what in ("rho", "delta")
        )
        charges = {account: ACCOUNTS[account] for account in accounts}
        known = self.known.get(name)
        try:
            self.ledger.reserve(name, charges, rho / 1e9, delta / 1e18, "a test", by(), self.now)
        except BudgetExhausted:
            assert known is None
            assert not fits
        except ConfigurationError:
            assert known is not None
            assert known["state"] == "released" or any(known[key] != asked[key] for key in asked)
        else:
            assert known is not None or fits
            self.known.setdefault(name, {**asked, "state": "reserved", "at": self.now})

    @rule(name=IDS, release=st.booleans())
    def end(self, name: str, release: bool) -> None:
        known, state = self.known.get(name), "released" if release else "committed"
        try:
            spend = (
                self.ledger.release(name, "r", by(), self.now) if release else self.ledger.commit(name, by(), self.now)
            )
        except NotFound:
            assert known is None
        except AccessRefused:
            assert known is not None
            assert known["state"] not in ("reserved", state)
        else:
            assert known is not None
            assert known["state"] in ("reserved", state)
            known["state"] = spend.state
            assert spend.state == state

    @invariant()
    def the_entries_come_to_what_the_ledger_says(self) -> None:
        replayed = self.ledger.replay()
        assert replayed == self.ledger.spends()
        assert {spend.id: spend.state for spend in replayed} == {n: s["state"] for n, s in self.known.items()}
        for account, allowance in ACCOUNTS.items():
            balance = self.ledger.balance(account, allowance, self.now)
            assert balance.spent_rho == float(self.total(account, "rho")) == folded(replayed, account, self.now)
            assert balance.spent_delta == float(self.total(account, "delta"))
            assert balance.left_rho == float(Fraction(str(allowance.rho)) - self.total(account, "rho"))
            assert balance.left_rho >= 0
            reserved = sum(s["rho"] for s in self.counted(account) if s["state"] == "reserved")
            assert balance.reserved_rho == float(reserved)


def folded(spends: list[Spend], account: Account, at: dt.datetime) -> float:
    """Return what the replayed spends alone come to."""
    since = ACCOUNTS[account].window(at)[0]
    mine = (s for s in spends if account in s.accounts and s.state != "released" and s.reserved_at >= since)
    return float(sum((Fraction(str(s.rho)) for s in mine), Fraction(0)))


class HistoriesOnPostgresql(Histories):
    kind = "postgresql"


QUICK = settings(max_examples=12, stateful_step_count=25, deadline=None)
TestHistories = Histories.TestCase
TestHistories.settings = QUICK
TestHistoriesOnPostgresql = pytest.mark.stores(HistoriesOnPostgresql.TestCase)
TestHistoriesOnPostgresql.settings = QUICK
