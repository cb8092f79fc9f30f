"""Live forwarding of the audit log to the receivers of an installation: in order, at least once, never a gap.

Each receiver has its own position: 1. read it, 2. read a batch of entries from there on, 3. send them, 4. after the
acknowledgement, note the new position. A process killed between 3 and 4 sends the batch again, which a SIEM drops by
`metadata.uid`. A receiver in trouble keeps no other waiting, and its backlog is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.keys.files import locked
from cloakhouse.ledger.audit import AuditLog, Entry
from cloakhouse.ledger.forwarding import Positions
from cloakhouse.settings import Settings
from cloakhouse.stages.forwarding_faults import ForwardingError
from cloakhouse.stages.forwarding_file import FileSender
from cloakhouse.stages.forwarding_http import HttpSender
from cloakhouse.stages.forwarding_origin import origin_of
from cloakhouse.stages.forwarding_receivers import Receiver, receivers_of
from cloakhouse.stages.forwarding_syslog import SyslogSender

MOST = 50_000  # entries for each receiver and call
BUSY = "forwarding.busy"
WAIT_S = 1.0


class Sender(Protocol):
    """What gives entries to one receiver."""

    def send(self, entries: Sequence[Entry]) -> None:
        """Return once the receiver has acknowledged `entries`. Raises ForwardingError."""


SENDERS: Mapping[str, Callable[[Receiver, str], Sender]] = {
    "file": FileSender,
    "http": HttpSender,
    "syslog": SyslogSender,
}


@dataclass(frozen=True)
class Forwarded:
    """What one call did for one receiver.

    Attributes:
        receiver: its name.
        sent: entries that it acknowledged.
        backlog: entries that still wait for it.
        trouble: the code of what stopped it; empty for none. `forwarding.busy`: another process is sending to it.
        found: what was found, in words; empty without trouble.
    """

    receiver: str
    sent: int
    backlog: int
    trouble: str = ""
    found: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def forward(
    settings: Settings, receivers: Sequence[Receiver] | None = None, *, most: int = MOST, seconds: float = 50.0
) -> tuple[Forwarded, ...]:
    """Give each receiver (default: those of the settings) what it lacks, at most `most` entries; return what was done.

    No batch is begun when `seconds` are over for a receiver. A receiver's trouble is told in the answer, and kept
    beside its position: so is an entry that is missing or can't be read (`integrity.audit-log`). Raises
    ConfigurationError as `receivers_of`, StorageError.
    """
    wanted = receivers_of(settings) if receivers is None else receivers
    if not wanted:
        return ()
    origin, log, positions = origin_of(settings), AuditLog(settings.database), Positions(settings.database)
    return tuple(_forwarded(settings, one, origin, log, positions, most, seconds) for one in wanted)


def waiting(settings: Settings, receivers: Sequence[Receiver] | None = None) -> tuple[Forwarded, ...]:
    """Return the backlog and trouble of each receiver as they are, and send nothing. Raises as `forward`."""
    wanted = receivers_of(settings) if receivers is None else receivers
    if not wanted:
        return ()
    size = AuditLog(settings.database).size()
    known = {position.receiver: position for position in Positions(settings.database).all()}
    return tuple(
        Forwarded(one.name, 0, size - known[one.name].next, known[one.name].trouble)
        if one.name in known
        else Forwarded(one.name, 0, size)
        for one in wanted
    )


def _forwarded(
    settings: Settings,
    receiver: Receiver,
    origin: str,
    log: AuditLog,
    positions: Positions,
    most: int,
    seconds: float,
) -> Forwarded:
    name, sent, code, found = receiver.name, 0, "", ""
    try:
        with locked(settings.locks / f"forward-{name}.lock", WAIT_S, f"forwarding to {name}"):
            sender = SENDERS[receiver.kind](receiver, origin)
            deadline = time.monotonic() + seconds
            while sent < most and time.monotonic() < deadline:
                begun = positions.of(name)
                try:
                    entries = _batch(log, name, begun, min(receiver.batch, most - sent))
                    if not entries:
                        break
                    sender.send(entries)
                except (ForwardingError, IntegrityError) as fault:
                    code, found = fault.code, fault.found
                    positions.in_trouble(name, begun, code)
                    break
                if positions.advance(name, begun, entries[-1].number + 1):
                    sent += len(entries)
    except StageError:
        code, found = BUSY, "another process that sends to it"
    return Forwarded(name, sent, max(0, log.size() - positions.of(name)), code, found)


def _batch(log: AuditLog, receiver: str, first: int, limit: int) -> list[Entry]:
    """Return the next entries. Raises IntegrityError where one is missing: a gap must not be passed over."""
    entries = log.entries(first, limit)
    there = [entry.number for entry in entries]
    if there != list(range(first, first + len(there))) or (not there and first > log.size()):
        raise IntegrityError(
            where=f"audit log, from entry {first} on",
            expected="every entry, in the order of their numbers",
            found="a missing one, or a log that was shortened",
            not_done=f"nothing more was sent to {receiver}",
            remedy="run `cloakhouse audit verify`, and keep the database as it is for whoever investigates",
            code="audit-log",
        )
    return entries
