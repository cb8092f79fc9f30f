"""Spends as rows: entries that are only added, and what they come to. The caller holds the lock (see `budget`)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.allowance import COMMITTED, RELEASED, RESERVED, Account, Spend, real_delta, real_rho, utc

STATE_AFTER = {"commit": COMMITTED, "release": RELEASED}  # by kind of entry
Asked = tuple[tuple[Account, ...], int, int, str]  # accounts, rho (billionths), delta (10^-18), purpose


def fold(entries: Iterable[sa.Row[Any]]) -> list[Spend]:
    """Return the spends that `entries`, oldest first, come to, in the order of their reservation."""
    spends: dict[str, Spend] = {}
    for entry in entries:
        content, at = json.loads(entry.content), utc(entry.at)
        if entry.kind == "reserve":
            accounts = tuple(Account(*names) for names in content["accounts"])
            rho, delta = real_rho(content["rho"]), real_delta(content["delta"])
            spends[entry.spend_id] = Spend(entry.spend_id, accounts, rho, delta, content["purpose"], RESERVED, at)
        else:
            known = spends[entry.spend_id]
            spends[entry.spend_id] = replace(
                known, state=STATE_AFTER[entry.kind], ended_at=at, reason=content["reason"]
            )
    return list(spends.values())


def add_reserved(connection: sa.Connection, spend_id: str, asked: Asked, at: dt.datetime) -> Spend:
    """Add the spend `asked` for, reserved at `at` (UTC), and return it."""
    accounts, rho, delta, purpose = asked
    names = [[account.dataset, account.unit, account.consumer] for account in accounts]
    add_entry(connection, spend_id, "reserve", at, {"accounts": names, "rho": rho, "delta": delta, "purpose": purpose})
    spend = Spend(spend_id, accounts, real_rho(rho), real_delta(delta), purpose, RESERVED, at)
    common = {"spend_id": spend_id, "rho": rho, "delta": delta, "purpose": purpose, "state": RESERVED, "reason": ""}
    common["reserved_at"] = spend.reserved_at
    rows = [{**common, **vars(account)} for account in accounts]
    connection.execute(sa.insert(db.privacy_spend), rows)
    return spend


def add_entry(connection: sa.Connection, spend_id: str, kind: str, at: dt.datetime, content: dict[str, Any]) -> None:
    """Add one entry: `kind` is `reserve`, `commit` or `release`, `content` is JSON-ready."""
    row = {"spend_id": spend_id, "kind": kind, "at": at, "content": json.dumps(content)}
    connection.execute(sa.insert(db.privacy_entry).values(row))


def add_ended(connection: sa.Connection, spend: Spend, kind: str, reason: str, at: dt.datetime) -> Spend:
    """Add that `spend` was committed or released (`kind`) at `at` (UTC), and return it as it is then."""
    add_entry(connection, spend.id, kind, at, {"reason": reason})
    changes = {"state": STATE_AFTER[kind], "ended_at": at, "reason": reason}
    table = db.privacy_spend
    connection.execute(sa.update(table).where(table.c.spend_id == spend.id).values(changes))
    return replace(spend, state=STATE_AFTER[kind], ended_at=at, reason=reason)


def read_spends(connection: sa.Connection, spend_id: str | None = None) -> list[Spend]:
    """Return all spends, or that of `spend_id`, in the order of their reservation."""
    table, entry = db.privacy_spend, db.privacy_entry
    query = sa.select(table).join(entry, (entry.c.spend_id == table.c.spend_id) & (entry.c.kind == "reserve"))
    query = query.order_by(entry.c.id, table.c.dataset, table.c.unit, table.c.consumer)
    if spend_id is not None:
        query = query.where(table.c.spend_id == spend_id)
    return [_spend(list(rows)) for _, rows in groupby(connection.execute(query), lambda row: row.spend_id)]


def _spend(rows: list[sa.Row[Any]]) -> Spend:
    first = rows[0]
    return Spend(
        id=first.spend_id,
        accounts=tuple(sorted(Account(row.dataset, row.unit, row.consumer) for row in rows)),
        rho=real_rho(first.rho),
        delta=real_delta(first.delta),
        purpose=first.purpose,
        state=first.state,
        reserved_at=utc(first.reserved_at),
        ended_at=utc(first.ended_at) if first.ended_at else None,
        reason=first.reason,
    )


def spent(connection: sa.Connection, account: Account, since: dt.datetime) -> tuple[int, int, int]:
    """Return what `account` has spent: rho, delta, and the rho of it that is only reserved, in whole units.

    A spend that a fast clock dated ahead counts, too.
    """
    table = db.privacy_spend
    mine = (table.c.dataset == account.dataset) & (table.c.unit == account.unit)
    mine &= (table.c.consumer == account.consumer) & (table.c.reserved_at >= since) & (table.c.state != RELEASED)
    reserved = sa.case((table.c.state == RESERVED, table.c.rho), else_=0)
    sums = (sa.func.coalesce(sa.func.sum(of), 0) for of in (table.c.rho, table.c.delta, reserved))
    rho, delta, rho_reserved = connection.execute(sa.select(*sums).where(mine)).one()
    return int(rho), int(delta), int(rho_reserved)
