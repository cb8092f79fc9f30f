"""Transactions in which what was read still holds when something is written.

SQLite has one writer at a time: BEGIN IMMEDIATE makes the transaction that writer before it reads. On PostgreSQL a lock
does the same, of a table (LOCK TABLE) or of a name (an advisory lock). It is the first statement, and at READ COMMITTED
each later one sees all that the lock's former holders committed, since their commits are visible before their locks are
given back. Both end with the transaction, however its process ends.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import sqlalchemy as sa

from cloakhouse.errors import StorageError
from cloakhouse.ledger.database_faults import CONFLICT

ATTEMPTS = 8
_LONGEST_PAUSE_MS = 200
P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def writing(engine: sa.Engine, *tables: sa.Table) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction that alone may change `tables`, until the block ends. Readers don't wait."""
    names = ", ".join(engine.dialect.identifier_preparer.format_table(table) for table in tables)
    with engine.begin() as connection:
        locked = f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else locked)
        yield connection


@contextmanager
def alone(engine: sa.Engine, what: str) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction that no other with the same `what` runs beside.

    For tables that a role may only add to: PostgreSQL lets nobody lock those who may not change them.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        take(connection, what)
        yield connection


def take(connection: sa.Connection, what: str) -> None:
    """Have the transaction of `connection`, which changes something, run beside no other with the same `what`.

    Of several locks each is taken in one order everywhere, that of the audit log last.
    """
    if connection.dialect.name != "sqlite":  # which has one writer as it is
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(what, 0))))


def retried(work: Callable[P, R]) -> Callable[P, R]:
    """Return `work`, called again when its transaction was undone in favour of others; at most 8 times.

    It must be one transaction, or idempotent ones. Raises what `work` does; the last time `storage.conflict`, too.
    """

    @functools.wraps(work)
    def again(*arguments: P.args, **named: P.kwargs) -> R:
        for _ in range(ATTEMPTS - 1):
            try:
                return work(*arguments, **named)
            except StorageError as fault:
                if fault.code != f"{StorageError.kind}.{CONFLICT}":
                    raise
            time.sleep(secrets.randbelow(_LONGEST_PAUSE_MS) / 1000)
        return work(*arguments, **named)

    return again
