"""What persons decided over evidence before it was published.

A decision and its event in the audit log are one transaction, and a decision is looked up together with that event:
a row that the log doesn't know gives no permission. Rows are only ever added; of several decisions over the same
evidence the newest counts.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import sqlalchemy as sa

from cloakhouse.errors import IntegrityError
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import append, entry_of
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED, Action, Event
from cloakhouse.ledger.version_rows import aware
from cloakhouse.ledger.writing import alone, retried

APPROVED, REJECTED = "approved", "rejected"
REJECTION = "approval.rejected"  # the code of its event
STARTER = "triggered_by"  # the fact of a run's event that names who started it
_LOCK = "approvals"


@dataclass(frozen=True)
class Decision:
    """One person's decision.

    Attributes:
        dataset: what would be published.
        evidence_sha256: of the manifest of the evidence that the person decided over (hex).
        decision: `approved` or `rejected`.
        approver: the Airflow user who decided.
        requester: the Airflow users who started the run, joined by `, `; empty where none did.
        reason: as the person chose it.
        entry: number of its event in the audit log.
        at: UTC; None: now.
    """

    dataset: str
    evidence_sha256: str
    decision: str
    approver: str
    requester: str
    reason: str
    entry: int = -1
    at: dt.datetime | None = None


class Approvals:
    """Records and lists decisions. Safe from many processes."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    @retried
    def record(self, decision: Decision, event: Event) -> Decision:
        """Add `decision` and `event`, in one transaction, and return the decision with the event's number.

        The same decision of the same approver over the same evidence, when it is the newest, is not added again: the
        one that stands is returned. Raises StorageError, IntegrityError.
        """
        with alone(self._engine, _LOCK) as connection:
            standing = _newest(connection, decision.dataset, decision.evidence_sha256)
            if standing and (standing.decision, standing.approver) == (decision.decision, decision.approver):
                return standing
            at = decision.at or dt.datetime.now(dt.UTC)
            number = append(connection, [replace(described(decision, event), at=at)])
            whole = replace(decision, entry=number, at=at)
            connection.execute(sa.insert(db.approval).values(**vars(whole)))
            return whole

    def newest(self, dataset: str, evidence_sha256: str) -> Decision | None:
        """Return the decision that counts over this evidence, None where nobody decided yet.

        Raises StorageError, and IntegrityError (`integrity.approval`) for a row whose event in the log is missing or
        tells something else, and for a later decision in the log that has no row.
        """
        with self._engine.connect() as connection:
            found = _newest(connection, dataset, evidence_sha256)
            if found is not None:
                _require_event(connection, found)
                _require_nothing_since(connection, found)
            return found

    def over(self, dataset: str, evidence_sha256: str) -> list[Decision]:
        """Return every decision over this evidence, oldest first. Raises as `newest`."""
        table = db.approval
        mine = (table.c.evidence_sha256 == evidence_sha256) & (table.c.dataset == dataset)
        with self._engine.connect() as connection:
            found = [_decision(row) for row in connection.execute(sa.select(table).where(mine).order_by(table.c.id))]
            for one in found:
                _require_event(connection, one)
            if found:
                _require_nothing_since(connection, found[-1])
        return found

    def rejected_in(self, dataset: str, evidence_sha256: str, run: str) -> bool:
        """Return whether the decision that counts over this evidence is a rejection of this run. Raises as `newest`."""
        with self._engine.connect() as connection:
            found = _newest(connection, dataset, evidence_sha256)
            return found is not None and found.decision == REJECTED and _require_event(connection, found).run == run

    def decisions(self, dataset: str = "", limit: int = 200) -> list[Decision]:
        """Return at most `limit` decisions, of one dataset or of all, newest first. Raises StorageError."""
        table = db.approval
        wanted = sa.select(table).order_by(table.c.id.desc()).limit(limit)
        if dataset:
            wanted = wanted.where(table.c.dataset == dataset)
        with self._engine.connect() as connection:
            return [_decision(row) for row in connection.execute(wanted)]

    def starters(self, dag: str, run: str) -> set[str]:
        """Return the users who started a run, as far as the audit log tells it (see `cloakhouse.flow.listener`)."""
        table = db.audit_entry
        wanted = sa.select(table.c.number, table.c.content).where(table.c.run == run, table.c.action == Action.RUN)
        with self._engine.connect() as connection:
            events = [entry_of(row.number, row.content).event for row in connection.execute(wanted)]
        return {str(event.facts[STARTER]) for event in events if event.dag == dag and STARTER in event.facts}


def described(decision: Decision, event: Event) -> Event:
    """Return `event` as the log tells `decision`; `_require_event` compares these fields."""
    return replace(
        event,
        action=Action.APPROVE,
        actor=f"airflow:{decision.approver}",
        dataset=decision.dataset,
        decision=ALLOWED if decision.decision == APPROVED else REFUSED,
        code="" if decision.decision == APPROVED else REJECTION,
        reason=decision.reason,
        facts={**event.facts, "evidence": decision.evidence_sha256, "requester": decision.requester},
    )


def _newest(connection: sa.Connection, dataset: str, evidence_sha256: str) -> Decision | None:
    table = db.approval
    mine = (table.c.evidence_sha256 == evidence_sha256) & (table.c.dataset == dataset)
    row = connection.execute(sa.select(table).where(mine).order_by(table.c.id.desc()).limit(1)).first()
    return None if row is None else _decision(row)


def _decision(row: sa.Row[tuple[object, ...]]) -> Decision:
    fields = dict(row._mapping)
    del fields["id"]
    return Decision(**{**fields, "at": aware(fields["at"])})


def _require_event(connection: sa.Connection, found: Decision) -> Event:
    table = db.audit_entry
    content = connection.execute(sa.select(table.c.content).where(table.c.number == found.entry)).scalar()
    event = None if content is None else entry_of(found.entry, content).event
    if event is None or event != described(found, event):
        raise _differs(found.dataset, "the event of this decision in the audit log", "none, or one that tells another")
    return event


def _require_nothing_since(connection: sa.Connection, newest: Decision) -> None:
    """Return unless the log tells a decision over the same evidence after `newest`, whose row was taken away."""
    table = db.audit_entry
    mine = (table.c.action == Action.APPROVE) & (table.c.dataset == newest.dataset) & (table.c.number > newest.entry)
    for row in connection.execute(sa.select(table.c.number, table.c.content).where(mine)):
        event = entry_of(row.number, row.content).event
        counted = event.decision == ALLOWED or event.code == REJECTION
        if counted and event.facts.get("evidence") == newest.evidence_sha256:
            raise _differs(newest.dataset, "the newest decision that the audit log tells", "an older one")


def _differs(dataset: str, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=f"approval of {dataset}",
        expected=expected,
        found=found,
        not_done="the decision was not counted; nothing was published",
        remedy="run `cloakhouse audit verify`, and keep the database as it is for whoever investigates",
        code="approval",
    )
