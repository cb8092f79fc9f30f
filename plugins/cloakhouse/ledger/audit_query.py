"""Questions to the audit log: entries by who, what, when and how it ended, newest first, page by page; and counts.

Each filter has an index that ends in the number, so that a page is read from its end backwards. Of several filters the
one that the fewest entries meet leads, and the others are looked at in the entries that it gives: at most `SCANNED` of
them for one page, so that no question takes long; a page that ends early says where to go on. A window of time is made
the range of numbers that its entries have, by the index of times: of a clock that went backwards, no entry is missed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog, Entry, entry_of
from cloakhouse.ledger.audit_event import ALLOWED, FAILED, LONGEST_TEXT, REFUSED

MOST = 200  # entries of a page
SCANNED = 5_000  # entries looked at for a page
LONGEST_WINDOW = dt.timedelta(days=400)  # of counts
_TABLE = db.audit_entry
_EQUAL = ("run", "actor", "dataset", "action", "decision")


@dataclass(frozen=True)
class Query:
    """What entries are asked for; an empty field asks for nothing.

    Attributes:
        action, actor, dataset, run: as in the event, to the letter.
        decision: `allowed`, `refused` or `failed`.
        since, until: from this time on, and before that one; with a zone.
        text: stands in object, reason, purpose or code, upper and lower case alike.
    """

    action: str = ""
    actor: str = ""
    dataset: str = ""
    decision: str = ""
    run: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    text: str = ""

    def __post_init__(self) -> None:
        """Raise ConfigurationError (`configuration.audit-query`) for what can't be asked."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, str) and (len(value) > LONGEST_TEXT or not value.isprintable()):
                raise _refused(one.name, f"at most {LONGEST_TEXT:,} printable characters", f"{len(value):,} characters")
            if isinstance(value, dt.datetime) and value.tzinfo is None:
                raise _refused(one.name, "a time with its zone", "one without")
        if self.decision not in ("", ALLOWED, REFUSED, FAILED):
            raise _refused("decision", f"{ALLOWED}, {REFUSED} or {FAILED}", "another word")
        if self.since and self.until and self.since >= self.until:
            raise _refused("until", "a time after `since`", "an earlier one, or the same")


@dataclass(frozen=True)
class Page:
    """Entries, newest first; `before` is what the next page is asked for with, None when there is none."""

    entries: tuple[Entry, ...]
    before: int | None


def find(log: AuditLog, query: Query, before: int | None = None, limit: int = MOST) -> list[Entry]:
    """Return the newest `limit` entries (at most 200) that meet `query` with numbers below `before`, newest first.

    The whole log is looked through for them, page by page. Raises as `page`.
    """
    found: list[Entry] = []
    while True:
        one = page(log, query, before, limit - len(found))
        found += one.entries
        before = one.before
        if before is None or len(found) >= limit:
            return found


def page(log: AuditLog, query: Query, before: int | None = None, limit: int = MOST) -> Page:
    """Return at most `limit` entries (1 to 200) that meet `query`, newest first, with numbers below `before`.

    A page may have fewer, or none, and yet be followed by others: at most 5,000 entries are looked at. Raises
    ConfigurationError for another limit, StorageError, IntegrityError for an entry that isn't an event's bytes.
    """
    if not 1 <= limit <= MOST:
        raise _refused("limit", f"1 to {MOST} entries a page", "another number")
    with log.engine.connect() as connection:
        highest = _highest(connection, query) if before is None else before - 1
        leading, stop = _leading(connection, query, highest)
        wanted = _conditions(query, leading, stop, highest)
        chosen = sa.select(_TABLE.c.number, _TABLE.c.content).where(*wanted).order_by(_TABLE.c.number.desc())
        if not query.text:
            chosen = chosen.limit(limit)
        rows = connection.execute(chosen).all()
        lowest = _lowest(connection, query) if len(rows) < limit or query.text else 0
    found = [entry_of(row.number, row.content) for row in rows if _has_text(query.text, row.content)]
    if query.text:
        found = [entry for entry in found if _says(query.text, entry)]
    if len(found) >= limit:
        return Page(tuple(found[:limit]), found[limit - 1].number or None)
    return Page(tuple(found), stop if stop > lowest else None)


