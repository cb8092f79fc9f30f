"""Who has withdrawn, and where the rows still are: deadlines, holds, versions, and taking rows out."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.consents import BY, copied, customers, day, made, protect, rights, say

from cloakhouse.keys.service import open_ring
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.settings import Settings
from cloakhouse.stages import consent_due
from cloakhouse.stages.consent import pin
from cloakhouse.stages.consent_counts import Count, counts
from cloakhouse.stages.consent_due import Due, TakenOut, consents_due, take_out
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.subjects import rights_of_tokens

SOON, LATE = day(25), day(60)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Persons 1 to 5 allow analytics since day 0; two partitions hold their rows, and those of 9, who is unknown."""
    house = made(tmp_path_factory.mktemp("due") / "home")
    assert customers(house).rights.consent is not None
    say(house, *((n, "customers", "granted", day(0)) for n in range(1, 6)))
    protect(house, "2017-01-02", [1, 1, 2, 3])
    protect(house, "2017-01-09", [3, 4, 5])
    return house


@pytest.fixture
def house(template: Settings, tmp_path: Path) -> Settings:
    return copied(template, tmp_path / "home")


def held(settings: Settings, partition: str) -> list[int]:
    store, column = TableStore(open_store(settings), open_ring(settings)), customers(settings).column("household_id")
    files = partition_files(settings, Catalogue(settings.database).protected("customers")[partition].manifest)
    tokens = pa.chunked_array([chunk for e in files for chunk in store.read(e).column(0).chunks], pa.binary(16))
    known = dict(zip(rights(settings, range(1, 10)).to_pylist(), range(1, 10), strict=True))
    return sorted(known[token] for token in rights_of_tokens(tokens, column, token_keys(settings)).to_pylist())


def test_while_everybody_agrees_nothing_is_due_and_nothing_is_taken_out(house: Settings) -> None:
    assert consents_due(house, SOON) == []
    assert take_out(house, now=SOON) == []


def test_a_withdrawal_lists_every_partition_with_its_deadline_the_first_first(house: Settings) -> None:
    say(house, (3, "api", "refused", day(10)), (4, "gpc", "refused", day(5)))
    assert consents_due(house, SOON) == [
        Due("customers", "2017-01-09", "analytics", 2, 0, day(35), overdue=False),
        Due("customers", "2017-01-02", "analytics", 1, 0, day(40), overdue=False),
    ]
    assert [due.overdue for due in consents_due(house, day(38))] == [True, False]
    assert consents_due(house, day(4)) == []


def test_who_never_was_in_the_register_is_due_at_once(house: Settings) -> None:
    protect(house, "2017-01-16", [9])
    assert consents_due(house, SOON) == [Due("customers", "2017-01-16", "analytics", 1, 0, SOON, overdue=True)]


def test_a_register_that_was_not_fed_empties_no_partition(house: Settings) -> None:
    protect(house, "2017-01-16", [9])
    assert take_out(house, now=LATE) == []
    ConsentRegister(house.database).remove(rights(house, range(1, 6)))
    assert take_out(house, now=LATE) == []
    assert [due.persons for due in consents_due(house, LATE)] == [3, 3, 1]


def test_withdrawn_persons_are_cut_out_and_only_they(house: Settings) -> None:
    say(house, (3, "api", "refused", day(10)))
    assert take_out(house, "a round of withdrawals", LATE) == [
        TakenOut("customers", "2017-01-02", 1),
        TakenOut("customers", "2017-01-09", 1),
    ]
    assert (held(house, "2017-01-02"), held(house, "2017-01-09")) == ([1, 1, 2], [4, 5])
    assert consents_due(house, LATE) == []
    assert take_out(house, now=LATE) == []
    events = [e for e in AuditLog(house.database).events() if e.action == "erase"]
    assert [(e.object, e.count, e.facts["because"]) for e in events] == [
        ("customers 2017-01-02", 1, "withdrawn"),
        ("customers 2017-01-09", 1, "withdrawn"),
    ]


def test_rows_of_a_held_person_stay_and_are_told(house: Settings) -> None:
    say(house, (2, "api", "refused", day(1)), (3, "api", "refused", day(1)))
    SubjectHolds(house.database).place(rights(house, [3]), BY)
    assert [(due.persons, due.held, due.overdue) for due in consents_due(house, LATE)] == [(2, 1, True), (1, 1, False)]
    assert take_out(house, now=LATE) == [TakenOut("customers", "2017-01-02", 1)]
    assert (held(house, "2017-01-02"), held(house, "2017-01-09")) == ([1, 1, 3], [3, 4, 5])
    assert {due.held for due in consents_due(house, LATE)} == {1}


def test_a_version_is_due_for_whom_its_snapshot_lists_and_at_once_where_nobody_knows(
    house: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = pin(house, "analytics", day(2))
    say(house, (2, "api", "refused", day(3)), (3, "customers", "refused", day(4)))
    versions = [("customers@1", snapshot.sha256), ("customers@2", ""), ("gone@1", "")]
    monkeypatch.setattr(consent_due, "versions_under", lambda _: iter(versions))
    found = [due for due in consents_due(house, SOON) if "@" in due.part]
    assert found == [
        Due("customers", "customers@2", "analytics", None, 0, SOON, overdue=True),
        Due("customers", "customers@1", "analytics", 2, 0, day(33), overdue=False),
    ]
    versions[1] = ("customers@2", "f" * 64)  # a snapshot that isn't kept
    assert [due.persons for due in consents_due(house, SOON) if "@" in due.part] == [None, 2]


def test_looking_is_recorded_before_it_is_done(house: Settings) -> None:
    consents_due(house, SOON)
    [event] = [e for e in AuditLog(house.database).events() if e.facts.get("by") == "consents due"]
    assert (event.action, event.object, event.count) == ("read", "protected/customers", 7)


def test_persons_are_counted_by_purpose_and_law(house: Settings) -> None:
    say(house, (4, "api", "refused", day(1)), (6, "api", "granted", day(1)))
    say(house, (7, "file", "told", day(1)), (8, "file", "refused", day(1)), purpose="sharing", law="ccpa")
    assert counts(house) == [
        Count("analytics", "gdpr", 6, 5, 1, 0, 5),
        Count("sharing", "ccpa", 2, 0, 1, 1, 1),
    ]
    assert counts(house, ["analytics"], dt.datetime(2017, 1, 1, tzinfo=dt.UTC)) == [
        Count("analytics", "gdpr", 5, 5, 0, 0, 5)
    ]
