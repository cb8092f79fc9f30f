"""What the audit log knows of backups: when one with the lake in it was last finished, how many were begun since."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import ALLOWED, Action, decode
from cloakhouse.ledger.version_rows import aware
from cloakhouse.stages.backup_manifest import RIGHTS

MOST = 2_000  # entries about backups that are looked at, newest first


@dataclass(frozen=True)
class Backups:
    """Backups with the lake in them: when the last one was finished (UTC; None: no one), and how many were begun after
    it, which were killed, failed, or are being made."""

    finished_at: dt.datetime | None
    begun: int


def backups_of(connection: sa.Connection) -> Backups:
    """Return what the log knows. Raises ValueError for an entry that is no event."""
    log = db.audit_entry.c
    acts = log.action.in_((Action.BACK_UP, Action.FINISH_BACKUP))
    wanted = sa.select(log.at, log.action, log.content).where(acts, log.decision == ALLOWED)
    begun = 0
    for row in connection.execute(wanted.order_by(log.number.desc()).limit(MOST)):
        if decode(bytes(row.content)).facts.get("kind") == RIGHTS:
            continue
        if row.action == Action.FINISH_BACKUP:
            return Backups(aware(row.at), begun)
        begun += 1
    return Backups(None, begun)
