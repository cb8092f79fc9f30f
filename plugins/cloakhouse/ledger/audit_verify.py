"""Verification of the audit log, in one pass over its rows, in memory that doesn't grow with them.

1. Numbers go from 0 without a gap.
2. Each content is an event in its canonical form, and its hash the stored hash of the leaf.
3. The columns for queries say what the content says.
4. Each stored hash of a node is that of the two below it (see `audit_tree`); where they don't fit, it is found out
   whether an entry was put in, taken out, or moved.
5. At the size of each checkpoint the root is the one that was signed; and the log is as long as each.

Steps 1 to 4 find whatever was done to rows by whoever doesn't make the hashes anew. Who does is found by step 5, as far
as a checkpoint covers it: that is why checkpoints are kept where the log's keepers can't write.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event, decode
from cloakhouse.ledger.audit_findings import Findings, Kind, Noted, Remark, Verification
from cloakhouse.ledger.audit_moves import MOST_SUSPECTS, changed_places
from cloakhouse.ledger.audit_signed import Signed
from cloakhouse.ledger.audit_tree import FITS, SHAPE, StoredTree
from cloakhouse.ledger.checkpoints import Checkpoint
from cloakhouse.ledger.merkle import SIZE, leaf_hash

PAGE = 5_000  # rows read at once
AHEAD = 64  # rows looked at to see how a log goes on
MOST_TAKEN_OUT = 16  # entries taken out in one place, all after them numbered anew, that are recognised as that
MOST_DIAGNOSES = 100  # rows out of place that are looked into; of a log with more of them it is told that they are
_ROWS = sa.text(
    "SELECT number, content, hashes, action, actor, dataset, decision, run, count, at FROM audit_entry"
    " WHERE number > :after AND number <= :last ORDER BY number LIMIT :most"
)
_BEFORE_ALL = -(2**63)


def verify(log: AuditLog, checkpoints: Sequence[Checkpoint] = ()) -> Verification:
    """Return what is wrong with the log as it is now, compared with `checkpoints`, whose signatures are verified.

    What is added meanwhile is not looked at. Raises StorageError.
    """
    last = log.size() - 1
    work = _Pass(log, last, Signed(checkpoints))
    for row in _rows(log, _BEFORE_ALL, last):
        work.row(row)
    return work.result()


class _Pass:
    """One pass over the rows. The tree's next leaf is the next number, unless rows were found to be put in or taken
    out with all after them numbered anew."""

    def __init__(self, log: AuditLog, last: int, signed: Signed) -> None:
        self._log, self._last, self._signed = log, last, signed
        self._findings, self._suspects = Findings(), list[int]()
        self._tree = self._tree_before = StoredTree()
        self._mark_before = self._findings.mark()
        self._next = self._diagnoses = 0
        self._latest = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._backwards, self._first_backwards = 0, 0
        signed.at(self._tree, self._findings)

    def row(self, row: Any) -> None:
        """Take the next row in the order of numbers."""
        number, hashes = int(row[0]), _bytes(row[2])
        if number < 0:
            self._findings.add(Kind.INSERTED, number, number)
            return
        if number > self._next:
            self._findings.add(Kind.MISSING, self._next, number - 1)
            self._tree.skip(number - self._next)
        self._next = number + 1
        if self._placed(number, hashes):
            self._look(number, row, hashes)
            self._signed.at(self._tree, self._findings)

    def result(self) -> Verification:
        """Return what the pass came to."""
        self._signed.end(self._tree, self._findings)
        for first, second in changed_places(self._log, self._suspects, self._last):
            self._findings.moved(first, second)
        remarks = [Noted(Remark.CLOCK, self._backwards, self._first_backwards)] if self._backwards else []
        return Verification(
            size=max(self._next, 0),
            root=self._tree.root(),
            checkpoints=tuple(self._signed.agreed),
            findings=tuple(sorted(self._findings.found, key=lambda one: (one.first, one.last))),
            remarks=(*remarks, *self._signed.remarks(self._tree.size)),
            more=self._findings.more,
        )

    def _placed(self, number: int, hashes: bytes) -> bool:
        """Give the row its place in the tree; return whether it has one."""
        before, mark = self._tree.copy(), self._findings.mark()
        wrong = self._tree.add(hashes)
        if wrong == SHAPE:
            return self._misplaced(number, hashes)
        self._tree_before, self._mark_before = before, mark
        if wrong != FITS:
            self._findings.add(Kind.EDITED, number + 1 - (1 << wrong), number)
            if wrong == 1:
                self._suspect(number - 1, number)
        return True

    def _misplaced(self, number: int, hashes: bytes) -> bool:
        """Find out why a row has not as many hashes as its place asks for; return whether it has one after all."""
        self._diagnoses += 1
        if self._diagnoses > MOST_DIAGNOSES:
            return self._edited(number)
        ahead = [hashes, *(_bytes(row[2]) for row in _rows(self._log, number, min(self._last, number + AHEAD)))]
        if self._tree_before.takes(ahead):
            self._findings.back_to(self._mark_before)
            self._findings.add(Kind.INSERTED, number - 1, number - 1)
            self._tree = self._tree_before
            return self._placed(number, hashes)
        if self._tree.takes(ahead[1:]):
            self._findings.add(Kind.INSERTED, number, number)
            return False
        for count in range(1, MOST_TAKEN_OUT + 1):
            trial = self._tree.copy()
            trial.skip(count)
            if trial.takes(ahead):
                self._findings.add(Kind.MISSING, number, number + count - 1)
                self._tree = trial
                return self._placed(number, hashes)
        return self._edited(number)

    def _edited(self, number: int) -> bool:
        self._suspect(number)
        self._findings.add(Kind.EDITED, number, number)
        self._tree.skip(1)
        return True

    def _look(self, number: int, row: Any, hashes: bytes) -> None:
        """Compare the content with the hash of the leaf, the columns with the content, the time with the one before."""
        content = _bytes(row[1])
        event = _event(content)
        if event is None or event.at is None or leaf_hash(content) != hashes[:SIZE]:
            self._suspect(number)
            self._findings.add(Kind.EDITED, number, number)
            return
        copied = (event.action, event.actor, event.dataset, event.decision, event.run, event.count)
        if tuple(row[3:9]) != copied or not _same_time(row[9], event.at):
            self._findings.add(Kind.COPY_DIFFERS, number, number)
        if event.at < self._latest:
            self._first_backwards = self._first_backwards if self._backwards else number
            self._backwards += 1
        self._latest = event.at

    def _suspect(self, *numbers: int) -> None:
        if len(self._suspects) < MOST_SUSPECTS:
            self._suspects += numbers


def _rows(log: AuditLog, after: int, last: int) -> Iterator[Any]:
    """Yield the rows with numbers above `after`, up to `last`, as the driver gives them: whatever is in them."""
    while True:
        with log.engine.connect() as connection:
            rows = connection.execute(_ROWS, {"after": after, "last": last, "most": PAGE}).all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1][0]


def _event(content: bytes) -> Event | None:
    try:
        return decode(content)
    except ValueError:
        return None


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _same_time(stored: object, at: dt.datetime) -> bool:
    if isinstance(stored, dt.datetime):
        return stored == at
    return stored == at.replace(tzinfo=None).isoformat(" ", "microseconds")
