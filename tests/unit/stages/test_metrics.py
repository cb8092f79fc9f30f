"""Metrics: closed names and labels, counters that read an entry once, nothing that tells of one person."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.published import PublishedHouse, empty_house

from cloakhouse.errors import KeyServiceError
from cloakhouse.ledger import database as db
from cloakhouse.ledger.approvals import APPROVED, Approvals, Decision
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import FAILED, REFUSED, Action, Event
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ManifestRef, ProtectedPartition
from cloakhouse.stages.approving import LAPSED
from cloakhouse.stages.metrics import PARTS, Metrics, Sources, sources
from cloakhouse.stages.metrics_log import COUNTED, LogTotals
from cloakhouse.stages.metrics_model import FAMILIES, Sample, share, whole_thousands
from cloakhouse.stages.retention_plan import Item, State

BY = Event("platform", Action.LAND, "transactions")
NOW = dt.datetime.now(dt.UTC)
REF = ManifestRef("a/b.json", "0" * 64)
OF_PERSONS = {
    Action.REQUEST_ERASURE,
    Action.CERTIFY_ERASURE,
    Action.ERASE,
    Action.HOLD_SUBJECT,
    Action.LIFT_SUBJECT_HOLD,
    Action.EXPORT_SUBJECT,
    Action.RECORD_CONSENT,
    Action.PIN_CONSENT,
    Action.DETOKENIZE,
    Action.LINK,
    Action.QUERY,
}


@pytest.fixture
def house(tmp_path: Path) -> PublishedHouse:
    return empty_house(tmp_path / "home")


def read(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {(sample.name.removeprefix("cloakhouse_"), *sample.labels): sample.value for sample in metrics.collect()}


def delivery(rows: int, revision: int = 1) -> Delivery:
    return Delivery("transactions", "2017-01-02", revision, f"{revision:064x}", rows, 1, REF, NOW)


def test_a_sample_is_of_a_known_metric_with_its_labels_and_a_finite_number() -> None:
    Sample("cloakhouse_log_entries", 1)
    for name, value, labels in (
        ("cloakhouse_persons", 1.0, ()),
        ("cloakhouse_log_entries", 1.0, ("ann",)),
        ("cloakhouse_log_entries", float("nan"), ()),
    ):
        with pytest.raises(ValueError, match="sample"):
            Sample(name, value, labels)


def test_names_follow_the_rules_of_prometheus() -> None:
    for family in FAMILIES.values():
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert not set(family.labels) & {"run", "user", "actor", "path", "subject", "value", "reason"}
        assert family.help.endswith(".")


def test_shares_and_rows_are_too_coarse_to_tell_of_one_person() -> None:
    assert whole_thousands(999) == 0
    assert whole_thousands(12_999) == 12_000
    assert share(1, 999) is None
    assert share(15, 1_000) == share(16, 1_000) == 0.02


def test_no_operation_on_single_persons_is_counted() -> None:
    assert not set(COUNTED) & OF_PERSONS


def test_what_is_new_in_the_log_is_counted_once(house: PublishedHouse) -> None:
    house.publish()
    metrics = Metrics(sources(house.settings))
    first = read(metrics)
    catalogue = Catalogue(house.settings.database)
    catalogue.add_delivery(delivery(1_900), BY)
    AuditLog(house.settings.database).record(
        Event("ann", Action.VALIDATE, "x", dataset="transactions", decision=REFUSED, code="validation.failed")
    )
    assert ("events_total", "land", "transactions", "allowed") not in first
    assert first["events_total", "validate", "transactions", "refused"] == 0  # so that the first one is an increase
    for _ in range(2):
        found = read(metrics)
        assert found["events_total", "land", "transactions", "allowed"] == 1
        assert found["events_total", "validate", "transactions", "refused"] == 1
        assert found["rows_total", "land", "transactions"] == 1_000
        assert found["events_total", "publish", "other", "allowed"] == 1  # no contract is about it
    catalogue.add_delivery(delivery(1_100, 2), BY)
    assert read(metrics)["rows_total", "land", "transactions"] == 3_000
    assert read(Metrics(sources(house.settings)))["rows_total", "land", "transactions"] == 3_000


def test_cpu_time_of_tasks_that_end_from_now_on(house: PublishedHouse) -> None:
    log = AuditLog(house.settings.database)

    def task(name: str, cpu_ms: int) -> Event:
        return Event("platform", Action.TASK, name, dag="protect_transactions", task=name, facts={"cpu_ms": cpu_ms})

    metrics = Metrics(sources(house.settings))
    log.record(task("land", 5_000))
    assert not [key for key in read(metrics) if key[0] == "task_cpu_seconds_total"]
    log.record(task("land", 1_500), task("pseudonymize", 250), task("pseudonymize", 250), task("whatever", 0))
    found = read(metrics)
    assert found["task_cpu_seconds_total", "land", "transactions"] == 1.5
    assert found["task_cpu_seconds_total", "pseudonymize", "transactions"] == 0.5
    assert found["task_cpu_seconds_total", "other", "transactions"] == 0


def test_another_database_in_the_place_of_the_one_that_was_read(house: PublishedHouse, tmp_path: Path) -> None:
    other = empty_house(tmp_path / "other")
    AuditLog(other.settings.database).record(replace(BY, action=Action.ALERT))
    house.publish()
    totals = LogTotals()
    for settings, action in ((house.settings, "publish"), (other.settings, "alert")):
        with db.open_database(settings.database).connect() as connection:
            found = {sample.labels[0] for sample in totals.read(connection, ()) if "events" in sample.name}
        assert found == {action}


def test_freshness_quarantine_and_what_is_not_validated(house: PublishedHouse) -> None:
    catalogue = Catalogue(house.settings.database)
    catalogue.add_delivery(delivery(1_000), BY)
    part = ProtectedPartition("transactions", "2017-01-02", f"{1:064x}", "1.0.0", 960, 40, False, REF)
    catalogue.record_protected([part], replace(BY, action=Action.PSEUDONYMIZE))
    found = read(Metrics(sources(house.settings)))
    assert found["quarantined_share", "transactions"] == 0.04
    assert found["unvalidated_partitions", "transactions"] == 1
    assert found["fresh_timestamp_seconds", "transactions"] == pytest.approx(NOW.timestamp(), abs=1)
    monday = dt.datetime(2017, 1, 2, tzinfo=dt.UTC).timestamp()
    assert found["partition_timestamp_seconds", "transactions"] == monday


def test_an_approval_waits_until_it_is_decided_or_lapses(house: PublishedHouse) -> None:
    from cloakhouse.contracts.approval import Approval

    given = sources(house.settings)
    contracts = dict(given.contracts())
    contracts["baskets_private"] = replace(contracts["baskets_private"], approval=Approval(frozenset({"kim"}), 48))
    metrics, log = Metrics(replace(given, contracts=lambda: contracts)), AuditLog(house.settings.database)
    key = ("approvals_waiting", "baskets_private")
    assert read(metrics)[key] == 0

    def passed(evidence: str) -> None:
        log.record(Event("p", Action.VALIDATE, "x", dataset="baskets_private", facts={"evidence": evidence}))

    asked = Event("p", Action.APPROVE, "x", dataset="baskets_private")
    passed("1" * 64)
    assert read(metrics)[key] == 1
    log.record(replace(asked, decision=REFUSED, code="access.approver"))  # somebody who may not decide
    assert read(metrics)[key] == 1
    decision = Decision("baskets_private", "1" * 64, APPROVED, "kim", "ann", "reviewed")
    Approvals(house.settings.database).record(decision, asked)
    assert read(metrics)[key] == 0
    passed("2" * 64)
    assert read(metrics)[key] == 1
    log.record(replace(asked, decision=REFUSED, code=LAPSED))
    assert read(metrics)[key] == 0


def test_open_erasures_and_the_first_deadline(house: PublishedHouse) -> None:
    asked = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    row = {"actor": "ann", "reason": "a reason", "subjects": 1, "request_path": "p", "request_sha256": "0" * 64}
    with db.open_database(house.settings.database).begin() as connection:
        for day, state in enumerate(("done", "open", "open")):
            at = asked + dt.timedelta(days=day)
            values = {**row, "batch": f"er-{day}", "state": state, "requested_at": at}
            connection.execute(sa.insert(db.erasure).values(values))
    found = read(Metrics(sources(house.settings)))
    assert found["erasures_open",] == 2
    assert found["erasure_deadline_timestamp_seconds",] == (asked + dt.timedelta(days=31)).timestamp()


def test_retention_that_is_due_and_what_is_kept_is_not(house: PublishedHouse) -> None:
    past, later = NOW - dt.timedelta(days=3), NOW + dt.timedelta(days=3)

    def item(due: dt.datetime, state: State) -> Item:
        return Item("transactions", "landing", "2017-01-02/1", past, due, 7, state)

    items = [item(past, State.DUE), item(past, State.DUE), item(past, State.KEPT), item(later, State.LATER)]
    found = read(Metrics(replace(sources(house.settings), retention=lambda: items)))
    assert found["retention_due", "transactions", "landing"] == 2
    assert found["retention_since_timestamp_seconds",] == past.timestamp()
    assert found["retention_due", "customers", "landing"] == 0


def test_the_last_measurement_and_verification(house: PublishedHouse) -> None:
    facts = {"encrypted_bytes": 75, "plaintext_bytes": 25, "findings": 2}
    measured = Event("p", Action.MEASURE_COVERAGE, "lake", decision=FAILED, code="integrity.coverage", facts=facts)
    verified = Event("p", Action.VERIFY_LOG, "audit log", decision=FAILED, code="integrity.audit-log")
    AuditLog(house.settings.database).record(measured, verified)
    found = read(Metrics(sources(house.settings)))
    assert (found["encrypted_share",], found["unencrypted_files",], found["log_sound",]) == (0.75, 2, 0)
    assert found["log_uncovered_entries",] == found["log_entries",]
    assert ("checkpoint_timestamp_seconds",) not in found


def test_the_last_backup_that_was_finished(house: PublishedHouse) -> None:
    log, full, rights = AuditLog(house.settings.database), {"kind": "full"}, {"kind": "rights"}
    log.record(Event("p", Action.BACK_UP, "a", facts=full))
    assert ("backup_timestamp_seconds",) not in read(Metrics(sources(house.settings)))
    at = NOW - dt.timedelta(days=1)
    log.record(Event("p", Action.FINISH_BACKUP, "a", facts=full, at=at), Event("p", Action.BACK_UP, "b", facts=full))
    log.record(Event("p", Action.FINISH_BACKUP, "c", facts=rights))
    assert read(Metrics(sources(house.settings)))["backup_timestamp_seconds",] == at.timestamp()


def test_a_part_that_is_away_is_told_and_leaves_the_others(house: PublishedHouse) -> None:
    def away() -> Sources:
        raise KeyServiceError(where="a", expected="b", found="c", not_done="d", remedy="e")

    found = read(Metrics(replace(sources(house.settings), keys=away)))  # type: ignore[arg-type]
    assert {part: found["part_up", part] for part in PARTS} == {part: float(part != "keys") for part in PARTS}
    assert not [key for key in found if key[0].startswith("key_")]
    assert ("log_entries",) in found
