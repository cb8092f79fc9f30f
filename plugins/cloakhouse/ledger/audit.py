"""The audit log: events in a Merkle tree that only grows.

An event is written before what it describes can be seen, and an event that can't be written stops it; where the act is
a change of the control database, both are one transaction (`append`). Rows are only ever added.

Each row holds an event's bytes and their leaf hash, with the hashes of the nodes that the leaf completes (see
`cloakhouse.ledger.merkle`). So whoever appends reads some 20 rows to know the tree that it goes on with, and any proof
needs few rows more. The columns beside are copies from the content, for queries; verification compares them.

Appending from many processes gives one order without gaps: on SQLite by its one writer, on PostgreSQL by an advisory
lock, which the transaction takes last and holds until it ends.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from cloakhouse.errors import AccessRefused, IntegrityError, NotFound
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED, Event, decode, encode
from cloakhouse.ledger.merkle import SIZE, Frontier, Node, consistency, inclusion, leaf_hash, peaks
from cloakhouse.ledger.writing import alone, retried

RATE = "access.rate"
_LOCK = "audit log"
_COPIED = ("action", "actor", "dataset", "decision", "run", "count")
_KEPT = 4  # logs that stay open in a process
_open: OrderedDict[str, tuple[tuple[int, int], AuditLog]] = OrderedDict()


@dataclass(frozen=True)
class Entry:
    """One entry of the log: its number (from 0 on), its event, and the bytes that were hashed."""

    number: int
    event: Event
    content: bytes


def append(connection: sa.Connection, events: Sequence[Event]) -> int:
    """Add `events` within the transaction of `connection`, and return the number of the first.

    On SQLite the transaction must have begun as a writer (BEGIN IMMEDIATE: `alone`, `writing`). Nothing that takes a
    while may follow in it. Raises StorageError, IntegrityError for a log whose last rows can't be right.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(_LOCK, 0))))
    first = _size(connection)
    frontier = Frontier(first, hashes_of(connection, peaks(first)))
    rows = []
    now = dt.datetime.now(dt.UTC)
    for number, event in enumerate(events, first):
        whole = event if event.at else replace(event, at=now)
        content = encode(whole)
        copied = {**{name: getattr(whole, name) for name in _COPIED}, "at": (whole.at or now).astimezone(dt.UTC)}
        rows.append({**copied, "number": number, "content": content, "hashes": frontier.add(leaf_hash(content))})
    if rows:
        connection.execute(sa.insert(db.audit_entry), rows)
    return first


def hashes_of(connection: sa.Connection, nodes: Sequence[Node]) -> list[bytes]:
    """Return the hashes of complete nodes, in the order of `nodes`. Raises IntegrityError when a row is missing."""
    table = db.audit_entry
    last = {node: ((node[1] + 1) << node[0]) - 1 for node in nodes}  # the leaf that completes it
    wanted = sa.select(table.c.number, table.c.hashes).where(table.c.number.in_(sorted(set(last.values()))))
    found = {row.number: row.hashes for row in connection.execute(wanted)}
    hashes = [found.get(last[level, index], b"")[SIZE * level : SIZE * (level + 1)] for level, index in nodes]
    if any(len(one) != SIZE for one in hashes):
        raise _incomplete()
    return hashes


