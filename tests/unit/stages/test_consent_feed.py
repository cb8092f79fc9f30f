"""The register fed from landed snapshots of the customer master: what is taken, and what stands against it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.consents import copied, customers, day, deliver, made, master_line, rights, say

from cloakhouse.contracts.subject import PURPOSES
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.consent_model import ConsentRecord
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.settings import Settings
from cloakhouse.stages import consent_feed
from cloakhouse.stages.auditing import event
from cloakhouse.stages.consent import allowed_persons, pin
from cloakhouse.stages.consent_feed import Fed, feed_register

LINES = [
    master_line(1),
    master_line(2, analytics=False, sharing=False),
    master_line(3, country="US", analytics=None),
    master_line(4, country="JP", analytics=None),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    house = made(tmp_path_factory.mktemp("feed") / "home")
    deliver(house, "2017-01-02", LINES)
    rights(house, [1])
    return house


@pytest.fixture
def house(template: Settings, tmp_path: Path) -> Settings:
    return copied(template, tmp_path / "home")


def fed(settings: Settings) -> Fed:
    found = feed_register(settings)
    assert found is not None
    return found


def kept(settings: Settings, person: int, purpose: str = "analytics") -> list[ConsentRecord]:
    [token] = rights(settings, [person]).to_pylist()
    return [r for r in ConsentRegister(settings.database).records(token) if r.purpose == purpose]


def allowed(settings: Settings, purpose: str = "analytics") -> set[int]:
    listed = set(allowed_persons(settings, pin(settings, purpose).sha256).to_pylist())
    return {person for person in range(1, 9) if rights(settings, [person])[0].as_py() in listed}


def test_flags_become_choices_under_the_law_of_the_country(house: Settings) -> None:
    assert fed(house) == Fed("customers", "2017-01-02", 4, 0, dict.fromkeys(PURPOSES, 4))
    told = [(r.choice, r.jurisdiction, r.policy, r.source, r.chosen_at) for n in (1, 2, 3, 4) for r in kept(house, n)]
    assert told == [
        ("granted", "gdpr", "2016-12", "customers", day(1)),
        ("refused", "gdpr", "2016-12", "customers", day(1)),
        ("told", "ccpa", "2016-12", "customers", day(1)),
        ("told", "other", "2016-12", "customers", day(1)),
    ]
    assert allowed(house) == {1, 3}
    assert allowed(house, "sharing") == {1, 3, 4}


def test_each_batch_is_one_event_with_a_count_and_no_person(house: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent_feed, "BATCH", 3)
    fed(house)
    events = [e for e in AuditLog(house.database).events() if e.action == "record consent"]
    assert [(e.object, e.count) for e in events[:2]] == [("customers 2017-01-02, analytics", n) for n in (3, 1)]
    assert len(events) == 2 * len(PURPOSES)
    assert [e.count for e in AuditLog(house.database).events() if e.object == "landing/customers"] == [4]


def test_a_delivery_that_was_taken_adds_nothing_and_one_that_was_begun_is_finished(house: Settings) -> None:
    fed(house)
    assert fed(house).choices == 0
    size = len(kept(house, 1))
    ConsentRegister(house.database).remove(rights(house, [1]))
    assert fed(house).added == dict.fromkeys(PURPOSES, 1)
    assert len(kept(house, 1)) == size


def test_only_what_changed_is_added(house: Settings) -> None:
    fed(house)
    deliver(house, "2017-01-03", [master_line(1, analytics=False), LINES[1], master_line(3), master_line(5)])
    assert fed(house).added == {"analytics": 3, "personalisation": 2, "synthetic": 2, "sharing": 2}
    assert [(r.choice, r.chosen_at) for r in kept(house, 1)] == [("granted", day(1)), ("refused", day(2))]
    assert len(kept(house, 4)) == 1  # who isn't in the delivery keeps what was said
    assert allowed(house) == {3, 5}


def test_a_correction_of_a_snapshot_comes_after_it(house: Settings) -> None:
    fed(house)
    corrected = [master_line(2), master_line(1, analytics=False)]
    deliver(house, "2017-01-02", corrected, supersede=True)
    fed(house)
    assert [(r.choice, r.chosen_at) for r in kept(house, 2)] == [
        ("refused", day(1)),
        ("granted", day(1) + dt.timedelta(microseconds=1)),
    ]
    assert allowed(house) == {2, 3}


def test_an_older_snapshot_changes_nothing(house: Settings) -> None:
    fed(house)
    deliver(house, "2016-12-30", [master_line(2)])
    assert fed(house).choices == 0
    newest = Catalogue(house.database).deliveries("customers")["2017-01-02"][-1]
    expired = dt.datetime.now(dt.UTC)
    gone = event(house, "expire", "customers 2017-01-02")  # type: ignore[arg-type]
    Catalogue(house.database).cut_delivery(newest, replace(newest, expired_at=expired), gone)
    assert fed(house).choices == 0
    assert 2 not in allowed(house)


def test_a_flag_that_is_delivered_again_does_not_undo_an_objection(house: Settings) -> None:
    fed(house)
    say(house, (1, "gpc", "refused", day(1) + dt.timedelta(hours=1)))
    deliver(house, "2017-01-03", [master_line(1, country="FR"), master_line(1, country="US")])
    fed(house)
    assert allowed(house) == {3}
    deliver(house, "2017-01-04", [master_line(1, analytics=False)])
    fed(house)
    deliver(house, "2017-01-05", [master_line(1)])
    fed(house)
    assert allowed(house) == {1, 3}


def test_of_two_lines_about_one_person_the_stricter_counts(house: Settings) -> None:
    deliver(house, "2017-01-03", [master_line(1), master_line(1, analytics=False), master_line(1, country="US")])
    assert fed(house).persons == 1
    [record] = kept(house, 1)
    assert (record.choice, record.jurisdiction) == ("refused", "gdpr")


def test_what_is_wrong_with_another_column_takes_no_choice_away(house: Settings) -> None:
    lines = [
        master_line(1, analytics=False, birth_date="never", name=None),
        master_line(2),
        "{",
        '{"household_id": "x"}',
    ]
    fed(house)
    deliver(house, "2017-01-03", lines)
    assert (found := fed(house)).unreadable == 2
    assert found.persons == 2
    assert kept(house, 1)[-1].choice == "refused"


def test_an_erased_person_stays_out(house: Settings) -> None:
    Tombstones(house.database).add(rights(house, [1]), "er-1", event(house, "request erasure", "er-1"))  # type: ignore[arg-type]
    assert fed(house).added == dict.fromkeys(PURPOSES, 3)
    assert fed(house).choices == 0
    assert kept(house, 1) == []


def test_a_new_notice_is_recorded_and_is_no_new_choice(house: Settings) -> None:
    fed(house)
    say(house, (1, "api", "refused", day(1) + dt.timedelta(hours=1)))
    path = house.home / "newer"
    path.mkdir()
    for source in house.contracts.glob("*.yaml"):
        (path / source.name).write_text(
            source.read_text()
            .replace('policy: "2016-12"', 'policy: "2017-01"')
            .replace("version: 1.0.0", "version: 1.1.0")
        )
    house = replace(house, contracts=path)
    deliver(house, "2017-01-03", LINES[::-1])
    assert fed(house).choices == 4 * len(PURPOSES)
    assert [r.policy for r in kept(house, 1)] == ["2016-12", "1", "2017-01"]
    assert 1 not in allowed(house)


def test_without_a_delivery_or_without_a_register_there_is_nothing_to_feed(template: Settings, tmp_path: Path) -> None:
    empty = template.with_home(tmp_path / "home")
    assert feed_register(empty) == Fed("customers", "", 0, 0, {})
    (tmp_path / "none").mkdir()
    assert feed_register(replace(empty, contracts=tmp_path / "none")) is None
    assert customers(template).rights.subject is not None
