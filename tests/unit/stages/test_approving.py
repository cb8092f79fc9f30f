"""Approval: who may decide, over what, for which reason; what is recorded; and what publication counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.approvals import APPROVERS, DATASET, asking_house, evidence
from tests.support.crash import limit_file_size
from tests.support.processes import in_fork
from tests.support.published import PublishedHouse

from cloakhouse.contracts.model import Approval
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import AccessRefused, ConfigurationError, IntegrityError, StorageError, ValidationRefused
from cloakhouse.flow import tasks
from cloakhouse.ledger.approvals import Approvals
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.database import open_database
from cloakhouse.stages.approving import Answer, approved, decide, lapse, require_approved, written

RUN = Event("platform", "approve", "", "operations", dag="publish_x", run="r", task="approve")
YES = Answer("approver", "approver", True, "reviewed", "DPO-17")
NO = Answer("approver", "approver", False, "figures")


@pytest.fixture
def house(tmp_path: Path) -> PublishedHouse:
    return asking_house(tmp_path / "home", tmp_path / "dags" / "contracts")


@pytest.fixture
def made(house: PublishedHouse) -> ManifestRef:
    return evidence(house)


def events(house: PublishedHouse) -> list[tuple[str, str, str, str]]:
    found = [e for e in AuditLog(house.settings.database).events() if e.action == Action.APPROVE]
    return [(e.actor, e.decision, e.code, e.reason) for e in found]


def test_an_approval_is_recorded_with_its_event_and_lets_publish(house: PublishedHouse, made: ManifestRef) -> None:
    with pytest.raises(ValidationRefused) as refusal:
        require_approved(house.settings, house.contract, made)
    assert refusal.value.code == "validation.approval"
    decision = decide(house.settings, house.contract, made, YES, ["engineer"], RUN)
    text = "evidence reviewed: the figures suit the purpose (DPO-17)"
    assert (decision.decision, decision.approver, decision.requester) == ("approved", "approver", "engineer")
    assert decision.reason == text
    assert events(house) == [("airflow:approver", "allowed", "", text)]
    event = AuditLog(house.settings.database).events()[decision.entry]
    assert event.facts == {
        "contract": "1.0.0",
        "contract_sha256": house.contract.digest,
        "evidence": made.sha256,
        "requester": "engineer",
    }
    assert (event.dataset, event.object, event.dag, event.run, event.task) == (
        DATASET,
        DATASET,
        "publish_x",
        "r",
        "approve",
    )
    require_approved(house.settings, house.contract, made)
    assert Approvals(house.settings.database).decisions(DATASET) == [decision]
    assert Approvals(house.settings.database).decisions("other") == []
    assert decide(house.settings, house.contract, made, YES, ["engineer"], RUN) == decision  # the same again
    assert len(events(house)) == 1


def test_the_newest_decision_counts(house: PublishedHouse, made: ManifestRef) -> None:
    for answer, expected in ((YES, True), (NO, False), (YES, True)):
        decide(house.settings, house.contract, made, answer, [], RUN)
        assert approved(house.settings, house.contract, made) is expected
    assert [(decision, code) for _, decision, code, _ in events(house)] == [
        ("allowed", ""),
        ("refused", "approval.rejected"),
        ("allowed", ""),
    ]


REFUSED: list[tuple[Answer, list[str], type[Exception], str]] = [
    (replace(YES, user="model", name="model"), [], AccessRefused, "access.approver"),
    (replace(YES, user="APPROVER"), [], AccessRefused, "access.approver"),
    (YES, ["approver"], AccessRefused, "access.four-eyes"),
    (YES, ["engineer", "Approver"], AccessRefused, "access.four-eyes"),
    (replace(YES, name="Ann"), ["ann"], AccessRefused, "access.four-eyes"),
    (replace(YES, reason=""), [], ConfigurationError, "configuration.reason"),
    (replace(YES, reason="ann@example.org called"), [], ConfigurationError, "configuration.reason"),
    (replace(YES, reference="4111111111111111"), [], ConfigurationError, "configuration.reason"),
    (replace(YES, reference="DPO-17\n"), [], ConfigurationError, "configuration.reason"),
]


def test_what_may_not_decide_is_recorded_as_refused(house: PublishedHouse, made: ManifestRef) -> None:
    for number, (answer, requesters, kind, code) in enumerate(REFUSED, 1):
        with pytest.raises(kind) as refusal:
            decide(house.settings, house.contract, made, answer, requesters, RUN)
        assert refusal.value.code == code  # type: ignore[attr-defined]
        assert "ann@example.org" not in str(refusal.value)
        assert len(events(house)) == number
        assert events(house)[-1][2:] == (code, "")
        assert events(house)[-1][1] != "allowed"
    assert not approved(house.settings, house.contract, made)


def test_another_user_s_strange_name_is_told_by_its_digest(house: PublishedHouse, made: ManifestRef) -> None:
    with pytest.raises(AccessRefused):
        decide(house.settings, house.contract, made, replace(YES, user="ann@example.org"), [], RUN)
    assert events(house)[0][0].startswith("airflow:sha256-")


def test_an_approval_holds_for_its_evidence_and_contract_alone(house: PublishedHouse, made: ManifestRef) -> None:
    decide(house.settings, house.contract, made, YES, [], RUN)
    other = evidence(house)
    with pytest.raises(ValidationRefused):
        require_approved(house.settings, house.contract, other)
    with pytest.raises(IntegrityError):
        require_approved(house.settings, house.contract, ManifestRef(other.path, made.sha256))
    changed = replace(house.contract, digest="0" * 64)
    with pytest.raises(ValidationRefused) as refusal:
        require_approved(house.settings, changed, made)
    assert refusal.value.found == "evidence that failed, or of another contract"
    with pytest.raises(ValidationRefused):
        decide(house.settings, changed, other, YES, [], RUN)


def test_who_is_no_approver_any_more_has_not_approved(house: PublishedHouse, made: ManifestRef) -> None:
    decide(house.settings, house.contract, made, YES, [], RUN)
    without = replace(house.contract, approval=Approval(("admin",), 24))
    assert not approved(house.settings, without, made)
    assert approved(house.settings, house.contract, made)


def test_where_nobody_is_asked_nothing_is_read(house: PublishedHouse) -> None:
    nowhere = ManifestRef("evidence/none.json", "0" * 64)
    free = replace(house.contract, approval=None)
    require_approved(house.settings, free, nowhere)
    assert approved(house.settings, free, nowhere)


def test_a_row_that_the_log_does_not_know_gives_no_permission(house: PublishedHouse, made: ManifestRef) -> None:
    decide(house.settings, house.contract, made, NO, [], RUN)
    for statement in ("UPDATE approval SET decision = 'approved'", "UPDATE approval SET entry = 99"):
        with open_database(house.settings.database).begin() as connection:
            connection.execute(sa.text(statement))
        with pytest.raises(IntegrityError) as refusal:
            require_approved(house.settings, house.contract, made)
        assert refusal.value.code == "integrity.approval"


def test_nobody_in_time_is_an_event_of_the_platform(house: PublishedHouse, made: ManifestRef) -> None:
    lapse(house.settings, house.contract, made, RUN)
    assert events(house) == [("platform", "refused", "approval.lapsed", "")]
    assert not approved(house.settings, house.contract, made)


def test_a_rejection_is_known_by_its_run(house: PublishedHouse, made: ManifestRef) -> None:
    approvals = Approvals(house.settings.database)
    assert not approvals.rejected_in(DATASET, made.sha256, "r")
    decide(house.settings, house.contract, made, NO, [], RUN)
    assert approvals.rejected_in(DATASET, made.sha256, "r")
    assert not approvals.rejected_in(DATASET, made.sha256, "another")
    decide(house.settings, house.contract, made, YES, [], RUN)
    assert not approvals.rejected_in(DATASET, made.sha256, "r")


def test_who_started_a_run_is_read_from_the_log(house: PublishedHouse) -> None:
    log, approvals = AuditLog(house.settings.database), Approvals(house.settings.database)
    log.record(
        Event("platform", "run", "a", dag="a", run="r1", facts={"triggered_by": "ann"}),
        Event("platform", "run", "b", dag="b", run="r1", facts={"triggered_by": "bob"}),
        Event("platform", "run", "a", dag="a", run="r1", facts={"state": "success"}),
        Event("platform", "task", "a", dag="a", run="r1", facts={"triggered_by": "eve"}),
    )
    assert approvals.starters("a", "r1") == {"ann"}
    assert approvals.starters("a", "r2") == set()


def test_on_a_full_disk_nothing_is_decided(house: PublishedHouse, made: ManifestRef) -> None:
    approved(house.settings, house.contract, made)

    def full() -> None:
        limit_file_size(0)
        with pytest.raises(StorageError):
            decide(house.settings, house.contract, made, YES, [], RUN)

    assert in_fork(full) == 0
    assert not approved(house.settings, house.contract, made)
    assert events(house) == []


def test_the_tasks_publish_nothing_without_it(
    house: PublishedHouse, made: ManifestRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setenv("CLOAKHOUSE_HOME", str(house.home))
    monkeypatch.setenv("CLOAKHOUSE_CONTRACTS", str(house.settings.contracts))
    publishing: tuple[Callable[..., object], ...] = (tasks.publish, tasks.publish_answer)
    for task in publishing:
        with pytest.raises(AirflowFailException, match=r"validation\.approval"):
            task(DATASET, made.as_dict())
    assert house.register.versions(DATASET) == []


def test_a_reason_is_one_of_the_list() -> None:
    assert written(replace(YES, reference="")) == "evidence reviewed: the figures suit the purpose"
    assert written(NO) == "figures too near to their thresholds"
    with pytest.raises(ConfigurationError):
        written(replace(YES, reason=["reviewed"]))  # type: ignore[arg-type]


def test_the_contract_s_approvers_are_read(house: PublishedHouse) -> None:
    contract = load_contracts(house.settings.contracts)[DATASET]
    assert contract.approval == Approval(APPROVERS, 24)
