"""Requests that are killed, that meet, and that are large: none half there, none twice, and each found again."""

from __future__ import annotations

import datetime as dt
import functools
import time
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support import stores
from tests.support.crash import Crash, crashes
from tests.support.forks import at_once
from tests.support.house import House, protected
from tests.support.persons import many

from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.stages import erasure_request
from cloakhouse.stages.auditing import event
from cloakhouse.stages.erasure_batch import drop_abandoned, drop_list, open_batch, still
from cloakhouse.stages.erasure_request import Chosen, Tolerance, request

WHY = "ticket 4711 of the service desk"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return protected().copy(tmp_path_factory.mktemp("killed") / "home")


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Chosen:
    """Persons whom any file names: looking them up writes nothing."""
    found = Chosen(many(3), many(2, seed=2), {"persons": 3})
    monkeypatch.setattr(erasure_request, "choose", lambda *_: found)
    return found


def ended(house: House, batch: str) -> None:
    by = event(house.settings, Action.CERTIFY_ERASURE, batch)
    stones = Tombstones(house.settings.database)
    stones.remove(stones.persons(), batch)
    Erasures(house.settings.database).end(batch, ManifestRef("none", "0" * 64), by)
    drop_list(house.settings, batch)


def lists(house: House) -> set[str]:
    return {item.path.split("/")[1] for item in open_store(house.settings).list("rights") if "/er-" in item.path}


def test_of_several_processes_that_ask_for_the_same_one_stands(house: House, chosen: Chosen) -> None:
    def ask(_number: int) -> list[str]:
        done, _ = request(house.settings, Path("any"), WHY, Tolerance())
        return [done.batch if done else ""]

    said = at_once(ask, 3)
    assert len(set(said)) == 1
    assert lists(house) == set(said)
    assert open_batch(house.settings, said[0]).rights.equals(chosen.persons)
    ended(house, said[0])
    assert lists(house) == set()


@crashes
def test_killed_at_every_call_a_request_stands_whole_or_not_at_all(house: House, chosen: Chosen, crash: Crash) -> None:
    erasures, stones = Erasures(house.settings.database), Tombstones(house.settings.database)

    def check(finished: bool) -> None:
        standing = erasures.all(open_only=True)
        assert len(standing) <= 1
        assert finished <= bool(standing)
        assert len(stones.persons()) == (3 if standing else 0)
        for one in standing:
            batch = open_batch(house.settings, one.batch)
            assert batch.rights.equals(chosen.persons)
            assert batch.names.equals(chosen.names)
            ended(house, one.batch)

    work = functools.partial(request, house.settings, Path("any"), WHY, Tolerance())
    assert crash(lambda: None, lambda: work() and None, check) > 10
    drop_abandoned(house.settings, dt.datetime.now(dt.UTC) + dt.timedelta(hours=2))
    assert lists(house) == set()


@pytest.mark.path
def test_a_hundred_thousand_persons_are_one_batch(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    who = many(100_000)
    monkeypatch.setattr(erasure_request, "choose", lambda *_: Chosen(who, who, {"persons": len(who)}))
    begun = time.monotonic()
    done, _ = request(house.settings, Path("any"), WHY, Tolerance())
    assert done is not None
    batch = open_batch(house.settings, done.batch)
    assert still(house.settings, batch).equals(who)
    assert isinstance(batch.names, pa.Array)
    seconds = time.monotonic() - begun
    print(f"request of 100,000 persons, and its list: {seconds:.1f} s")
    assert seconds < 60
    ended(house, done.batch)


@pytest.mark.stores
def test_a_list_on_an_object_store_is_written_opened_and_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = stores.settings_on("moto", tmp_path / "home")
    who = many(5)
    monkeypatch.setattr(erasure_request, "choose", lambda *_: Chosen(who, who, {"persons": 5}))
    done, _ = request(settings, Path("any"), WHY, Tolerance())
    assert done is not None
    assert open_batch(settings, done.batch).rights.equals(who)
    assert drop_list(settings, done.batch)
    assert list(open_store(settings).list(f"rights/{done.batch}")) == []
