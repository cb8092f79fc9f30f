"""Snapshots of the consent register: what they list, when one is reused, how old one may be, what is given up."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.consents import BY, copied, customers, day, made, rights, say
from tests.support.crash import Crash, crashes

from cloakhouse.contracts.subject import Consent
from cloakhouse.errors import ConfigurationError, IntegrityError, StageError
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.consent_snapshots import ConsentSnapshots
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.settings import Settings
from cloakhouse.stages import consent_shedding
from cloakhouse.stages.consent import YOUNG, allowed_of, allowed_persons, pin, require_fresh
from cloakhouse.stages.consent_shedding import forget_persons, listed_persons, shed

ASKED = Consent("analytics", 2, 30)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Persons 1 to 4: two allow analytics, one refuses, one was told; the first allowed snapshot is made."""
    house = made(tmp_path_factory.mktemp("consent") / "home")
    say(house, *((n, "file", c, day(0)) for n, c in enumerate(["granted", "granted", "refused", "told"], 1)))
    pin(house, "analytics", day(1))
    return house


@pytest.fixture
def house(template: Settings, tmp_path: Path) -> Settings:
    return copied(template, tmp_path / "home")


def everyone(settings: Settings, *persons: int) -> pa.Array:
    return rights(settings, persons).sort()


def files(settings: Settings) -> list[Path]:
    return sorted((settings.lake / "rights").rglob("*.*"))


def test_a_snapshot_lists_who_allows_the_purpose_encrypted_and_is_named_by_its_content(house: Settings) -> None:
    snapshot = pin(house, "analytics")
    assert (snapshot.subjects, snapshot.allowed, snapshot.purpose) == (4, 2, "analytics")
    persons = allowed_persons(house, snapshot.sha256)
    assert persons.equals(everyone(house, 1, 2))
    assert allowed_of(replace(house, database=""), snapshot.manifest).equals(persons)  # as a worker reads it
    head = f"cloakhouse/consent/1\0analytics\0{snapshot.as_of.isoformat()}\0".encode()
    assert snapshot.sha256 == hashlib.sha256(head + b"".join(persons.to_pylist())).hexdigest()
    written = b"".join(path.read_bytes() for path in files(house))
    assert not [person for person in persons.to_pylist() if person in written or person.hex().encode() in written]
    [event] = [e for e in AuditLog(house.database).events() if e.facts.get("snapshot") == snapshot.sha256]
    assert (event.action, event.count, event.facts["subjects"]) == ("pin consent", 2, 4)


def test_nobody_is_in_the_snapshot_of_a_purpose_without_choices(house: Settings) -> None:
    snapshot = pin(house, "sharing")
    assert (snapshot.subjects, snapshot.allowed, len(allowed_persons(house, snapshot.sha256))) == (0, 0, 0)


def test_runs_in_a_row_are_pinned_to_one_snapshot_until_a_choice_changes_it(house: Settings) -> None:
    first = pin(house, "analytics")
    assert pin(house, "analytics") == first
    say(house, (9, "api", "refused", dt.datetime.now(dt.UTC)))  # who was not on the list anyway
    assert pin(house, "analytics") == first
    say(house, (2, "api", "refused", dt.datetime.now(dt.UTC)))
    second = pin(house, "analytics")
    assert allowed_persons(house, second.sha256).equals(everyone(house, 1))
    assert allowed_persons(house, first.sha256).equals(everyone(house, 1, 2))


def test_an_old_snapshot_is_not_reused(house: Settings) -> None:
    old = pin(house, "analytics", dt.datetime.now(dt.UTC) - YOUNG - dt.timedelta(seconds=1))
    assert pin(house, "analytics") != old


def test_a_snapshot_as_of_a_time_counts_the_choices_up_to_then(house: Settings) -> None:
    say(house, (2, "api", "refused", day(5)), (3, "api", "granted", day(6)))
    for number, persons in ((4, (1, 2)), (5, (1,)), (6, (1, 3))):
        snapshot = pin(house, "analytics", day(number))
        assert allowed_persons(house, snapshot.sha256).equals(everyone(house, *persons))
        assert pin(house, "analytics", day(number)) == snapshot


@pytest.mark.parametrize(("purpose", "ahead"), [("ads", 0), ("analytics", 60)])
def test_another_purpose_and_a_time_to_come_are_refused(purpose: str, ahead: int, house: Settings) -> None:
    with pytest.raises(ConfigurationError):
        pin(house, purpose, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ahead) if ahead else None)


