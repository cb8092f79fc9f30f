"""Audit logs to verify and to tamper with: what somebody does who owns the database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event, decode, encode
from cloakhouse.ledger.checkpoints import Checkpoint
from cloakhouse.ledger.merkle import Frontier, leaf_hash

NOON = dt.datetime(2030, 5, 17, 12, tzinfo=dt.UTC)
ACTORS = ("platform", "ann", "bob", "carla")
COPIED = ("at", "action", "actor", "dataset", "decision", "run", "count")
ORIGIN = "cloakhouse/0123456789abcdef"


def event(number: int, **fields: Any) -> Event:
    """Return the event that entry `number` of these logs holds."""
    given = {
        "actor": ACTORS[number % len(ACTORS)],
        "action": ("read", "publish", "use key")[number % 3],
        "object": f"thing {number}",
        "count": number,
        "dataset": "baskets" if number % 2 else "",
        "decision": "refused" if number % 5 == 4 else "allowed",
        "run": f"run-{number // 10}",
        "at": NOON + dt.timedelta(minutes=number),
    }
    return Event(**{**given, **fields})


def filled(url: str, size: int) -> AuditLog:
    """Return a log of `size` entries."""
    log = AuditLog(url)
    log.record(*(event(number) for number in range(size)))
    return log


def signed(log: AuditLog, *sizes: int) -> list[Checkpoint]:
    """Return what a signer would have signed at these sizes."""
    return [Checkpoint(ORIGIN, size, log.root(size)) for size in sizes]


def open_to_all(log: AuditLog) -> None:
    """Drop the triggers that refuse changes."""
    with log.engine.begin() as connection:
        for table in ("audit_entry", "audit_checkpoint"):
            if log.engine.dialect.name == "sqlite":
                for act in ("update", "delete", "replace"):
                    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_no_{act}")
            else:
                for act in ("update", "truncate"):
                    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_no_{act} ON {table}")


def change(log: AuditLog, statement: str, **values: Any) -> None:
    """Run one statement of SQL."""
    open_to_all(log)
    with log.engine.begin() as connection:
        connection.execute(sa.text(statement), values)


def edit(log: AuditLog, number: int, *, rehash: bool, **fields: Any) -> None:
    """Make another event of entry `number`, columns and all, with its right leaf hash or the old one."""
    before = log.entry(number).event
    content = encode(Event(**{**{name: getattr(before, name) for name in before.__dataclass_fields__}, **fields}))
    change(log, "UPDATE audit_entry SET content = :content WHERE number = :number", content=content, number=number)
    for name in set(fields) & {"action", "actor", "dataset", "decision", "run", "count"}:
        change(log, f"UPDATE audit_entry SET {name} = :v WHERE number = :n", v=fields[name], n=number)
    if rehash:
        hashes = leaf_hash(content) + rows(log)[number][1][32:]
        change(log, "UPDATE audit_entry SET hashes = :hashes WHERE number = :number", hashes=hashes, number=number)


def rows(log: AuditLog) -> list[tuple[bytes, bytes]]:
    """Return content and hashes of every row, in order."""
    table = db.audit_entry
    with log.engine.connect() as connection:
        found = connection.execute(sa.select(table.c.content, table.c.hashes).order_by(table.c.number)).all()
    return [(content, hashes) for content, hashes in found]


def replace_all(log: AuditLog, made: Iterable[tuple[bytes, bytes]]) -> None:
    """Make these contents and hashes the log, numbered from 0, with columns that agree."""
    change(log, "DELETE FROM audit_entry")
    values = []
    for number, (content, hashes) in enumerate(made):
        found = decode(content)
        copied = {
            name: getattr(found, name) for name in ("at", "action", "actor", "dataset", "decision", "run", "count")
        }
        values.append({**copied, "number": number, "content": content, "hashes": hashes})
    with log.engine.begin() as connection:
        connection.execute(sa.insert(db.audit_entry), values)


def rehashed(contents: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Return contents with the hashes that a log of them has."""
    frontier = Frontier()
    return [(content, frontier.add(leaf_hash(content))) for content in contents]


def renumber(log: AuditLog, after: int, by: int) -> None:
    """Add `by` to the number of every entry from `after` on."""
    far = 10**6
    change(log, "UPDATE audit_entry SET number = number + :far WHERE number >= :after", far=far, after=after)
    change(log, "UPDATE audit_entry SET number = number - :back WHERE number >= :far", back=far - by, far=far)


def swap(log: AuditLog, first: int, second: int) -> None:
    """Have two entries change places."""
    for was, now in ((first, -1), (second, first), (-1, second)):
        change(log, "UPDATE audit_entry SET number = :now WHERE number = :was", now=now, was=was)
