"""Validation reports: what they hold, that they are signed and stand once, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.released import PLAIN, PRIVATE, RUN, Released, released

from cloakhouse.errors import IntegrityError, NotFound
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger import database as db
from cloakhouse.ledger.approvals import Approvals, Decision
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.versions import Selector
from cloakhouse.stages import report_fields
from cloakhouse.stages.reporting import (
    canonical,
    opened_report,
    report,
    sealed_report,
    write_report,
    written,
)
from cloakhouse.stages.signing import signing_key, trusted_key
from cloakhouse.stages.version_asked import version_asked


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Released:
    return released(tmp_path_factory.mktemp("private"))


def test_what_a_report_holds(private: Released) -> None:
    found = report(private.settings, private.version)
    content = found.content
    assert (found.name, found.passed) == (f"{PRIVATE}@1", True)
    assert list(content) == [
        *("format", "kind", "audience", "dataset", "version", "evidence", "release", "verdict", "contract", "lineage"),
        *("quality", "gate", "privacy", "utility", "approvals", "protection", "audit"),
    ]
    assert content["contract"]["digest"] == private.contract.digest
    assert content["lineage"]["sources"] == [
        {"dataset": "customers", "partitions": 1, "first": "2016-12-26", "last": "2016-12-26"},
        {"dataset": "products", "partitions": 1, "first": "2016-12-26", "last": "2016-12-26"},
        {"dataset": "transactions", "partitions": 2, "first": "2016-12-26", "last": "2017-01-02"},
    ]
    assert content["lineage"]["run"] == RUN
    assert content["privacy"]["guarantee"] == {
        "epsilon": 3.0,
        "delta": 1e-7,
        "rho": 0.157265387,
        "unit": "household",
        "consumer": "model training",
    }
    assert [point["epsilon"] for point in content["privacy"]["curve"]] == [0.5, 1.0, 2.0, 3.0, 4.0, 8.0, 16.0]
    assert [item["order"] for item in content["utility"]["marginals"]] == [1, 2, 3]
    assert content["protection"]["share"] == 1.0
    assert content["protection"]["master_keys"] == [{"name": "synthetic/sensitive", "columns": 1}]
    assert canonical(json.loads(found.to_bytes())) == found.to_bytes()


def test_labels_of_groups_stay_behind(private: Released) -> None:
    segments = report(private.settings, private.version).content["utility"]["segments"]
    assert {key for item in segments for key in item} == {
        *("column", "groups", "small_groups", "worst_tvd", "worst_excess"),
    }


def test_a_release_without_a_guarantee(tmp_path: Path) -> None:
    made = released(tmp_path, PLAIN)
    content = report(made.settings, made.version).content
    assert content["privacy"]["guarantee"] is None
    assert content["privacy"]["account"] is None
    assert len(content["privacy"]["attacks"]) == 34
    assert content["lineage"]["engine"] == "gaussian copula"


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e300, float("nan"), float("inf"), True, "1"])
def test_what_is_no_number_is_none(value: object) -> None:
    assert report_fields.number(value) is None


def test_approvals_and_entries_of_the_log_are_named(tmp_path: Path) -> None:
    made = released(tmp_path)
    log = AuditLog(made.settings.database)
    log.record(
        Event("platform", Action.LAND, "transactions/2017-01-02", dataset="transactions"),
        Event("platform", Action.RUN, RUN["dag"], run=RUN["run"]),
    )
    first = log.size() - 2
    decision = Decision(PRIVATE, made.evidence.sha256, "approved", "dana", "eve", "reviewed")
    moment = dt.datetime(2026, 11, 22, 9, tzinfo=dt.UTC)
    Approvals(made.settings.database).record(replace(decision, at=moment), Event("", Action.APPROVE, PRIVATE))
    content = report(made.settings, made.version).content
    assert content["approvals"] == [
        {"decision": "approved", "approver": "dana", "entry": first + 2, "at": "2026-11-22T09:00:00Z"},
    ]
    row = {**vars(decision), "at": moment, "entry": first + 2, "decision": "<b>"}
    with db.open_database(made.settings.database).begin() as connection:
        connection.execute(sa.insert(db.approval).values(**row))
    with pytest.raises(IntegrityError, match=r"integrity\.approval"):
        report(made.settings, made.version)
    assert first not in content["audit"]["numbers"]
    assert {first + 1, first + 2} <= set(content["audit"]["numbers"])


def test_a_report_is_written_once(tmp_path: Path) -> None:
    made = released(tmp_path)
    assert written(made.settings, made.version) is None
    ref, first = write_report(made.settings, made.version)
    AuditLog(made.settings.database).record(Event("platform", Action.TAG, f"{PRIVATE}@1", dataset=PRIVATE))
    assert write_report(made.settings, made.version) == (ref, first)
    assert ref.path == f"evidence/{PRIVATE}/reports/00000001-{ref.sha256[:16]}.json"
    assert len(list(open_store(made.settings).list(f"evidence/{PRIVATE}/reports"))) == 1


def test_every_flipped_byte_of_a_report_is_found(private: Released) -> None:
    text = sealed_report(private.settings, private.version)
    trusted = trusted_key(private.settings, "releases")
    assert opened_report(trusted, text, "report").name == f"{PRIVATE}@1"
    for at in range(0, len(text), 101):
        flipped = bytearray(text)
        flipped[at] ^= 1
        with pytest.raises(IntegrityError):
            opened_report(trusted, bytes(flipped), "report")


@pytest.mark.parametrize("payload", [b"{}", b"[]", b"\xff", b'{"format": 1, "kind": "validation report"}'])
def test_another_payload_under_the_same_key_is_no_report(private: Released, payload: bytes) -> None:
    from cloakhouse.lake.dsse import sealed_envelope
    from cloakhouse.stages.reporting import PAYLOAD_TYPE

    text = sealed_envelope(signing_key(private.settings, "releases"), PAYLOAD_TYPE, payload)
    with pytest.raises(IntegrityError) as problem:
        opened_report(trusted_key(private.settings, "releases"), text, "report")
    assert problem.value.code == "integrity.report"


def test_missing_files_and_plaintext_are_told(tmp_path: Path) -> None:
    made = released(tmp_path)
    path = made.settings.lake / made.release.files[0].path
    path.unlink()
    assert report(made.settings, made.version).content["protection"]["missing_files"] == 1
    path.write_bytes(b"PAR1 plain")
    found = report(made.settings, made.version).content["protection"]
    assert (found["plaintext_bytes"], found["findings"], found["share"]) == (10, 1, 0.0)


def test_a_contract_that_changed_since_is_asked_for(tmp_path: Path) -> None:
    from dataclasses import replace

    made = released(tmp_path)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "broken.odcs.yaml").write_text("a: [")
    with pytest.raises(NotFound) as problem:
        report(replace(made.settings, contracts=tmp_path / "none"), made.version)
    assert problem.value.code == "not-found.contract"


def test_an_auditor_may_ask_for_a_withdrawn_version(tmp_path: Path) -> None:
    made = released(tmp_path)
    with db.open_database(made.settings.database).begin() as connection:
        connection.execute(sa.update(db.dataset_version).values(state="withdrawn", reason="a mistake"))
    assert version_asked(made.settings, Selector(PRIVATE, version=1)).state == "withdrawn"
    with pytest.raises(NotFound):
        version_asked(made.settings, Selector(PRIVATE, version=7))
