"""Export of the audit log: entries as JSON lines, streamed in pages, to a file that appears whole or not at all.

The export is an event itself (`export log`), recorded before the first entry is read; the export ends with it or
before, so that it says of itself what was taken.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import sqlalchemy as sa

from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog, Entry, entry_of
from cloakhouse.ledger.audit_event import Action, stamp
from cloakhouse.ledger.ocsf import FORMATS
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, record
from cloakhouse.stages.forwarding_origin import origin_of

PAGE = 2_000  # entries in memory at once


@dataclass(frozen=True)
class Choice:
    """Which entries to export, and in which form.

    Attributes:
        since, until: UTC; from this moment on, and before that one. None: from the first, to the last.
        actions: of these only; none: all.
        format: `ocsf` or `jsonl`.

    Raises ConfigurationError for times without a zone or the wrong way round, unknown actions and formats.
    """

    since: dt.datetime | None = None
    until: dt.datetime | None = None
    actions: Sequence[str] = ()
    format: str = "ocsf"

    def __post_init__(self) -> None:
        times = [at for at in (self.since, self.until) if at is not None]
        if any(at.tzinfo is None for at in times) or (len(times) == 2 and times[0] >= times[1]):
            raise _refused("the times of an export", "a begin before the end, each with its zone", "others")
        if not set(self.actions) <= {action.value for action in Action}:
            raise _refused("the actions of an export", "of: " + ", ".join(Action), "one that there isn't")
        if self.format not in FORMATS:
            raise _refused("the format of an export", "one of: " + ", ".join(FORMATS), "another text")


def export_log(settings: Settings, choice: Choice, stream: BinaryIO) -> int:
    """Write the entries of `choice` to `stream`, one a line, in order, and return how many. Memory stays flat.

    Raises StorageError; KeyServiceError and AccessRefused for somebody unknown; IntegrityError for an entry that can't
    be read. What was written before then isn't whole: the caller drops it.
    """
    last = record(settings, event(settings, Action.EXPORT_LOG, "audit log", facts=_facts(choice)))
    line, origin, count = FORMATS[choice.format], origin_of(settings), 0
    for entry in _entries(AuditLog(settings.database), choice, last):
        stream.write(line(entry, origin) + b"\n")
        count += 1
    return count


def _entries(log: AuditLog, choice: Choice, last: int) -> Iterator[Entry]:
    table = db.audit_entry
    wanted = sa.select(table.c.number, table.c.content).where(table.c.number <= last)
    if choice.actions:
        wanted = wanted.where(table.c.action.in_(sorted(set(choice.actions))))
    if choice.since is not None:
        wanted = wanted.where(table.c.at >= choice.since.astimezone(dt.UTC))
    if choice.until is not None:
        wanted = wanted.where(table.c.at < choice.until.astimezone(dt.UTC))
    wanted = wanted.order_by(table.c.number).limit(PAGE)
    first = _first(log, choice)
    while True:
        with log.engine.connect() as connection:
            page = connection.execute(wanted.where(table.c.number >= first)).all()
        yield from (entry_of(row.number, row.content) for row in page)
        if len(page) < PAGE:
            return
        first = page[-1].number + 1


def _first(log: AuditLog, choice: Choice) -> int:
    """Return a number before which nothing is wanted, so that a late `since` isn't looked for from the beginning on."""
    if choice.since is None:
        return 0
    table = db.audit_entry
    wanted = sa.select(sa.func.min(table.c.number)).where(table.c.at >= choice.since.astimezone(dt.UTC))
    with log.engine.connect() as connection:
        return int(connection.execute(wanted).scalar_one() or 0)


def _facts(choice: Choice) -> dict[str, str | int]:
    times = {"since": choice.since, "until": choice.until}
    told: dict[str, str | int] = {name: stamp(at) for name, at in times.items() if at is not None}
    return {**told, "format": choice.format} | ({"actions": ", ".join(choice.actions)} if choice.actions else {})


def _refused(where: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing was exported",
        remedy="correct the option; `cloakhouse audit export --help` describes them",
        code="export",
    )
