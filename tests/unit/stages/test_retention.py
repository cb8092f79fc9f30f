"""Retention deletes what is due and nothing else, waits for holds, and ends the keys of what is gone."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from tests.support.acting import by
from tests.support.crash import Crash, crashes
from tests.support.house import House, protected

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit import log_of
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.sample import write_feed
from cloakhouse.stages import pseudonymize, retention
from cloakhouse.stages.cutting import cut_partition
from cloakhouse.stages.land import land
from cloakhouse.stages.retention import Kept, keep
from cloakhouse.stages.retention_objects import Objects
from cloakhouse.stages.retention_periods import begin, end_periods
from cloakhouse.stages.retention_plan import State, plan
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.subjects import rights_tokens, rights_uses

NAME = "transactions"
LANDED = DatasetKey.parse(f"landing/file/{NAME}")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return protected().copy(tmp_path)


@pytest.fixture(autouse=True)
def nothing_to_collect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the collector, which has tests of its own, to one test here."""
    if "each_zone" not in request.node.name:
        monkeypatch.setattr(retention, "collect", lambda *_, **__: SimpleNamespace(failed={}))


def after(days: int) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=days)


def data(house: House, zone: str, dataset: str = NAME) -> list[str]:
    listed = open_store(house.settings).list(f"{zone}/{dataset}")
    return sorted(info.path for info in listed if info.path.endswith((".chl", ".parquet")))


def sound(done: Kept) -> Kept:
    assert not done.failed, [problem.explain() for problem in done.failed.values()]
    return done


def rights_of(house: House, household: int) -> pa.Array:
    column = house.contracts[NAME].column("household_id")
    ensure_roots(house.settings, [use.root for use in rights_uses(column)])
    [person] = rights_tokens(pa.array([household]), column, token_keys(house.settings)).to_pylist()
    return pa.array([person], pa.binary(16))


def hold(house: House, household: int) -> None:
    SubjectHolds(house.settings.database).place(rights_of(house, household), by("ann", "a court asked for it"))


def a_household(house: House) -> int:
    """Return a household with rows in the first week and none in the second."""
    first, second = (_households(house, week) for week in ("2016-12-26", "2017-01-02"))
    return min(first - second)


def _households(house: House, partition: str) -> set[int]:
    import csv
    import gzip
    import io

    delivery = house.catalogue.deliveries(NAME)[partition][-1]
    name = read_manifest(open_store(house.settings), delivery.manifest)["object"]
    with opened(open_store(house.settings), LandedObject(NAME, partition, name), open_ring(house.settings)) as stream:
        lines = io.TextIOWrapper(gzip.GzipFile(fileobj=stream), errors="replace")  # type: ignore[arg-type]
        return {int(name) for row in csv.DictReader(lines) if (name := row["household_id"] or "").isdecimal()}


def test_nothing_goes_before_its_day(house: House) -> None:
    before = {zone: data(house, zone) for zone in ("landing", "protected", "quarantine")}
    done = sound(keep(house.settings, now=after(29)))
    assert (done.gone, done.held) == ((), ())
    assert {zone: data(house, zone) for zone in before} == before


def test_each_zone_goes_on_its_day_and_what_was_there_stays_known(house: House) -> None:
    protected_files = data(house, "protected")
    landed = house.catalogue.deliveries(NAME)["2017-01-02"][0]
    sound(keep(house.settings, now=after(91)))
    assert (data(house, "landing"), data(house, "quarantine")) == ([], [])
    assert data(house, "protected") == protected_files
    known = house.catalogue.deliveries(NAME)["2017-01-02"][0]
    assert known.expired_at is not None
    assert (known.sha256, known.rows, known.manifest) == (landed.sha256, landed.rows, landed.manifest)
    assert read_manifest(open_store(house.settings), known.manifest, "delivery")["rows"] == landed.rows

    sound(keep(house.settings, now=after(731)))
    assert (data(house, "protected"), house.catalogue.protected(NAME)) == ([], {})
    assert house.catalogue.expired(NAME) == {"2016-12-26", "2017-01-02"}
    assert pseudonymize.plan(house.settings, house.contracts[NAME], reprocess=True) is None