def count_days(log: AuditLog, since: dt.date, until: dt.date) -> dict[dt.date, dict[str, int]]:
    """Return for each day (UTC) from `since` to `until`, the last one included, how many entries ended how.

    A day without entries has an empty dict. Raises ConfigurationError for a window that is empty or longer than 400
    days, StorageError.
    """
    begin, end = _midnight(since), _midnight(until) + dt.timedelta(days=1)
    _check_window(begin, end)
    counts: dict[dt.date, dict[str, int]] = {}
    with log.engine.connect() as connection:
        for offset in range((end - begin).days):
            day = begin + dt.timedelta(days=offset)
            wanted = sa.select(_TABLE.c.decision, sa.func.count()).group_by(_TABLE.c.decision)
            rows = connection.execute(wanted.where(*_window(day, day + dt.timedelta(days=1)))).all()
            counts[day.date()] = {row[0]: int(row[1]) for row in rows}
    return counts


def _highest(connection: sa.Connection, query: Query) -> int:
    """Return the highest number that an entry of the query's window of time has; -1 for none."""
    chosen = sa.select(sa.func.max(_TABLE.c.number))
    if query.until is not None:
        later = sa.select(_TABLE.c.number).where(_TABLE.c.at >= query.until.astimezone(dt.UTC)).limit(1)
        if connection.execute(later).first() is not None:
            chosen = chosen.where(*_window(query.since, query.until))
    last = connection.execute(chosen).scalar_one()
    return -1 if last is None else int(last)


def _lowest(connection: sa.Connection, query: Query) -> int:
    """Return the lowest number that an entry of the query's window of time has; 2^62 for none."""
    if query.since is None:
        return 0
    first = sa.select(sa.func.min(_TABLE.c.number)).where(*_window(query.since, query.until))
    found = connection.execute(first).scalar_one()
    return 2**62 if found is None else int(found)


def _leading(connection: sa.Connection, query: Query, highest: int) -> tuple[str, int]:
    """Return the filter that leads, empty for none, and the lowest number that is looked at for this page."""
    best: tuple[int, int, str] | None = None
    for name in (one for one in _EQUAL if getattr(query, one)):
        within = (_TABLE.c[name] == getattr(query, name), _TABLE.c.number.between(0, highest))
        some = sa.select(_TABLE.c.number).where(*within).order_by(_TABLE.c.number.desc()).limit(SCANNED).subquery()
        count, last = connection.execute(sa.select(sa.func.count(), sa.func.min(some.c.number))).one()
        one = int(count), 0 if count < SCANNED else int(last), name
        best = one if best is None or one < best else best  # of two that many meet, the one that reaches further back
    if best is not None:
        return best[2], best[1]
    return "", max(0, highest - SCANNED + 1) if query != Query() else 0


def _conditions(query: Query, leading: str, lowest: int, highest: int) -> list[sa.ColumnElement[bool]]:
    """Return what is asked for; all but the leading filter in a form that no index is used for."""
    found: list[sa.ColumnElement[bool]] = [_TABLE.c.number.between(lowest, highest)]
    for name in (one for one in _EQUAL if getattr(query, one)):
        column: Any = _TABLE.c[name] if name == leading else _TABLE.c[name].concat("")
        found.append(column == getattr(query, name))
    if query.since or query.until:
        found += _window(query.since, query.until, plain=False)
    return found


def _window(
    since: dt.datetime | None, until: dt.datetime | None, *, plain: bool = True
) -> Sequence[sa.ColumnElement[bool]]:
    at: Any = _TABLE.c.at if plain else sa.func.coalesce(_TABLE.c.at, _TABLE.c.at, type_=_TABLE.c.at.type)
    found = [at >= since.astimezone(dt.UTC)] if since else []
    return [*found, at < until.astimezone(dt.UTC)] if until else found


def _has_text(text: str, content: bytes) -> bool:
    """Return whether `text` may stand in the entry: quick, for most entries."""
    if not text or '"' in text or "\\" in text:
        return True
    return text.casefold() in content.decode(errors="replace").casefold()


def _says(text: str, entry: Entry) -> bool:
    event = entry.event
    return any(text.casefold() in one.casefold() for one in (event.object, event.reason, event.purpose, event.code))


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def _check_window(since: dt.datetime, until: dt.datetime) -> None:
    Query(since=since, until=until)
    if until - since > LONGEST_WINDOW + dt.timedelta(days=1):
        raise _refused("until", f"at most {LONGEST_WINDOW.days} days after `since`", "a longer window")


def _refused(where: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where=f"audit query, {where}",
        expected=expected,
        found=found,
        not_done="nothing was looked up",
        remedy="correct the question",
        code="audit-query",
    )
