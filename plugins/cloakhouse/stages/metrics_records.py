"""Gauges from the control database: how fresh data is, how the log stands, what waits for whom.

A fixed number of look-ups, each in an index or over a table with one row a partition, a version, an alert or a request.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from cloakhouse.contracts.model import Contract
from cloakhouse.ledger import database as db
from cloakhouse.ledger.alert_rules import SEVERITIES
from cloakhouse.ledger.audit_event import ALLOWED, Action
from cloakhouse.ledger.erasure_model import ErasureState
from cloakhouse.ledger.version_rows import aware
from cloakhouse.stages.approving import LAPSED
from cloakhouse.stages.backup_events import backups_of
from cloakhouse.stages.metrics_model import Sample, share

DEADLINE = dt.timedelta(days=30)  # GDPR Art. 12(3): within one month of receipt; February is not counted on
LATE_ANSWERS = 20  # entries about an approval that are looked at
_LOG, _P = db.audit_entry, db.protected_partition


def datasets(connection: sa.Connection, contracts: Mapping[str, Contract]) -> Iterator[Sample]:
    """Yield how fresh each dataset of a contract is, the share in quarantine, and what no validation has passed."""
    newest = sa.func.max(db.delivery.c.partition), sa.func.max(db.delivery.c.landed_at)
    for name, partition, landed in connection.execute(
        sa.select(db.delivery.c.dataset, *newest).group_by(db.delivery.c.dataset)
    ):
        if name in contracts:
            yield Sample("cloakhouse_fresh_timestamp_seconds", _seconds(landed), (name,))
            day = dt.datetime.fromisoformat(partition).replace(tzinfo=dt.UTC)
            yield Sample("cloakhouse_partition_timestamp_seconds", day.timestamp(), (name,))
    published = sa.func.max(db.dataset_version.c.published_at)
    for name, at in connection.execute(
        sa.select(db.dataset_version.c.dataset, published).group_by(db.dataset_version.c.dataset)
    ):
        if name in contracts:
            yield Sample("cloakhouse_fresh_timestamp_seconds", _seconds(at), (name,))
    sums = sa.func.sum(_P.c.rows), sa.func.sum(_P.c.quarantined), sa.func.sum(sa.case((_P.c.validated, 0), else_=1))
    there = sa.select(_P.c.dataset, *sums).where(_P.c.expired_at.is_(None)).group_by(_P.c.dataset)
    for name, rows, quarantined, waiting in connection.execute(there):
        if name in contracts:
            yield Sample("cloakhouse_unvalidated_partitions", int(waiting), (name,))
            if (told := share(int(quarantined), int(rows) + int(quarantined))) is not None:
                yield Sample("cloakhouse_quarantined_share", told, (name,))


def log(connection: sa.Connection) -> Iterator[Sample]:
    """Yield how the audit log stands: size, newest checkpoint, the last verification, measurement and backup."""
    newest = connection.execute(sa.select(sa.func.max(_LOG.c.number))).scalar_one()
    size = 0 if newest is None else int(newest) + 1
    checkpoint = connection.execute(
        sa.select(db.audit_checkpoint.c.size, db.audit_checkpoint.c.at).order_by(db.audit_checkpoint.c.size.desc())
    ).first()
    yield Sample("cloakhouse_log_entries", size)
    yield Sample("cloakhouse_log_uncovered_entries", size - (checkpoint.size if checkpoint else 0))
    if checkpoint:
        yield Sample("cloakhouse_checkpoint_timestamp_seconds", _seconds(checkpoint.at))
    if verified := _last(connection, Action.VERIFY_LOG):
        yield Sample("cloakhouse_log_verified_timestamp_seconds", _seconds(verified.at))
        yield Sample("cloakhouse_log_sound", float(verified.decision == ALLOWED))
    if measured := _last(connection, Action.MEASURE_COVERAGE):
        facts = json.loads(bytes(measured.content)).get("facts", {})
        encrypted, plaintext = int(facts.get("encrypted_bytes", 0)), int(facts.get("plaintext_bytes", 0))
        total = encrypted + plaintext
        yield Sample("cloakhouse_encrypted_share", encrypted / total if total else 1.0)
        yield Sample("cloakhouse_unencrypted_files", int(facts.get("findings", 0)))
        yield Sample("cloakhouse_coverage_timestamp_seconds", _seconds(measured.at))
    if (backed_up := backups_of(connection).finished_at) is not None:
        yield Sample("cloakhouse_backup_timestamp_seconds", _seconds(backed_up))


def waiting(connection: sa.Connection, contracts: Mapping[str, Contract]) -> Iterator[Sample]:
    """Yield what waits for a person: open alerts, approvals, erasures."""
    open_alerts = sa.select(db.alert.c.severity, sa.func.count()).select_from(
        db.alert.outerjoin(db.alert_acknowledgement, db.alert_acknowledgement.c.alert == db.alert.c.id)
    )
    unseen = open_alerts.where(db.alert_acknowledgement.c.alert.is_(None)).group_by(db.alert.c.severity)
    found: dict[str, int] = {row[0]: int(row[1]) for row in connection.execute(unseen)}
    for severity in SEVERITIES:
        yield Sample("cloakhouse_alerts_open", found.get(severity, 0), (severity,))
    for name, contract in sorted(contracts.items()):
        if contract.approval is not None:
            yield Sample("cloakhouse_approvals_waiting", float(_undecided(connection, name)), (name,))
    request = db.erasure.c
    count, first = connection.execute(
        sa.select(sa.func.count(), sa.func.min(request.requested_at)).where(request.state == ErasureState.OPEN)
    ).one()
    yield Sample("cloakhouse_erasures_open", count)
    if first is not None:
        yield Sample("cloakhouse_erasure_deadline_timestamp_seconds", _seconds(first) + DEADLINE.total_seconds())


def _undecided(connection: sa.Connection, dataset: str) -> bool:
    """Return whether the newest evidence of `dataset` that passed was neither decided on nor left to lapse."""
    of_dataset = (_LOG.c.dataset == dataset, _LOG.c.action == Action.VALIDATE, _LOG.c.decision == ALLOWED)
    passed = connection.execute(
        sa.select(_LOG.c.number, _LOG.c.content).where(*of_dataset).order_by(_LOG.c.number.desc()).limit(1)
    ).first()
    evidence = json.loads(bytes(passed.content)).get("facts", {}).get("evidence") if passed else None
    if passed is None or evidence is None:
        return False
    decided = sa.select(db.approval.c.id).where(db.approval.c.evidence_sha256 == evidence).limit(1)
    if connection.execute(decided).first() is not None:
        return False
    later = sa.select(_LOG.c.content).where(
        _LOG.c.dataset == dataset, _LOG.c.action == Action.APPROVE, _LOG.c.number > passed.number
    )
    answers = connection.execute(later.order_by(_LOG.c.number.desc()).limit(LATE_ANSWERS)).scalars()
    return not any(json.loads(bytes(one)).get("code") == LAPSED for one in answers)


def _last(connection: sa.Connection, action: Action) -> sa.Row[Any, Any, Any] | None:
    wanted = sa.select(_LOG.c.at, _LOG.c.decision, _LOG.c.content).where(_LOG.c.action == action)
    return connection.execute(wanted.order_by(_LOG.c.number.desc()).limit(1)).first()


def _seconds(at: dt.datetime) -> float:
    return aware(at).timestamp()