def test_quarantined_rows_go_and_their_number_stays(house: House) -> None:
    before = house.catalogue.protected(NAME)
    assert data(house, "quarantine")
    done = sound(keep(house.settings, now=after(31)))
    assert data(house, "quarantine") == []
    for name, partition in house.catalogue.protected(NAME).items():
        content = read_manifest(open_store(house.settings), partition.manifest, "protected")
        assert content["quarantine"] == []
        assert (partition.rows, partition.quarantined) == (before[name].rows, before[name].quarantined)
        assert sum(content["quarantined"].values()) == partition.quarantined
    assert {item.name for item in done.gone if item.zone == "quarantine" and item.dataset == NAME} <= set(before)
    assert sound(keep(house.settings, now=after(31))).gone == ()


def test_the_same_file_delivered_again_does_not_land_again(house: House) -> None:
    sound(keep(house.settings, now=after(91)))
    write_feed(house.settings.inbox, weeks=range(1, 3), wanted=lambda name: name.startswith(NAME))
    done = land(house.settings, house.contracts[NAME])
    assert (done.landed, done.duplicates) == (0, 2)
    assert data(house, "landing") == []


def test_a_correction_for_a_partition_that_is_not_kept_any_longer_is_refused(house: House) -> None:
    sound(keep(house.settings, now=after(731)))
    [name] = [f"{NAME}-2017-01-02.csv.gz"]
    write_feed(house.settings.inbox, weeks=range(1, 3), seed=5, wanted=lambda other: other == name)
    done = land(house.settings, house.contracts[NAME], supersede=True)
    assert [problem["code"] for problem in done.refused] == ["delivery.expired"]
    assert data(house, "landing") == []


def test_a_held_person_keeps_the_files_and_partitions_with_their_rows_and_no_other(house: House) -> None:
    hold(house, a_household(house))
    dry = sound(keep(house.settings, now=after(731), dry_run=True))
    done = sound(keep(house.settings, now=after(731)))
    held = {(item.zone, item.name) for item in done.held if item.dataset == NAME}
    assert held >= {("landing", "2016-12-26/1"), ("protected", "2016-12-26")}
    assert {name.partition("/")[0] for _, name in held} == {"2016-12-26"}
    assert set(dry.held) == set(done.held)
    assert set(house.catalogue.protected(NAME)) == {"2016-12-26"}
    assert {path.split("/")[2] for zone in ("landing", "protected") for path in data(house, zone)} == {"2016-12-26"}
    house.store.read(house_entry(house))


def house_entry(house: House):  # type: ignore[no-untyped-def]
    from cloakhouse.stages.sources import partition_files

    return partition_files(house.settings, house.catalogue.protected(NAME)["2016-12-26"].manifest)[0]


@pytest.mark.path
def test_a_dry_run_changes_nothing_and_tells_the_same(house: House) -> None:
    before = {path: path.stat().st_size for path in house.settings.lake.rglob("*") if path.is_file()}
    dry = keep(house.settings, now=after(91), dry_run=True)
    assert {path: path.stat().st_size for path in house.settings.lake.rglob("*") if path.is_file()} == before
    done = sound(keep(house.settings, now=after(91)))
    assert [item.name for item in dry.gone if item.dataset == NAME] == [
        item.name for item in done.gone if item.dataset == NAME
    ]


def test_the_log_tells_each_partition_with_its_rows(house: House) -> None:
    rows = house.catalogue.deliveries(NAME)["2017-01-02"][0].rows
    sound(keep(house.settings, now=after(91)))
    events = [one for one in log_of(house.settings.database).events() if one.action == "expire"]
    [landed] = [event for event in events if event.object == f"landing/{NAME}/2017-01-02/1"]
    assert (landed.count, landed.dataset, landed.facts["days"]) == (rows, NAME, 90)


def test_what_expires_next_is_told_by_day(house: House) -> None:
    now = dt.datetime.now(dt.UTC)
    soon = plan(house.settings, now, 31)
    assert {(item.dataset, item.zone) for item in soon} == {
        ("customers", "landing"),
        ("customers", "quarantine"),
        (NAME, "quarantine"),
    }
    assert all(item.state is State.LATER for item in soon)
    assert [item.due for item in soon] == sorted(item.due for item in soon)
    assert plan(house.settings, now) == []


def test_a_lost_copy_of_an_expired_file_does_not_open_once_its_period_has_ended(house: House, tmp_path: Path) -> None:
    [first, *_] = data(house, "landing")
    dataset, partition, name = first.split("/")[1:]
    copy = tmp_path / "lost.chl"
    shutil.copy(house.settings.lake / first, copy)
    sound(keep(house.settings, now=after(40)))  # another month: a new version of the key wraps from here on
    assert [version.version for version in _key(house).versions] == [1, 2]
    done = sound(keep(house.settings, now=after(40 + 91)))
    assert f"landing/file/{NAME}" in {one.key for one in done.shredded}
    assert 1 not in [version.version for version in _key(house).versions]
    target = house.settings.lake / first
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(copy, target)
    lost = LandedObject(dataset, partition, name)
    with pytest.raises(KeyServiceError) as refused, opened(open_store(house.settings), lost, open_ring(house.settings)):
        pass
    assert refused.value.code == "key.missing"


