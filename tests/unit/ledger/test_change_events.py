"""Changes of the control database and their events: both or neither, once, whatever happens in between."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa
from tests.support.acting import Said, by, said, sound
from tests.support.forks import at_once
from tests.support.processes import in_fork
from tests.support.versions import NAME, REF, fingerprint, published, release, row

from cloakhouse.errors import CloakhouseError, StorageError
from cloakhouse.ledger import database as db
from cloakhouse.ledger import database_engine
from cloakhouse.ledger.allowance import Account, Allowance
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.budget import BudgetExhausted, PrivacyLedger
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ProtectedPartition
from cloakhouse.ledger.versions import VersionRegister

NOON = dt.datetime(2030, 5, 17, 12, tzinfo=dt.UTC)
WHY = "rows of a test store were in it"
DELIVERY = Delivery("people", "2017-01-02", 1, "b" * 64, 7, 100, REF, NOON)
PARTITION = ProtectedPartition("people", "2017-01-02", "b" * 64, "1.0.0", 6, 1, False, REF)
LATER = replace(PARTITION, partition="2017-01-09", manifest=replace(REF, sha256="c" * 64))
LINES = Account("transactions", "household", "default")
PEOPLE = Account("customers", "household", "default")
CHARGES = {LINES: Allowance(1.0, 1e-6, "never"), PEOPLE: Allowance(0.5, 1e-6, "never")}
WHO = replace(by("ann", WHY), purpose="operations", role="steward", dag="d", run="r", task="t", facts={"epsilon": "1"})


@dataclass(frozen=True)
class Act:
    """Something that is done, what has to be there before, whether it stands, and what the log says of it then."""

    name: str
    before: Callable[[str], object]
    work: Callable[[str], object]
    stands: Callable[[str], bool]
    events: tuple[Said, ...]


def nothing(_url: str) -> None:
    pass


def reserve(url: str, name: str = "a", rho: float = 0.1) -> None:
    PrivacyLedger(url).reserve(name, CHARGES, rho, 1e-9, "a test", WHO)


def three(url: str) -> None:
    register = VersionRegister(url)
    published(register, count=3)
    register.tag(NAME, 3, "certified", by())


def reserved(url: str) -> None:
    assert VersionRegister(url).reserve(NAME, fingerprint(1)) == 1


def state(url: str, number: int) -> str:
    return VersionRegister(url).versions(NAME)[number - 1].state.value


def spends(url: str) -> list[str]:
    ledger = PrivacyLedger(url)
    assert ledger.spends() == ledger.replay()
    return [spend.state for spend in ledger.spends()]


BOTH = [PARTITION, LATER]
ACTS = [
    Act(
        "land",
        nothing,
        lambda url: Catalogue(url).add_delivery(DELIVERY, WHO),
        lambda url: bool(Catalogue(url).deliveries("people")),
        (("land", "people/2017-01-02", "allowed", 7),),
    ),
    Act(
        "pseudonymize",
        nothing,
        lambda url: Catalogue(url).record_protected(BOTH, WHO),
        lambda url: bool(Catalogue(url).protected("people")),
        (("pseudonymize", "people/2017-01-02", "allowed", 6), ("pseudonymize", "people/2017-01-09", "allowed", 6)),
    ),
    Act(
        "validate",
        lambda url: Catalogue(url).record_protected(BOTH, by()),
        lambda url: Catalogue(url).mark_validated("people", [REF], WHO),
        lambda url: Catalogue(url).protected("people")["2017-01-02"].validated,
        (("validate", "people/2017-01-02", "allowed", 6),),
    ),
    Act(
        "publish",
        reserved,
        lambda url: VersionRegister(url).publish(row(release()), WHO),
        lambda url: bool(VersionRegister(url).versions(NAME)),
        (("publish", f"{NAME}@1", "allowed", 21),),
    ),
    Act(
        "withdraw",
        three,
        lambda url: VersionRegister(url).withdraw(NAME, 3, WHO),
        lambda url: state(url, 3) == "withdrawn",
        (("untag", f"{NAME}@3", "allowed", 21), ("withdraw", f"{NAME}@3", "allowed", 21)),
    ),
    Act(
        "expire",
        three,
        lambda url: VersionRegister(url).expire(NAME, [1, 2], WHO),
        lambda url: state(url, 1) == state(url, 2) == "expired",
        (("expire", f"{NAME}@1", "allowed", 21), ("expire", f"{NAME}@2", "allowed", 21)),
    ),
    Act(
        "reserve",
        nothing,
        reserve,
        lambda url: spends(url) == ["reserved"],
        (("spend", "a", "allowed", 0), ("spend", "a", "allowed", 0)),
    ),
    Act(
        "release",
        reserve,
        lambda url: PrivacyLedger(url).release("a", WHY, WHO),
        lambda url: spends(url) == ["released"],
        (("give back", "a", "allowed", 0), ("give back", "a", "allowed", 0)),
    ),
]


@pytest.fixture(params=ACTS, ids=lambda act: act.name)
def act(request: pytest.FixtureRequest) -> Act:
    found: Act = request.param
    return found


def test_what_is_done_is_recorded_once(url: str, act: Act) -> None:
    act.before(url)
    before = AuditLog(url).size()
    act.work(url)
    assert act.stands(url)
    assert tuple(said(url)[before:]) == act.events
    for entry in AuditLog(url).entries(before):
        event = entry.event
        assert (event.actor, event.reason, event.purpose, event.role) == ("ann", WHY, "operations", "steward")
        assert (event.dag, event.run, event.task, event.facts["epsilon"]) == ("d", "r", "t", "1")
    if act.name != "land":
        act.work(url)  # again
        assert sound(url) == before + (2 if act.name == "pseudonymize" else 1) * len(act.events)


def test_killed_between_any_two_statements_both_stand_or_neither(url: str, act: Act) -> None:
    act.before(url)
    before = AuditLog(url).size()
    for number in itertools.count(1):

        def child(number: int = number) -> None:
            count = itertools.count(1)

            def step(*_: object, **__: object) -> None:
                if next(count) == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
                sa.event.listen(sa.engine.Engine, name, step)
            act.work(url)

        code = in_fork(child)
        stands = act.stands(url)
        assert tuple(said(url)[before:]) == (act.events if stands else ())
        assert sound(url) == before + (len(act.events) if stands else 0)
        if code == 0 or stands:
            assert stands
            assert number > 8
            return
        assert code == -signal.SIGKILL


def test_a_log_that_cannot_be_written_stops_it(sqlite_url: str, act: Act) -> None:
    act.before(sqlite_url)
    with db.open_database(sqlite_url).begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON audit_entry BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    before = AuditLog(sqlite_url).size()
    with pytest.raises((CloakhouseError, sa.exc.SQLAlchemyError)):
        act.work(sqlite_url)
    assert not act.stands(sqlite_url)
    assert AuditLog(sqlite_url).size() == before


def test_a_locked_database_is_waited_for_and_then_refused(
    sqlite_url: str, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    act.before(sqlite_url)
    monkeypatch.setattr(database_engine, "BUSY_TIMEOUT_S", 0.05)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError):
            act.work(sqlite_url)
        other.execute("ROLLBACK")
    other.close()
    assert not act.stands(sqlite_url)
    act.work(sqlite_url)
    assert act.stands(sqlite_url)


def test_facts_are_digests_and_numbers(url: str) -> None:
    for one in ACTS[:4]:
        one.before(url) if one.name == "publish" else None
        one.work(url)
    reserve(url)
    PrivacyLedger(url).commit("a", WHO)
    found = {(e.action, e.object, e.dataset): e for e in AuditLog(url).events()}
    common = {"epsilon": "1"}
    assert found["land", "people/2017-01-02", "people"].facts == {
        **common,
        "revision": 1,
        "bytes": 100,
        "sha256": "b" * 64,
        "manifest": "a" * 64,
    }
    assert found["pseudonymize", "people/2017-01-02", "people"].facts == {
        **common,
        "quarantined": 1,
        "contract_version": "1.0.0",
        "delivery": "b" * 64,
        "manifest": "a" * 64,
    }
    assert found["publish", f"{NAME}@1", NAME].facts == {
        **common,
        "version": 1,
        "release": "a" * 64,
        "detail": "head 1",
    }
    assert found["spend", "a", "customers"].facts == {
        **common,
        "rho": "0.1",
        "spent_delta": "1e-09",
        "unit": "household",
        "consumer": "default",
        "state": "committed",
    }


def test_versions_and_their_log_tell_the_same_moments(url: str) -> None:
    register = VersionRegister(url)
    three(url)
    register.rollback(NAME, 1, WHO)
    register.hold(NAME, 2, WHO)
    register.lift(NAME, 2, by())
    register.withdraw(NAME, 2, WHO)
    assert register.condemn(NAME, 2, by())
    register.collected(NAME, 2, by())
    mine = [(e.at, e.actor, e.reason, f"{e.dataset}@{e.version}") for e in register.events(NAME)]
    assert [(e.at, e.actor, e.reason, e.object) for e in AuditLog(url).events()] == mine
    assert [e.action for e in AuditLog(url).events()][3:] == [
        *(Action.TAG, Action.ROLL_BACK, Action.HOLD, Action.LIFT_HOLD),
        *(Action.WITHDRAW, Action.DELETE, Action.DELETE),
    ]
    assert [e.facts.get("step") for e in AuditLog(url).events()][-2:] == ["collect", "collected"]


def test_a_spend_that_is_refused_is_recorded_on_every_account(url: str) -> None:
    for _ in range(2):
        with pytest.raises(BudgetExhausted):
            reserve(url, "much", 0.7)  # customers have 0.5
    found = AuditLog(url).events()
    assert [(e.object, e.dataset, e.decision, e.code) for e in found] == [
        ("much", "customers", "refused", "access.budget"),
        ("much", "transactions", "refused", "access.budget"),
    ] * 2
    assert spends(url) == []


def test_ten_processes_at_once_leave_one_log(url: str) -> None:
    VersionRegister(url)

    def work(number: int) -> list[str]:
        register, ledger, catalogue = VersionRegister(url), PrivacyLedger(url), Catalogue(url)
        done = []
        for turn in range(3):
            wanted = fingerprint(100 * number + turn)
            given = register.reserve(NAME, wanted)
            assert isinstance(given, int)
            register.publish(replace(row(release(given)), fingerprint=wanted), by(f"p{number}"))
            ledger.reserve(f"{number}-{turn}", {LINES: Allowance(9.0, 0.0, "never")}, 0.1, 0.0, "x", by())
            catalogue.record_protected([replace(PARTITION, partition=f"{number}")], by())
            AuditLog(url).record(Event("ann", Action.QUERY, "x"))
            catalogue.add_delivery(replace(DELIVERY, partition=f"{number}", revision=turn + 1), by())
            done.append("done")
        return done

    assert at_once(work, 10) == ["done"] * 30
    assert sound(url) == 150
    assert len(said(url, "publish")) == len(said(url, "land")) == len(said(url, "spend")) == 30
