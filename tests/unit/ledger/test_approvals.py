"""Decisions of approvers: one transaction with their events, from many processes, and killed anywhere."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.forks import at_once
from tests.support.processes import in_fork

from cloakhouse.errors import IntegrityError
from cloakhouse.ledger import database as db
from cloakhouse.ledger.approvals import APPROVED, REJECTED, Approvals, Decision
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event

RUN = Event("platform", Action.APPROVE, "baskets", "operations", run="r")
YES = Decision("baskets", "e" * 64, APPROVED, "ann", "bob", "evidence reviewed")


def test_a_decision_comes_back_with_its_event(url: str) -> None:
    made = Approvals(url).record(YES, RUN)
    assert Approvals(url).newest("baskets", "e" * 64) == made
    assert (made.entry, made.approver, made.requester, made.reason) == (0, "ann", "bob", "evidence reviewed")
    assert made.at == AuditLog(url).events()[0].at
    assert Approvals(url).newest("baskets", "f" * 64) is None
    assert Approvals(url).newest("other", "e" * 64) is None
    no = Approvals(url).record(Decision("baskets", "e" * 64, REJECTED, "ann", "", "figures"), RUN)
    assert Approvals(url).newest("baskets", "e" * 64) == no
    assert [d.decision for d in Approvals(url).decisions()] == [REJECTED, APPROVED]
    assert [d.decision for d in Approvals(url).decisions(limit=1)] == [REJECTED]


@pytest.mark.parametrize("later", [REJECTED, APPROVED])
def test_a_decision_whose_row_was_taken_away_is_missed(url: str, later: str) -> None:
    register = Approvals(url)
    first = register.record(YES, RUN)
    last = register.record(replace(YES, decision=later, approver="cem"), RUN)
    assert register.over("baskets", "e" * 64) == [first, last]
    register.record(Decision("baskets", "f" * 64, REJECTED, "ann", "", "figures"), RUN)
    AuditLog(url).record(replace(AuditLog(url).entry(0).event, decision="refused", code="access.approver"))
    assert register.newest("baskets", "e" * 64) == last
    with register._engine.begin() as connection:
        connection.execute(sa.delete(db.approval).where(db.approval.c.entry == last.entry))
    for look in (register.newest, register.over):
        with pytest.raises(IntegrityError, match=r"integrity\.approval"):
            look("baskets", "e" * 64)
    with register._engine.begin() as connection:
        connection.execute(sa.delete(db.approval))
    assert register.newest("baskets", "e" * 64) is None  # which is no permission
    assert register.over("baskets", "e" * 64) == []


def test_of_many_processes_that_say_the_same_one_is_recorded(url: str) -> None:
    Approvals(url)

    def decide(_number: int) -> list[str]:
        return [str(Approvals(url).record(YES, RUN).entry)]

    assert set(at_once(decide, 8)) == {"0"}
    assert len(AuditLog(url).events()) == len(Approvals(url).decisions()) == 1


@pytest.mark.embedded
def test_killed_at_any_statement_decision_and_event_stand_together(sqlite_url: str) -> None:
    """The child is killed before the n-th statement or commit; both stand afterwards or neither does."""
    Approvals(sqlite_url)

    def killed_at(number: int) -> None:
        count = 0

        def step(*_: Any) -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        register = Approvals(sqlite_url)
        sa.event.listen(register._engine, "before_cursor_execute", step)
        sa.event.listen(register._engine, "commit", step)
        register.record(YES, RUN)

    number, ended = 0, -signal.SIGKILL
    while ended != 0:
        number += 1
        ended = in_fork(partial(killed_at, number))
        assert len(Approvals(sqlite_url).decisions()) == len(AuditLog(sqlite_url).events()) == int(ended == 0)
    assert number > 5
    assert Approvals(sqlite_url).record(YES, RUN).entry == 0