@pytest.mark.path
def test_keys_of_files_that_are_still_there_stay(house: House) -> None:
    hold(house, a_household(house))
    sound(keep(house.settings, now=after(40)))
    sound(keep(house.settings, now=after(800)))
    assert 1 in [version.version for version in _key(house).versions]
    house.store.read(house_entry(house))


def _key(house: House):  # type: ignore[no-untyped-def]
    [file] = [file for file in open_ring(house.settings).all() if file.key == LANDED]
    return file


@crashes
def test_killed_anywhere_the_next_call_finishes(tmp_path: Path, crash: Crash) -> None:
    source, home, name = protected(), tmp_path / "home", "customers"
    now, houses = after(731), list[House]()

    def prepare() -> None:
        shutil.rmtree(home, ignore_errors=True)
        houses[:] = [source.copy(home)]

    def work() -> None:
        keeper = retention._Keeper(houses[0].settings, now)
        keeper.dataset(houses[0].contracts[name])

    def check(_finished: bool) -> None:
        work()
        assert [path for zone in ("landing", "protected", "quarantine") for path in data(houses[0], zone, name)] == []
        assert len(houses[0].catalogue.expired(name)) == 1
        events = [e.object for e in log_of(houses[0].settings.database).events() if e.action == "expire"]
        assert sorted(what.split("/")[0] for what in events) == ["landing", "protected"] + ["quarantine"] * (
            len(events) - 2
        )

    assert crash(prepare, work, check, every=3) > 5


@crashes
def test_killed_while_keys_end_no_key_that_is_needed_is_gone_and_the_next_call_ends_them(
    tmp_path: Path, crash: Crash
) -> None:
    source, home, now = protected().copy(tmp_path / "source"), tmp_path / "home", after(131)
    sound(keep(source.settings, now=after(91)))
    houses = list[House]()

    def prepare() -> None:
        shutil.rmtree(home, ignore_errors=True)
        houses[:] = [source.copy(home)]

    def work() -> None:
        end_periods(houses[0].settings, {NAME: houses[0].contracts[NAME]}, now)

    def check(_finished: bool) -> None:
        houses[0].store.read(house_entry(houses[0]))  # the protected zone is still kept
        work()
        assert next(version.version for version in _key(houses[0]).versions) > 2

    assert crash(prepare, work, check, every=11) > 5


@pytest.mark.path
def test_one_dataset_that_fails_keeps_no_other_waiting(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Objects.remove

    def failing(self: Objects, folders: list[tuple[str, str, str]]) -> int:
        if any(dataset == "customers" for _, dataset, _ in folders):
            raise KeyServiceError(where="x", expected="y", found="z", not_done="n", remedy="r")
        return real(self, folders)

    monkeypatch.setattr(Objects, "remove", failing)
    done = keep(house.settings, now=after(91))
    assert list(done.failed) == ["customers"]
    assert data(house, "landing") == []
    monkeypatch.undo()
    sound(keep(house.settings, now=after(91)))
    assert data(house, "landing", "customers") == []


@pytest.mark.path
def test_a_file_that_was_cut_outlives_the_month_in_which_it_was_first_written(house: House) -> None:
    """Its new bytes are of the month of the cut: the first month's key goes with the other files, and it opens."""
    held, gone = a_household(house), min(_households(house, "2016-12-26") & _households(house, "2017-01-02"))
    begin(open_ring(house.settings), after(40))
    persons = rights_of(house, gone)
    before = house.catalogue.protected(NAME)["2016-12-26"]
    cut_partition(house.settings, house.contracts[NAME], before, persons, by("ann", "asked for it"))
    hold(house, held)
    done = sound(keep(house.settings, now=after(40 + 731)))
    assert set(house.catalogue.protected(NAME)) == {"2016-12-26"}
    assert house.catalogue.protected(NAME)["2016-12-26"].manifest != before.manifest
    ended = [one for one in done.shredded if one.key.startswith("protected/") and one.key.endswith(f"/{NAME}")]
    assert ended
    assert all(one.versions == 1 for one in ended)
    house.store.read(house_entry(house))