class AuditLog:
    """Adds and reads events. Safe from many processes."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    @property
    def engine(self) -> sa.Engine:
        """The control database that the log is in."""
        return self._engine

    @retried
    def record(self, *events: Event) -> int:
        """Add `events` in one durable commit, and return the number of the first.

        Raises StorageError; what the events describe must then not be done.
        """
        with alone(self._engine, _LOCK) as connection:
            return append(connection, events)

    @retried
    def record_within(
        self,
        event: Event,
        limit: int,
        window: dt.timedelta,
        *,
        of: str = "values",
        setting: str = "CLOAKHOUSE_DETOKENIZE_LIMIT",
    ) -> None:
        """Add `event` as allowed if its actor stays within `limit` values in `window`, else as refused, and raise.

        Counted are the actor's allowed events of the same action. One transaction: of many processes that ask at
        once, none passes the limit. `of` and `setting` tell what is counted, and what sets the limit. Raises
        AccessRefused (`access.rate`), StorageError.
        """
        table = db.audit_entry
        at = event.at or dt.datetime.now(dt.UTC)
        with alone(self._engine, _LOCK) as connection:
            mine = (table.c.actor == event.actor) & (table.c.action == event.action) & (table.c.decision == ALLOWED)
            recent = table.c.at > at - window
            first = connection.execute(sa.select(sa.func.min(table.c.number)).where(recent)).scalar_one()
            total = sa.select(sa.func.sum(table.c.count)).where(mine, recent, table.c.number >= (first or 0))
            spent = int(connection.execute(total).scalar_one() or 0)
            within = spent + event.count <= limit
            append(connection, [event if within else replace(event, decision=REFUSED, code=RATE)])
        if not within:
            raise AccessRefused(
                where=f"{event.action} by {event.actor}",
                expected=f"at most {limit:,} {of} in {window.total_seconds() / 3600:g} h",
                found=f"{spent:,} allowed already, and {event.count:,} asked for",
                not_done="no value was shown; the refusal is in the audit record",
                remedy=f"ask for fewer, wait, or have the limit raised ({setting})",
                code="rate",
            )

    def size(self) -> int:
        """Return how many entries there are. Raises StorageError."""
        with self._engine.connect() as connection:
            return _size(connection)

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` entries (32 bytes). Raises IntegrityError when there are fewer."""
        with self._engine.connect() as connection:
            return Frontier(size, hashes_of(connection, peaks(size))).root()

    def inclusion(self, number: int, size: int) -> list[bytes]:
        """Return the proof that entry `number` is among the first `size`: hashes of 32 bytes, nearest sibling first.

        Source: RFC 9162, section 2.1.3.1. Raises ValueError for an entry that isn't among them, IntegrityError when
        the log has fewer, StorageError.
        """
        with self._engine.connect() as connection:
            return inclusion(number, size, lambda nodes: hashes_of(connection, nodes))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the first `old` entries are the beginning of the first `new`: hashes of 32 bytes.

        Source: RFC 9162, section 2.1.4.1. Raises ValueError when `old` is larger, IntegrityError when the log has
        fewer than `new`, StorageError.
        """
        with self._engine.connect() as connection:
            return consistency(old, new, lambda nodes: hashes_of(connection, nodes))

    def entry(self, number: int) -> Entry:
        """Return entry `number`. Raises NotFound, IntegrityError for bytes that are not an event's, StorageError."""
        found = self.entries(number, 1)
        if not found or found[0].number != number:
            raise NotFound(
                where="the audit log",
                expected=f"entry {number}",
                found=f"{self.size():,} entries, the first of which is number 0",
                not_done="nothing was shown",
                remedy="`cloakhouse audit list` shows numbers",
            )
        return found[0]

    def entries(self, first: int = 0, limit: int = 1_000) -> list[Entry]:
        """Return at most `limit` entries from number `first` on, in order.

        Raises StorageError, and IntegrityError for bytes that are not an event's.
        """
        table = db.audit_entry
        wanted = sa.select(table.c.number, table.c.content).where(table.c.number >= first).order_by(table.c.number)
        with self._engine.connect() as connection:
            return [entry_of(row.number, row.content) for row in connection.execute(wanted.limit(limit))]

    def events(self) -> list[Event]:
        """Return all events, oldest first. For small logs: see `entries`."""
        return [entry.event for entry in self.entries(limit=2**31)]


def log_of(url: str) -> AuditLog:
    """Return the log at `url`, kept open for this process's next event: opening takes ten times what an event does.

    A file that was put in place of the one that is open is opened anew. Raises as `open_database`.
    """
    known = _open.get(url)
    if known is not None and _identity(known[1]) == known[0]:
        return known[1]
    log = AuditLog(url)
    if (identity := _identity(log)) is not None:
        _open[url] = identity, log
        while len(_open) > _KEPT:
            _open.popitem(last=False)
    return log


def entry_of(number: int, content: bytes) -> Entry:
    """Return the entry of a row. Raises IntegrityError for bytes that are not an event's."""
    try:
        return Entry(number, decode(content), content)
    except ValueError:
        raise IntegrityError(
            where=f"audit log, entry {number}",
            expected="an event in its canonical form",
            found="other bytes",
            not_done="the entry was not shown",
            remedy="run `cloakhouse audit verify`, and keep the database as it is for whoever investigates",
            code="audit-entry",
        ) from None


def _identity(log: AuditLog) -> tuple[int, int] | None:
    """Return what tells the log's file from another in its place; None for one that is not to be kept open."""
    if log.engine.dialect.name != "sqlite":
        return 0, 0
    try:
        status = Path(log.engine.url.database or "").stat()  # a copy for reading has no place in its URL
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _size(connection: sa.Connection) -> int:
    last = connection.execute(sa.select(sa.func.max(db.audit_entry.c.number))).scalar_one()
    return 0 if last is None else int(last) + 1


def _incomplete() -> IntegrityError:
    return IntegrityError(
        where="audit log",
        expected="every entry up to the last one, with its hashes",
        found="a missing or shortened row",
        not_done="nothing was added or proved",
        remedy="run `cloakhouse audit verify`, and keep the database as it is for whoever investigates",
        code="audit-log",
    )
