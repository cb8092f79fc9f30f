"""The privacy ledger: what was spent of which budget of a protected dataset, and never more than it allows.

A spend is reserved before any noise is drawn, and then committed (what was bought is out) or released (nothing of it
is, nor ever will be). What is reserved counts as spent, so that a crash in between loses budget and never privacy.

Every change is an entry in `privacy_entry`, to which rows are only ever added; `privacy_spend` is what the entries
come to, written in the same transaction, and `replay` folds them again. Whoever changes something locks the ledger
before reading (see `writing`). Readers don't wait.

In the same transaction, last, each change is an event of the audit log for every account that it charges; so is the
refusal of a spend that an account has too little left for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger import spend_events as events
from cloakhouse.ledger.allowance import (
    RELEASED,
    RESERVED,
    Account,
    Allowance,
    Balance,
    Spend,
    check_amount,
    real_delta,
    real_rho,
    utc,
    whole_delta,
    whole_rho,
)
from cloakhouse.ledger.audit import append
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.spend_refusals import BudgetExhausted, ended, exhausted, misused, unknown
from cloakhouse.ledger.spends import STATE_AFTER, Asked, add_ended, add_reserved, fold, read_spends, spent
from cloakhouse.ledger.writing import retried, writing

__all__ = ["Account", "Allowance", "Balance", "BudgetExhausted", "PrivacyLedger", "Spend"]

LONGEST_ID = 200


class PrivacyLedger:
    """Reserves, commits and releases spends. Safe from many processes. Every method raises StorageError.

    `by` is an event that says who spends, why and in which run, and with its facts at which epsilon; what it says of
    action, object and dataset is replaced.
    """

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    @retried
    def reserve(
        self,
        spend_id: str,
        charges: Mapping[Account, Allowance],
        rho: float,
        delta: float,
        purpose: str,
        by: Event,
        at: dt.datetime | None = None,
    ) -> Spend:
        """Return the spend of `rho` and `delta` on every account in `charges`, reserved on all of them or on none.

        Asking again under the same id, for the same, returns the same spend in the state that it has by now: one that
        is committed is out already, and no noise may be drawn for it again. `at` defaults to now.

        Raises BudgetExhausted when an account has less left; ConfigurationError (`configuration.spend`) for no
        account, an id that is empty or too long, and one of something else or of a released spend; ContractError for
        a rho that isn't above 0, and a delta below 0.
        """
        check_amount("rho", rho)
        check_amount("delta", delta, zero=True)
        if not charges or not 0 < len(spend_id) <= LONGEST_ID:
            found = f"{len(spend_id)} characters, {len(charges)} accounts"
            expected = f"an id of at most {LONGEST_ID} characters, and an account to charge"
            raise misused(spend_id[:LONGEST_ID], expected, found, "name the release, and charge its sources")
        asked = (tuple(sorted(charges)), whole_rho(rho, up=True), whole_delta(delta, up=True), purpose)
        moment = _moment(at)
        with self._writing() as connection:
            if known := read_spends(connection, spend_id):
                _same(known[0], asked)
                return known[0]
            refusal = next(_exhausted(connection, charges, asked, moment), None)
            if refusal is None:
                spend = add_reserved(connection, spend_id, asked, moment)
                append(connection, events.spent(by, spend))
                return spend
            append(connection, events.refused(by, spend_id, asked, refusal.code))
        raise refusal

    def commit(self, spend_id: str, by: Event, at: dt.datetime | None = None) -> Spend:
        """Return the spend, committed: what it bought is out. Committing again changes nothing.

        Raises NotFound for an unknown id, AccessRefused (`access.spend`) for a released spend.
        """
        return self._end(spend_id, "commit", "", by, at)

    def release(self, spend_id: str, reason: str, by: Event, at: dt.datetime | None = None) -> Spend:
        """Return the spend, released: nothing that it was to buy is out, nor will be. Releasing again changes nothing.

        Raises NotFound for an unknown id, AccessRefused (`access.spend`) for a committed spend.
        """
        return self._end(spend_id, "release", reason, by, at)

    def check_release(self, spend_id: str) -> Spend:
        """Return the spend if `release` would, too, and change nothing. Raises as `release`."""
        with self._engine.connect() as connection:
            return _to_end(connection, spend_id, "release")

    def balance(self, account: Account, allowance: Allowance, at: dt.datetime | None = None) -> Balance:
        """Return what `account` has spent in the period of `at` (default: now), and what `allowance` leaves."""
        with self._engine.connect() as connection:
            return _balance(connection, account, allowance, _moment(at))

    def spends(self, account: Account | None = None) -> list[Spend]:
        """Return all spends, or those charged to `account`; oldest first."""
        with self._engine.connect() as connection:
            found = read_spends(connection)
        return [spend for spend in found if account is None or account in spend.accounts]

    def replay(self) -> list[Spend]:
        """Return all spends as the entries alone have them; equal to `spends()`."""
        with self._engine.connect() as connection:
            return fold(connection.execute(sa.select(db.privacy_entry).order_by(db.privacy_entry.c.id)))

    @retried
    def _end(self, spend_id: str, kind: str, reason: str, by: Event, at: dt.datetime | None) -> Spend:
        moment = _moment(at)
        with self._writing() as connection:
            known = _to_end(connection, spend_id, kind)
            if known.state != RESERVED:
                return known
            spend = add_ended(connection, known, kind, reason, moment)
            append(connection, events.spent(by, spend))
            return spend

    def _writing(self) -> AbstractContextManager[sa.Connection]:
        return writing(self._engine, db.privacy_spend)  # the entries may be for adding only


def _balance(connection: sa.Connection, account: Account, allowance: Allowance, at: dt.datetime) -> Balance:
    start, renews = allowance.window(at)
    rho, delta, reserved = spent(connection, account, start)
    return Balance(
        spent_rho=real_rho(rho),
        spent_delta=real_delta(delta),
        left_rho=real_rho(max(0, allowance.ceiling(delta) - rho)),
        left_delta=real_delta(max(0, whole_delta(allowance.delta, up=False) - delta)),
        reserved_rho=real_rho(reserved),
        renews=renews,
    )


def _exhausted(
    connection: sa.Connection, charges: Mapping[Account, Allowance], asked: Asked, at: dt.datetime
) -> Iterator[BudgetExhausted]:
    """Yield the refusal of each account that has too little left for what is `asked`."""
    accounts, more_rho, more_delta, _ = asked
    for account in accounts:
        allowance = charges[account]
        rho, delta, _ = spent(connection, account, allowance.window(at)[0])
        within_delta = delta + more_delta <= whole_delta(allowance.delta, up=False)
        if not within_delta or rho + more_rho > allowance.ceiling(delta + more_delta):
            yield exhausted(account, _balance(connection, account, allowance, at), more_rho, more_delta)


def _to_end(connection: sa.Connection, spend_id: str, kind: str) -> Spend:
    """Return the spend if it may be ended so, or was. Raises NotFound, AccessRefused."""
    known = read_spends(connection, spend_id)
    if not known:
        raise unknown(kind)
    if known[0].state not in (RESERVED, STATE_AFTER[kind]):
        raise ended(known[0], kind)
    return known[0]


def _same(known: Spend, asked: Asked) -> None:
    accounts, rho, delta, purpose = asked
    if (known.accounts, known.rho, known.delta, known.purpose) != (accounts, real_rho(rho), real_delta(delta), purpose):
        expected = "the accounts, rho, delta and purpose that it was reserved with"
        raise misused(known.id, expected, "others", "take another id for another release")
    if known.state == RELEASED:
        raise misused(known.id, "a spend that wasn't released", "a released one", "take a new id to spend again")


def _moment(at: dt.datetime | None) -> dt.datetime:
    return dt.datetime.now(dt.UTC) if at is None else utc(at)
