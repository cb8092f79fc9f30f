"""The privacy ledger: exact sums, periods, refusals, many processes, and crashes."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.acting import by
from tests.support.forks import at_once
from tests.support.processes import in_fork, run

from cloakhouse.errors import AccessRefused, CloakhouseError, ConfigurationError, ContractError, NotFound
from cloakhouse.ledger import budget
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.budget import Account, Allowance, Balance, BudgetExhausted, PrivacyLedger, Spend

NOON = dt.datetime(2030, 5, 17, 12, tzinfo=dt.UTC)
LINES = Account("transactions", "household", "default")
PEOPLE = Account("customers", "household", "default")
YEARLY = Allowance(1.0, 1e-6, "year")
BOTH = {LINES: YEARLY, PEOPLE: replace(YEARLY, rho=0.5)}


@pytest.fixture
def ledger(url: str) -> PrivacyLedger:
    return PrivacyLedger(url)


def reserve(ledger: PrivacyLedger, name: str, rho: float, delta: float = 0.0, **more: Any) -> Spend:
    given = {"charges": {LINES: YEARLY}, "purpose": "a test", "by": by(), "at": NOON, **more}
    return ledger.reserve(name, rho=rho, delta=delta, **given)


def state(ledger: PrivacyLedger, at: dt.datetime = NOON) -> tuple[list[Spend], Balance]:
    return ledger.spends(), ledger.balance(LINES, YEARLY, at)


def test_a_spend_is_reserved_on_every_account_and_committed(ledger: PrivacyLedger, url: str) -> None:
    found = ledger.reserve("baskets@1", BOTH, 0.1, 1e-9, "synthetic baskets", by(), NOON)
    expected = Spend("baskets@1", (PEOPLE, LINES), 0.1, 1e-9, "synthetic baskets", "reserved", NOON)
    assert found == expected
    assert ledger.balance(LINES, YEARLY, NOON) == Balance(
        spent_rho=0.1,
        spent_delta=1e-9,
        left_rho=0.9,
        left_delta=9.99e-7,
        reserved_rho=0.1,
        renews=dt.datetime(2031, 1, 1, tzinfo=dt.UTC),
    )
    assert ledger.balance(PEOPLE, BOTH[PEOPLE], NOON).left_rho == 0.4
    later = NOON + dt.timedelta(hours=1)
    committed = replace(expected, state="committed", ended_at=later)
    assert ledger.commit("baskets@1", by(), later) == committed
    assert ledger.commit("baskets@1", by(), later + dt.timedelta(1)) == committed
    assert PrivacyLedger(url).spends() == [committed] == ledger.replay()
    assert ledger.balance(LINES, YEARLY, NOON).reserved_rho == 0.0
    assert ledger.balance(LINES, YEARLY, NOON).left_rho == 0.9
    assert committed.as_dict() == {
        "id": "baskets@1",
        "accounts": [
            {"dataset": "customers", "unit": "household", "consumer": "default"},
            {"dataset": "transactions", "unit": "household", "consumer": "default"},
        ],
        "rho": 0.1,
        "delta": 1e-9,
        "purpose": "synthetic baskets",
        "state": "committed",
        "reserved_at": "2030-05-17T12:00:00+00:00",
        "ended_at": "2030-05-17T13:00:00+00:00",
        "reason": "",
    }


def test_all_accounts_or_none(ledger: PrivacyLedger) -> None:
    ledger.reserve("a", BOTH, 0.4, 0.0, "x", by(), NOON)
    with pytest.raises(BudgetExhausted) as refusal:
        ledger.reserve("b", BOTH, 0.2, 0.0, "x", by(), NOON)
    assert isinstance(refusal.value, AccessRefused)
    assert refusal.value.code == "access.budget"
    assert refusal.value.where == "the privacy budget of customers (per household, for default)"
    assert refusal.value.expected == "at most what is left: rho 0.1, delta 1e-06"
    assert refusal.value.found == "rho 0.2 and delta 0 asked for; rho 0.4 is spent, 0.4 of it only reserved"
    assert "wait until it renews on 2031-01-01 (UTC)" in refusal.value.remedy
    assert [spend.id for spend in ledger.spends(LINES)] == ["a"]
    reserve(ledger, "c", 0.6)
    assert [spend.id for spend in ledger.spends(LINES)] == ["a", "c"]
    assert [spend.id for spend in ledger.spends(PEOPLE)] == ["a"]
    assert [spend.id for spend in ledger.replay()] == ["a", "c"]


def test_a_budget_that_never_renews_says_so(ledger: PrivacyLedger) -> None:
    with pytest.raises(BudgetExhausted, match="never renews"):
        reserve(ledger, "a", 2.0, charges={LINES: Allowance(1.0, 0.0, "never")})


def test_ten_tenths_are_one_and_not_a_bit_more(ledger: PrivacyLedger) -> None:
    for number in range(10):
        reserve(ledger, str(number), 0.1)
    assert ledger.balance(LINES, YEARLY, NOON).left_rho == 0.0
    with pytest.raises(BudgetExhausted):
        reserve(ledger, "more", 1e-12)


def test_spends_are_rounded_up_and_allowances_down(ledger: PrivacyLedger) -> None:
    tight = {LINES: Allowance(2.9999999999e-9, 1.9e-18, "year")}
    spent = reserve(ledger, "a", 1.1e-9, 1e-20, charges=tight)
    assert (spent.rho, spent.delta) == (2e-9, 1e-18)
    with pytest.raises(BudgetExhausted):
        reserve(ledger, "b", 1e-15, charges=tight)
    with pytest.raises(BudgetExhausted):
        reserve(ledger, "b", 1e-9, 1e-30, charges={LINES: Allowance(1.0, 1.9e-18, "year")})


def test_deltas_are_a_budget_of_their_own(ledger: PrivacyLedger) -> None:
    reserve(ledger, "a", 0.1, 9e-7)
    with pytest.raises(BudgetExhausted):
        reserve(ledger, "b", 0.1, 1.1e-7)
    reserve(ledger, "b", 0.1, 1e-7)
    assert ledger.balance(LINES, YEARLY, NOON).left_delta == 0.0


def test_delta_spent_directly_lowers_the_rho_that_may_be(ledger: PrivacyLedger) -> None:
    asked: list[float] = []

    def rho_at(delta: float) -> float:
        asked.append(delta)
        return 0.5 if delta < 5e-7 else 7.0

    charges = {LINES: replace(YEARLY, rho_at=rho_at)}
    reserve(ledger, "a", 0.6, charges=charges)  # no delta spent: rho counts
    assert asked == []
    with pytest.raises(BudgetExhausted):
        reserve(ledger, "b", 0.1, 1e-9, charges=charges)
    assert asked[0] == 1e-9
    reserve(ledger, "b", 0.4, 6e-7, charges=charges)  # never more than rho
    assert ledger.balance(LINES, charges[LINES], NOON).left_rho == 0.0


@pytest.mark.parametrize(
    ("renewal", "last", "start", "end"),
    [
        ("year", "2030-12-31T23:59:59.999999", "2030-01-01", "2031-01-01"),
        ("year", "2030-01-01T00:00:00", "2030-01-01", "2031-01-01"),
        ("quarter", "2030-12-31T23:59:59.999999", "2030-10-01", "2031-01-01"),
        ("quarter", "2030-06-30T23:59:59.999999", "2030-04-01", "2030-07-01"),
        ("month", "2030-12-01T00:00:00", "2030-12-01", "2031-01-01"),
        ("month", "2032-02-29T12:00:00", "2032-02-01", "2032-03-01"),
        ("never", "2032-02-29T12:00:00", "0001-01-01", None),
    ],
)
def test_periods_of_the_calendar(renewal: str, last: str, start: str, end: str | None) -> None:
    found = Allowance(1.0, 0.0, renewal).window(dt.datetime.fromisoformat(last))
    first, after = (dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC) if day else None for day in (start, end))
    assert found == (first, after)


@pytest.mark.parametrize("renewal", ["year", "quarter", "month"])
def test_a_budget_renews_with_the_period_in_utc(ledger: PrivacyLedger, renewal: str) -> None:
    edge = dt.datetime(2031, 1, 1, tzinfo=dt.UTC)
    east = dt.timezone(dt.timedelta(hours=14))
    account = {LINES: Allowance(1.0, 0.0, renewal)}
    before = (edge - dt.timedelta(microseconds=1)).astimezone(east)
    assert before.year == 2031  # there; in UTC it is not
    reserve(ledger, "a", 1.0, charges=account, at=before)
    with pytest.raises(BudgetExhausted):
        reserve(ledger, "b", 1e-9, charges=account, at=before)
    assert ledger.balance(LINES, account[LINES], before).left_rho == 0.0
    assert ledger.balance(LINES, account[LINES], edge).left_rho == 1.0
    reserve(ledger, "b", 1.0, charges=account, at=edge)
    assert ledger.balance(LINES, account[LINES], edge).left_rho == 0.0
    ledger.commit("a", by(), edge)  # counts where it was reserved
    assert ledger.balance(LINES, account[LINES], edge).spent_rho == 1.0


def test_a_budget_that_never_renews(ledger: PrivacyLedger) -> None:
    account = {LINES: Allowance(1.0, 0.0, "never")}
    reserve(ledger, "a", 0.7, charges=account, at=dt.datetime(1999, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(BudgetExhausted):
        reserve(ledger, "b", 0.7, charges=account, at=dt.datetime(2999, 1, 1, tzinfo=dt.UTC))


def test_a_spend_dated_ahead_by_a_fast_clock_counts_now_as_well(ledger: PrivacyLedger) -> None:
    reserve(ledger, "a", 0.7, at=NOON.replace(year=2031))
    assert ledger.balance(LINES, YEARLY, NOON).left_rho == 0.3


def test_now_is_the_default(ledger: PrivacyLedger) -> None:
    spend = ledger.reserve("a", {LINES: YEARLY}, 0.7, 0.0, "x", by())
    ended = ledger.commit("a", by()).ended_at
    assert ended is not None
    assert dt.timedelta(0) <= ended - spend.reserved_at < dt.timedelta(minutes=1)
    assert ledger.balance(LINES, YEARLY).left_rho == 0.3


def test_what_is_released_may_be_spent_again(ledger: PrivacyLedger) -> None:
    reserve(ledger, "a", 1.0)
    found = ledger.release("a", "the run is dead", by(), NOON)
    assert (found.state, found.reason, found.ended_at) == ("released", "the run is dead", NOON)
    assert ledger.release("a", "again", by(), NOON + dt.timedelta(1)) == found == ledger.check_release("a")
    assert ledger.balance(LINES, YEARLY, NOON).left_rho == 1.0
    reserve(ledger, "b", 1.0)


def test_the_same_id_for_the_same_is_the_same_spend(ledger: PrivacyLedger) -> None:
    first = reserve(ledger, "a", 0.8, 1e-7)
    assert reserve(ledger, "a", 0.8, 1e-7, at=NOON + dt.timedelta(1)) == first
    ledger.commit("a", by(), NOON)
    assert reserve(ledger, "a", 0.8, 1e-7).state == "committed"
    assert len(ledger.spends()) == 1
    assert ledger.balance(LINES, YEARLY, NOON).spent_rho == 0.8


@pytest.mark.parametrize(
    "other", [{"rho": 0.2}, {"delta": 2e-9}, {"purpose": "another"}, {"charges": BOTH}, {"charges": {PEOPLE: YEARLY}}]
)
def test_the_same_id_for_something_else_is_refused(ledger: PrivacyLedger, other: dict[str, Any]) -> None:
    reserve(ledger, "a", 0.1, 1e-9)
    before = state(ledger)
    with pytest.raises(ConfigurationError) as refusal:
        reserve(ledger, "a", **{"rho": 0.1, "delta": 1e-9, **other})
    assert refusal.value.code == "configuration.spend"
    assert state(ledger) == before


def test_the_id_of_a_released_spend_is_used_up(ledger: PrivacyLedger) -> None:
    reserve(ledger, "a", 0.1)
    ledger.release("a", "x", by(), NOON)
    with pytest.raises(ConfigurationError, match="a released one"):
        reserve(ledger, "a", 0.1)


def test_what_has_ended_stays_as_it_is(ledger: PrivacyLedger) -> None:
    for name in ("out", "back"):
        reserve(ledger, name, 0.1)
    ledger.commit("out", by(), NOON)
    ledger.release("back", "x", by(), NOON)
    before = state(ledger)
    calls: list[Callable[[], Any]] = [
        lambda: ledger.release("out", "x", by()),
        lambda: ledger.check_release("out"),
        lambda: ledger.commit("back", by()),
    ]
    for call in calls:
        with pytest.raises(AccessRefused) as refusal:
            call()
        assert refusal.value.code == "access.spend"
    assert state(ledger) == before


def test_what_was_never_reserved_cannot_end(ledger: PrivacyLedger) -> None:
    for call in (
        partial(ledger.commit, "a", by()),
        partial(ledger.release, "a", "x", by()),
        partial(ledger.check_release, "a"),
    ):
        with pytest.raises(NotFound) as refusal:
            call()
        assert refusal.value.code == "not-found.spend"


@pytest.mark.parametrize("bad", [0.0, -0.1, float("nan"), float("inf"), 1e300])
def test_amounts_that_are_none(ledger: PrivacyLedger, bad: float) -> None:
    calls: list[Callable[[], Any]] = [lambda: reserve(ledger, "a", bad)]
    if bad:
        calls += [lambda: reserve(ledger, "a", 0.1, bad), lambda: Allowance(bad, 0.0, "year")]
        calls += [lambda: Allowance(0.1, bad, "year")]
    for call in calls:
        with pytest.raises(ContractError) as refusal:
            call()
        assert refusal.value.code == "contract.privacy"
    assert ledger.spends() == []


def test_requests_that_are_none(ledger: PrivacyLedger) -> None:
    with pytest.raises(ContractError):
        Allowance(1.0, 0.0, "week")
    for name, charges in (("", {LINES: YEARLY}), ("a", {}), ("a" * 201, {LINES: YEARLY})):
        with pytest.raises(ConfigurationError) as refusal:
            reserve(ledger, name, 0.1, charges=charges)
        assert len(refusal.value.where) < 250
    assert ledger.spends() == []


def test_fifty_processes_at_once_never_overspend_and_leave_nothing_that_fits(url: str) -> None:
    """Each asks three times for 0.03 on both accounts, of which the tighter allows 1.0: 33 are given."""
    charges = {
        Account("a", "household", "x"): Allowance(1.0, 0.0, "never"),
        Account("b", "household", "x"): Allowance(1.5, 0.0, "never"),
    }

    def thrice(process: int) -> list[str]:
        ledger, answers = PrivacyLedger(url), []
        for number in range(3):
            name = f"{process}-{number}"
            try:
                ledger.reserve(name, charges, 0.03, 0.0, "race", by())
            except BudgetExhausted:
                answers.append("refused")
            else:
                answers.append("given")
                if process % 2:
                    ledger.commit(name, by())
        return answers

    answers = at_once(thrice, 50)
    assert (answers.count("given"), answers.count("refused")) == (33, 117)
    ledger = PrivacyLedger(url)
    assert ledger.balance(Account("a", "household", "x"), Allowance(1.0, 0.0, "never")).spent_rho == 0.99
    assert ledger.balance(Account("b", "household", "x"), Allowance(1.5, 0.0, "never")).left_rho == 0.51
    assert ledger.replay() == ledger.spends()
    assert len(ledger.spends()) == 33


def test_a_kill_between_reserve_and_commit_keeps_the_spend(url: str) -> None:
    code = """
    import os, signal, sys
    from tests.support.acting import by
    from cloakhouse.ledger.budget import Account, Allowance, PrivacyLedger
    charges = {Account("transactions", "household", "default"): Allowance(1.0, 1e-6, "never")}
    PrivacyLedger(sys.argv[1]).reserve("a", charges, 0.7, 0.0, "x", by())
    os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(code, url)[0] == -signal.SIGKILL
    ledger, never = PrivacyLedger(url), replace(YEARLY, renewal="never")
    assert ledger.balance(LINES, never).reserved_rho == 0.7
    with pytest.raises(BudgetExhausted):
        reserve(ledger, "b", 0.7, charges={LINES: never})
    assert ledger.release("a", "the run was killed", by()).state == "released"
    reserve(ledger, "b", 0.7, charges={LINES: never})
    assert ledger.replay() == ledger.spends()


