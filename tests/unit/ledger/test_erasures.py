"""Erasures, tombstones and holds: one transaction each, repeatable, from many processes, killed anywhere."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time

import pytest
import sqlalchemy as sa
from tests.support.forks import at_once
from tests.support.persons import BY, many, numbers, persons, requested
from tests.support.processes import in_fork

from cloakhouse.errors import NotFound, StageError
from cloakhouse.ledger import database as db
from cloakhouse.ledger import erasures as module
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasure_model import REQUESTED, ErasureState
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.ledger.tombstones import Tombstones

HOLD = Event("bob", Action.HOLD_SUBJECT, "persons of a file", reason="court order 12")
CERTIFICATE = ManifestRef("rights/certificates/c.json", "c" * 64)


def test_a_request_stands_with_tombstones_and_event_at_once(url: str) -> None:
    made = requested(url, "er-1", persons(3, 5))
    erasures = Erasures(url)
    assert erasures.get("er-1") == made == erasures.all()[0]
    assert (made.state, made.subjects, made.certificate) == (ErasureState.OPEN, 2, None)
    assert numbers(Tombstones(url).persons()) == [3, 5]
    assert [event.action for event in AuditLog(url).events()] == [Action.REQUEST_ERASURE]
    step = erasures.step("er-1", REQUESTED)
    assert step is not None
    assert step.content["persons"] == 2
    with pytest.raises(NotFound):
        erasures.get("er-2")


def test_the_same_persons_are_requested_once_while_it_is_open(url: str) -> None:
    first = requested(url, "er-1", persons(3, 5))
    assert requested(url, "er-2", persons(3, 5)) == first
    assert [erasure.batch for erasure in Erasures(url).all()] == ["er-1"]
    assert AuditLog(url).size() == 1
    Erasures(url).end("er-1", CERTIFICATE, BY)
    assert requested(url, "er-3", persons(3, 5)).batch == "er-3"
    assert [erasure.batch for erasure in Erasures(url).all(open_only=True)] == ["er-3"]


def test_overlapping_requests_share_tombstones(url: str) -> None:
    requested(url, "er-1", persons(1, 2))
    requested(url, "er-2", persons(2, 3))
    stones = Tombstones(url)
    assert numbers(stones.persons()) == [1, 2, 3]
    assert stones.remove(persons(1, 2, 3), "er-2") == 1  # 2 is the first one's
    assert numbers(stones.persons()) == [1, 2]


def test_the_digest_of_tombstones_tells_any_change(url: str) -> None:
    stones = Tombstones(url)
    seen = [stones.digest()]
    for change in (
        lambda: stones.add(persons(7), "b", BY),
        lambda: stones.add(persons(9), "b", BY),
        lambda: stones.remove(persons(7), "b"),
    ):
        assert change() == 1
        seen.append(stones.digest())
    assert len(set(seen)) == 4
    assert stones.add(persons(9), "b", BY) == 0
    assert stones.digest() == seen[-1]
    assert AuditLog(url).size() == 2  # of the two that changed something


def test_a_step_is_recorded_once_with_its_event(url: str) -> None:
    requested(url, "er-1", persons(1))
    erasures = Erasures(url)
    assert erasures.done("er-1", "landed", {"lines": 7}, BY)
    assert not erasures.done("er-1", "landed", {"lines": 0}, BY)
    assert [(s.step, s.content.get("lines")) for s in erasures.steps("er-1")] == [("request", None), ("landed", 7)]
    assert AuditLog(url).size() == 2
    assert erasures.step("er-1", "protected") is None
    with pytest.raises(NotFound):
        erasures.done("er-2", "landed", {}, BY)


def test_an_ended_erasure_takes_no_step_and_ends_once(url: str) -> None:
    requested(url, "er-1", persons(1))
    erasures = Erasures(url)
    erasures.done("er-1", "landed", {}, BY)
    assert erasures.end("er-1", CERTIFICATE, BY)
    assert not erasures.end("er-1", ManifestRef("other", "0" * 64), BY)
    ended = erasures.get("er-1")
    assert (ended.state, ended.certificate) == (ErasureState.DONE, CERTIFICATE)
    assert not erasures.done("er-1", "landed", {}, BY)
    with pytest.raises(StageError, match=r"stage\.erasure-ended"):
        erasures.done("er-1", "sweep", {}, BY)
    with pytest.raises(NotFound):
        erasures.end("er-2", CERTIFICATE, BY)


def test_a_hold_keeps_a_person_out_of_a_request(url: str) -> None:
    assert SubjectHolds(url).place(persons(2), HOLD) == 1
    with pytest.raises(StageError, match=r"stage\.held"):
        requested(url, "er-1", persons(1, 2))
    assert Erasures(url).all() == []
    assert len(Tombstones(url).persons()) == 0


def test_a_hold_takes_the_tombstone_of_an_open_erasure_and_of_no_other(url: str) -> None:
    requested(url, "er-1", persons(1, 2))
    Erasures(url).end("er-1", CERTIFICATE, BY)
    requested(url, "er-2", persons(3, 4))
    assert SubjectHolds(url).place(persons(1, 3), HOLD) == 2
    assert numbers(Tombstones(url).persons()) == [1, 2, 4]


def test_holds_are_placed_and_lifted_once(url: str) -> None:
    holds = SubjectHolds(url)
    assert holds.place(persons(1, 2), HOLD) == 2
    assert holds.place(persons(2, 3), HOLD) == 1
    assert numbers(holds.held()) == [1, 2, 3]
    assert holds.lift(persons(1, 9), HOLD) == 1
    assert holds.lift(persons(1, 9), HOLD) == 0
    assert numbers(holds.held()) == [2, 3]
    assert AuditLog(url).size() == 3
    assert sorted((one.persons, one.standing, one.actor) for one in holds.all()) == [(1, 1, "bob"), (2, 1, "bob")]


def test_whoever_was_held_since_the_request_is_told(url: str) -> None:
    holds = SubjectHolds(url)
    holds.place(persons(1, 2), HOLD)
    holds.lift(persons(1), HOLD)
    time.sleep(0.002)
    moment = dt.datetime.now(dt.UTC)
    holds.place(persons(3), HOLD)
    holds.lift(persons(3), HOLD)
    assert numbers(holds.held_since(moment)) == [2, 3]  # 1 was free before, 3 was held in between


def test_of_many_processes_that_ask_for_the_same_one_is_recorded(url: str) -> None:
    Erasures(url)
    said = at_once(lambda number: [requested(url, f"er-{number}", persons(4, 5)).batch], 4)
    assert len(set(said)) == 1
    assert [erasure.batch for erasure in Erasures(url).all()] == said[:1]
    assert AuditLog(url).size() == 1


def test_a_request_or_a_hold_comes_first_never_both(url: str) -> None:
    Erasures(url)

    def one(number: int) -> list[str]:
        try:
            if number % 2:
                return [f"hold {SubjectHolds(url).place(persons(1), HOLD)}"]
            return [requested(url, f"er-{number}", persons(1)).batch]
        except StageError as refused:
            return [refused.code]

    at_once(one, 4)
    assert numbers(SubjectHolds(url).held()) == [1]
    assert len(Tombstones(url).persons()) == 0  # however they met


def test_killed_before_the_commit_nothing_stands(url: str) -> None:
    Erasures(url)

    def killed() -> None:
        module.append = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        requested(url, "er-1", persons(1))

    assert in_fork(killed) == -signal.SIGKILL
    assert Erasures(url).all() == []
    assert len(Tombstones(url).persons()) == 0
    assert requested(url, "er-1", persons(1)).subjects == 1


def test_no_person_is_in_a_text_of_the_database(url: str) -> None:
    who = many(3)
    requested(url, "er-1", who)
    SubjectHolds(url).place(who, HOLD)
    engine = Erasures(url)._engine
    with engine.connect() as connection:
        told = "".join(
            str(value)
            for table in db.METADATA.sorted_tables
            for row in connection.execute(sa.select(*[c for c in table.c if not isinstance(c.type, sa.LargeBinary)]))
            for value in row
        )
    assert not any(token.hex() in told for token in who.to_pylist())
    assert not any(token in event.content for token in who.to_pylist() for event in AuditLog(url).entries())


@pytest.mark.path
def test_a_hundred_thousand_persons_are_one_request(url: str) -> None:
    who = many(100_000)
    begun = time.monotonic()
    requested(url, "er-1", who)
    assert Tombstones(url).persons().equals(who)
    assert SubjectHolds(url).place(who, HOLD) == len(who)
    assert SubjectHolds(url).held().equals(who)
    assert len(Tombstones(url).persons()) == 0
    assert SubjectHolds(url).lift(who, HOLD) == len(who)
    seconds = time.monotonic() - begun
    print(f"request, hold and lift of 100,000 persons: {seconds:.1f} s")
    assert seconds < 120