def test_a_run_is_refused_on_a_snapshot_older_than_the_contract_allows(house: Settings) -> None:
    snapshot = pin(house, "analytics", day(1))
    require_fresh(snapshot, ASKED, day(3))
    with pytest.raises(StageError) as stale:
        require_fresh(snapshot, ASKED, day(3) + dt.timedelta(seconds=1))
    assert stale.value.code == "stage.consent-stale"
    require_fresh(snapshot, replace(ASKED, max_age_days=0), day(1) + YOUNG)
    with pytest.raises(StageError):
        require_fresh(snapshot, replace(ASKED, max_age_days=0), day(1) + 2 * YOUNG)
    with pytest.raises(StageError) as other:
        require_fresh(snapshot, replace(ASKED, purpose="sharing"), day(1))
    assert other.value.code == "stage.consent-purpose"


def test_a_list_in_another_ones_place_is_refused(house: Settings) -> None:
    first, second = pin(house, "analytics", day(1)), pin(house, "sharing", day(1))
    lists = {path.parent.name: path for path in files(house) if path.suffix == ".parquet"}
    lists["analytics"].write_bytes(lists["sharing"].read_bytes())
    with pytest.raises(IntegrityError):
        allowed_persons(house, first.sha256)
    assert len(allowed_persons(house, second.sha256)) == 0


def test_an_erasure_takes_persons_out_of_the_register_and_of_every_snapshot(house: Settings) -> None:
    old, new = pin(house, "analytics", day(1)), pin(house, "analytics")
    before = files(house)
    gone = everyone(house, 2, 3, 77)
    assert listed_persons(house, gone) == 2
    forgotten = forget_persons(house, gone, replace(BY, action="erase"))
    assert (forgotten.choices, forgotten.snapshots) == (2, 2)
    assert ConsentRegister(house.database).count(gone) == listed_persons(house, gone) == 0
    for snapshot in (old, new):
        assert allowed_persons(house, snapshot.sha256).equals(everyone(house, 1))
    assert not [path for path in before if path.exists()]
    assert pin(house, "analytics").allowed == 1
    again = forget_persons(house, gone)
    assert (again.choices, again.snapshots) == (0, 0)


def test_snapshots_are_shed_once_nothing_refers_to_them(house: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    old, used, newest = (pin(house, "analytics", day(number)) for number in (1, 2, 3))
    sharing = pin(house, "sharing", day(1))
    monkeypatch.setattr(consent_shedding, "versions_under", lambda _: iter([("x@1", used.sha256), ("y@1", "")]))
    assert shed(house, day(2)) == 0  # young enough for a run
    assert shed(house, day(30)) == 1
    assert ConsentSnapshots(house.database).all() == [used, newest, sharing]
    assert len(files(house)) == 6
    with pytest.raises(StageError) as refusal:
        allowed_persons(house, old.sha256)
    assert refusal.value.code == "stage.consent-shed"
    assert shed(house, day(30)) == 0


def killed_everywhere(
    template: Settings, tmp_path: Path, work: Callable[[Settings], None], crash: Crash
) -> list[Settings]:
    """Return an installation for each place at which `work` was killed, and ended or begun anew."""
    tries: list[Settings] = []

    def prepare() -> None:
        tries.append(copied(template, tmp_path / str(len(tries))))

    def check(_finished: bool) -> None:
        work(tries[-1])
        gone = rights(tries[-1], [2])
        assert ConsentRegister(tries[-1].database).count(gone) == listed_persons(tries[-1], gone) == 0
        named = {s.manifest.path for s in ConsentSnapshots(tries[-1].database).all()}
        assert len(files(tries[-1])) == 2 * len(named)

    assert crash(prepare, lambda: work(tries[-1]), check) > 5
    return tries


@crashes
def test_an_erasure_that_is_killed_anywhere_is_finished_by_the_next(
    template: Settings, tmp_path: Path, crash: Crash
) -> None:
    gone = rights(template, [2])
    killed_everywhere(template, tmp_path, lambda settings: forget_persons(settings, gone) and None, crash)


@crashes
def test_pinning_that_is_killed_anywhere_leaves_nothing_that_counts(
    template: Settings, tmp_path: Path, crash: Crash
) -> None:
    tries: list[Settings] = []

    def check(_finished: bool) -> None:
        found = pin(tries[-1], "analytics", day(2))
        assert allowed_persons(tries[-1], found.sha256).equals(everyone(tries[-1], 1, 2))
        shed(tries[-1], day(2))
        assert len(files(tries[-1])) == 4

    crash(
        lambda: tries.append(copied(template, tmp_path / str(len(tries)))),
        lambda: pin(tries[-1], "analytics", day(2)) and None,
        check,
    )


def test_the_shipped_customer_master_has_a_register_of_every_purpose(template: Settings) -> None:
    subject = customers(template).rights.subject
    assert subject is not None
    assert subject.register is not None
    assert len(subject.register.purposes) == 4
