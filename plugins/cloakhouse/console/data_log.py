"""What the console asks the audit log: entries, what went wrong lately, and how far checkpoints reach."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import Entry, entry_of
from cloakhouse.ledger.audit_event import ALLOWED, FAILED, REFUSED, Action
from cloakhouse.ledger.version_rows import aware

_T = db.audit_entry
DECISIONS = (ALLOWED, REFUSED, FAILED)
MOST_SCANNED = 4_000  # rows that one page looks at
SET_BACK = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Filter:
    """Which entries are wanted; an empty field asks for nothing. `since` and `until` are UTC."""

    action: str = ""
    actor: str = ""
    dataset: str = ""
    decision: str = ""
    run: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    @property
    def texts(self) -> dict[str, str]:
        """The fields that are compared as they are, the one that fewest entries fit first."""
        rare = {"decision": self.decision} if self.decision != ALLOWED else {}
        named = {"run": self.run, **rare, "dataset": self.dataset, "actor": self.actor}
        return {k: v for k, v in {**named, "action": self.action, "decision": self.decision}.items() if v}


@dataclass(frozen=True)
class Found:
    """Entries, newest first, and the number below which the next page begins; None when that was all."""

    entries: tuple[Entry, ...]
    next: int | None


def find(connection: sa.Connection, wanted: Filter, before: int | None, limit: int, *, whole: bool = False) -> Found:
    """Return at most `limit` entries below number `before` (None: from the newest on) that fit.

    Numbers go with times, but for a clock that was set back: entries that this put out of order by more than an hour
    can be missed, unless the `whole` log is asked, page by page.

    One field is looked up in its index, the others are compared in the rows found there, 4,000 at most: so an answer
    may hold few entries, or none, and still have a next page.
    """
    texts = wanted.texts
    chosen = [_T.c[name] == texts[name] for name in list(texts)[:1]]
    if before is not None:
        chosen.append(_T.c.number < before)
    if wanted.since is not None and not whole:
        chosen.append(_T.c.number >= first_since(connection, _moved(wanted.since, -SET_BACK)))
    if wanted.until is not None and not whole:
        chosen.append(_T.c.number < first_since(connection, _moved(wanted.until, SET_BACK)))
    others = [_T.c[name] == texts[name] for name in list(texts)[1:]]
    others += [_T.c.at >= wanted.since] if wanted.since else []
    others += [_T.c.at <= wanted.until] if wanted.until else []
    scan = MOST_SCANNED if others else limit + 1
    fits = sa.case((sa.and_(*others), 1), else_=0) if others else sa.literal(1)
    candidates = sa.select(_T.c.number, fits).where(*chosen).order_by(_T.c.number.desc()).limit(scan)
    scanned = connection.execute(candidates).all()
    numbers = [int(row[0]) for row in scanned if row[1]]
    lowest = int(scanned[-1][0]) if others and len(scanned) == scan else None
    if len(numbers) > limit:
        lowest = numbers[limit - 1]
    rows = sa.select(_T.c.number, _T.c.content).where(_T.c.number.in_(numbers[:limit])).order_by(_T.c.number.desc())
    return Found(tuple(entry_of(row.number, row.content) for row in connection.execute(rows)), lowest)


@dataclass(frozen=True)
class Standing:
    """How the log stands: entries, the newest checkpoint (size and time, None without one), last verification."""

    size: int
    checkpoint_size: int | None
    checkpoint_at: dt.datetime | None
    verified: Entry | None

    @property
    def uncovered(self) -> int:
        """How many entries no checkpoint covers yet."""
        return self.size - (self.checkpoint_size or 0)


def standing(connection: sa.Connection) -> Standing:
    """Return how the log stands. Four look-ups in indexes."""
    last = connection.execute(sa.select(sa.func.max(_T.c.number))).scalar_one()
    newest = sa.select(db.audit_checkpoint).order_by(db.audit_checkpoint.c.size.desc()).limit(1)
    checkpoint = connection.execute(newest).first()
    verified = of_actions(connection, (Action.VERIFY_LOG,), 1)
    return Standing(
        size=0 if last is None else int(last) + 1,
        checkpoint_size=checkpoint.size if checkpoint else None,
        checkpoint_at=aware(checkpoint.at) if checkpoint else None,
        verified=verified[0] if verified else None,
    )


def of_actions(connection: sa.Connection, actions: Collection[Action], limit: int) -> list[Entry]:
    """Return the newest entries of some actions, newest first; `limit` rows of an index for each action."""
    found = [e for action in actions for e in _newest(connection, _T.c.action == action.value, limit)]
    return sorted(found, key=lambda entry: entry.number, reverse=True)[:limit]


def of_dataset(connection: sa.Connection, dataset: str, limit: int) -> list[Entry]:
    """Return the newest entries about a dataset, newest first."""
    return _newest(connection, _T.c.dataset == dataset, limit)


def wrong(connection: sa.Connection, since: int, limit: int) -> list[Entry]:
    """Return the newest refused and failed entries from number `since` on, newest first."""
    found = [
        entry
        for decision in (REFUSED, FAILED)
        for entry in _newest(connection, (_T.c.decision == decision) & (_T.c.number >= since), limit)
    ]
    return sorted(found, key=lambda entry: entry.number, reverse=True)[:limit]


def first_since(connection: sa.Connection, at: dt.datetime) -> int:
    """Return the number of the first entry of `at` or later; the size of the log where there is none."""
    found = connection.execute(sa.select(_T.c.number).where(_T.c.at >= at).order_by(_T.c.at).limit(1)).scalar()
    if found is not None:
        return int(found)
    last = connection.execute(sa.select(sa.func.max(_T.c.number))).scalar_one()
    return 0 if last is None else int(last) + 1


def decisions_since(connection: sa.Connection, number: int) -> dict[str, int]:
    """Return how many entries from `number` on were allowed, refused and failed; counted in an index."""
    counts = {}
    for decision in DECISIONS:
        query = sa.select(sa.func.count()).where(_T.c.decision == decision, _T.c.number >= number)
        counts[decision] = int(connection.execute(query).scalar_one())
    return counts


def entry(connection: sa.Connection, number: int) -> Entry | None:
    """Return one entry. Raises IntegrityError for bytes that are not an event's."""
    row = connection.execute(sa.select(_T.c.number, _T.c.content).where(_T.c.number == number)).first()
    return None if row is None else entry_of(row.number, row.content)


def checkpoint_over(connection: sa.Connection, number: int) -> tuple[int, str] | None:
    """Return size and text of the newest checkpoint if it covers entry `number`, else None."""
    table = db.audit_checkpoint
    row = connection.execute(sa.select(table.c.size, table.c.note).order_by(table.c.size.desc()).limit(1)).first()
    return (int(row.size), row.note) if row is not None and row.size > number else None


def newest_checkpoint(connection: sa.Connection) -> tuple[int, str] | None:
    """Return size and text of the newest checkpoint, None without one."""
    return checkpoint_over(connection, -1)


def _moved(at: dt.datetime, by: dt.timedelta) -> dt.datetime:
    try:
        return at + by
    except OverflowError:
        return at


def _newest(connection: sa.Connection, where: sa.ColumnElement[bool], limit: int) -> list[Entry]:
    query = sa.select(_T.c.number, _T.c.content).where(where).order_by(_T.c.number.desc()).limit(limit)
    return [entry_of(row.number, row.content) for row in connection.execute(query)]
