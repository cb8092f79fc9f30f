"""What is gathered of an installation: its newest release, its log in counts, and nothing that isn't there."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from tests.support.governing import shipped
from tests.support.published import PublishedHouse

from cloakhouse.errors import IntegrityError, NotFound
from cloakhouse.governance.activity import as_of, chosen, gather
from cloakhouse.governance.log_facts import Done, done_with, of
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import FAILED, REFUSED, Action, Event
from cloakhouse.settings import Settings

DATASET = "households_synthetic"
FIRST, SECOND = (dt.datetime(2030, 5, day, 12, tzinfo=dt.UTC) for day in (1, 2))


def logged(house: PublishedHouse) -> AuditLog:
    log = AuditLog(house.settings.database)
    log.record(
        Event("ann", Action.READ, f"{DATASET}@1", dataset=DATASET, at=FIRST),
        Event("bob", Action.READ, f"{DATASET}@1", dataset=DATASET, at=SECOND, decision=REFUSED, code="access.role"),
        Event("ann", Action.READ, f"{DATASET}@1", dataset=DATASET, at=FIRST, decision=FAILED, code="storage"),
        Event("ann", Action.EXPIRE, f"{DATASET}@1", dataset=DATASET, at=FIRST),
        Event("ann", Action.READ, "customers", dataset="customers", at=SECOND),
        Event("ann", Action.USE_KEY, "protected/direct", dataset=DATASET, at=SECOND),
    )
    return log


def test_the_log_in_counts(house: PublishedHouse) -> None:
    log = logged(house)
    after = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    done = [item for item in done_with(log.engine, DATASET) if item.last > after]
    assert done == [Done("read", 1, 1, 1, 2, SECOND), Done("expire", 1, 0, 0, 1, FIRST)]
    assert of(done, Action.READ) == 1
    assert of(done, Action.APPROVE) == 0


def test_the_log_until_a_moment(house: PublishedHouse) -> None:
    log = logged(house)
    done = {item.action: item for item in done_with(log.engine, DATASET, SECOND)}
    assert done["read"] == Done("read", 1, 0, 1, 1, FIRST)


def test_an_installation(house: PublishedHouse) -> None:
    logged(house)
    found = {activity.contract.name: activity for activity in gather(house.settings, shipped(), None)}
    assert "products" not in found
    release = found[DATASET].release
    assert release is not None
    assert (release.dataset, release.version) == (DATASET, 1)
    assert found["customers"].release is None
    assert dict(found[DATASET].roles) == {
        "auditor": ("audit",),
        "model-team": ("model-training", "model-evaluation"),
        "platform-engineer": ("operations-support",),
    }
    assert as_of(list(found.values()), None) == SECOND.date()
    assert as_of(list(found.values()), FIRST.date()) == FIRST.date()


def test_as_of_a_day_before_there_was_anything(house: PublishedHouse) -> None:
    wanted = {DATASET: shipped()[DATASET]}
    (found,) = gather(house.settings, wanted, dt.date(2001, 1, 1))
    assert (found.release, found.done, found.overdue) == (None, (), ())
    assert as_of([found], None) is None


def test_what_is_past_its_time_limit(house: PublishedHouse) -> None:
    wanted = {DATASET: shipped()[DATASET]}
    published = house.published[0].published_at.date()
    (on_time,) = gather(house.settings, wanted, published + dt.timedelta(days=364))
    (late,) = gather(house.settings, wanted, published + dt.timedelta(days=366))
    assert on_time.overdue == ()
    assert late.overdue == (f"{DATASET}@1",)


def test_a_release_that_is_not_what_was_signed_stops_it(house: PublishedHouse) -> None:
    (path,) = house.files("synthetic/*/releases/*.json")
    path.write_bytes(path.read_bytes().replace(b'"', b" ", 1))
    with pytest.raises(IntegrityError):
        gather(house.settings, {DATASET: shipped()[DATASET]}, None)


def test_without_an_installation_nothing_is_made(tmp_path: Path) -> None:
    settings = Settings.from_environment({"CLOAKHOUSE_POLICY": str(tmp_path / "none")}).with_home(tmp_path / "home")
    found = gather(settings, shipped(), None)
    assert len(found) == 6
    assert all((activity.release, activity.done, dict(activity.roles)) == (None, (), {}) for activity in found)
    assert not settings.home.exists()


def test_contracts_are_chosen_by_name() -> None:
    folder = Settings.from_environment({}).contracts
    assert list(chosen(folder, ["weekly_sales", "customers"])) == ["customers", "weekly_sales"]
    assert len(chosen(folder, [])) == 7
    with pytest.raises(NotFound, match="datasets") as caught:
        chosen(folder, ["nobody"])
    assert caught.value.exit_code == 5
    assert "nobody" not in caught.value.explain()