def test_a_kill_inside_a_transaction_leaves_all_of_it_or_nothing(url: str) -> None:
    PrivacyLedger(url)

    def killed_at(statement: int) -> None:
        count = 0

        def counted(*_: Any) -> None:
            nonlocal count
            count += 1
            if count == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        ledger = PrivacyLedger(url)
        sa.event.listen(ledger._engine, "after_cursor_execute", counted)
        ledger.reserve("a", BOTH, 0.1, 0.0, "x", by(), NOON)

    for statement in itertools.count(1):
        code = in_fork(partial(killed_at, statement))
        ledger, entries = PrivacyLedger(url), AuditLog(url).size()
        assert ledger.spends() == ledger.replay()
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert (ledger.spends(), entries) == ([], 0)
    assert (len(ledger.spends()), entries) == (1, 2)  # an event for each account
    assert statement > 9  # lock, look up, two sums, entry, rows, and the log's


def test_refusals_travel_between_processes(ledger: PrivacyLedger) -> None:
    import pickle

    with pytest.raises(BudgetExhausted) as refusal:
        reserve(ledger, "a", 3.0)
    again = pickle.loads(pickle.dumps(refusal.value))
    assert isinstance(again, BudgetExhausted)
    assert again.as_dict() == refusal.value.as_dict()
    assert isinstance(again, CloakhouseError)
    assert budget.BudgetExhausted is BudgetExhausted
    assert db.privacy_entry.name in db.METADATA.tables
