"""How far each receiver of the audit log has got: positions in the table `forwarding`, moved on after acknowledgement.

A position only moves forward, and only from where the sender began (compare and set), so that of two senders at once
none takes back what the other was told. What was sent and not yet noted when a process is killed is sent again: entries
may come twice, none is left out.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.version_rows import aware
from cloakhouse.ledger.writing import alone, retried

LONGEST_TROUBLE = 200


@dataclass(frozen=True)
class Position:
    """Where one receiver is.

    Attributes:
        receiver: its name in the settings.
        next: the number of the entry that it gets next.
        at: when it last moved, or when its trouble began (UTC).
        trouble: the code of what keeps it from moving (`forwarding.refused`); empty while nothing does.
    """

    receiver: str
    next: int
    at: dt.datetime
    trouble: str = ""


class Positions:
    """Reads and moves positions. Safe from many processes. Every method raises StorageError."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    def all(self) -> list[Position]:
        """Return every position there is, in order of the receivers' names."""
        table = db.forwarding
        with self._engine.connect() as connection:
            return [_position(row) for row in connection.execute(sa.select(table).order_by(table.c.receiver))]

    def of(self, receiver: str) -> int:
        """Return the number of the entry that `receiver` gets next: 0 for one that got none."""
        table = db.forwarding
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(table.c.next).where(table.c.receiver == receiver)).scalar()
        return 0 if found is None else int(found)

    def advance(self, receiver: str, begun: int, reached: int, at: dt.datetime | None = None) -> bool:
        """Note that `receiver` has the entries from `begun` up to `reached` (not included); return whether it was
        noted: not if somebody else moved it meanwhile. Trouble is over with it."""
        return self._changed(receiver, begun, {"next": reached, "trouble": "", "at": _moment(at)})

    def in_trouble(self, receiver: str, begun: int, code: str, at: dt.datetime | None = None) -> None:
        """Note that `receiver` could not be given the entry `begun`, and why; the time of the same trouble stays."""
        table = db.forwarding
        with self._engine.connect() as connection:
            known = connection.execute(sa.select(table.c.trouble).where(table.c.receiver == receiver)).scalar()
        if known != code:
            self._changed(receiver, begun, {"trouble": code[:LONGEST_TROUBLE], "at": _moment(at)})

    @retried
    def _changed(self, receiver: str, begun: int, values: dict[str, object]) -> bool:
        table = db.forwarding
        with alone(self._engine, f"forwarding to {receiver}") as connection:
            there = connection.execute(sa.select(table.c.next).where(table.c.receiver == receiver)).scalar()
            if there is None and begun == 0:
                fresh = {"receiver": receiver, "next": 0, "trouble": "", **values}
                connection.execute(sa.insert(table).values(fresh))
                return True
            mine = (table.c.receiver == receiver) & (table.c.next == begun)
            return connection.execute(sa.update(table).where(mine).values(values)).rowcount == 1


def _moment(at: dt.datetime | None) -> dt.datetime:
    return at or dt.datetime.now(dt.UTC)


def _position(row: sa.Row[tuple[object, ...]]) -> Position:
    fields = dict(row._mapping)
    fields["at"] = aware(fields["at"])
    return Position(**fields)
