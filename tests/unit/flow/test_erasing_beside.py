"""An erasure while others are at work, in processes of their own: nothing is kept that should go, and nothing goes that
should stay. What the outcome is of each, docs/erasure.md says.

What is left out of Spark is its scheduling; that versions are made anew, the tests of the whole path show.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support import consents
from tests.support.beside import WAIT_S, Gate, beside
from tests.support.erasures import NAME, SOURCE, requested
from tests.support.house import WEEKS, House
from tests.support.small_feeds import WEEK, deliver, landed, persons, purchase
from tests.support.small_releases import attic_of, with_release

from cloakhouse.flow import erasing
from cloakhouse.flow.erasing import erase
from cloakhouse.flow.making_anew import Anew
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.erasure_model import ErasureState
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.ledger.versions import VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages import landing_run, pseudonymize, publish_release
from cloakhouse.stages.consent_due import consents_due, take_out
from cloakhouse.stages.derived_runs import runs_of
from cloakhouse.stages.land import land
from cloakhouse.stages.publish import publish
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.stages.treating import DeliveryTask, Treater
from cloakhouse.tokens.subjects import rights_of_tokens

pytestmark = pytest.mark.path

FIRST, SECOND = "er-20261122-0a1b2c3d", "er-20261122-ffffffff"
HOLDER = Event("ann", Action.HOLD_SUBJECT, "holds", reason="a lawsuit, 7 O 12/26")
LIFTER = Event("ann", Action.LIFT_SUBJECT_HOLD, "holds", reason="settled, 7 O 12/26")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The small feeds, and a release whose training view has 101, 102 and 103, its hold-out 104."""
    settings = Settings.from_environment({}).with_home(tmp_path_factory.mktemp("beside") / "home")
    return with_release(settings, [101, 102, 103], [104])


@pytest.fixture
def house(template: House, tmp_path: Path) -> House:
    return template.copy(tmp_path / "home")


def erasing_of(house: House, batch: str, told: Callable[[str], None] = lambda _step: None) -> Callable[[], object]:
    """Return what erases a batch in a process of its own, without Spark."""

    def work() -> None:
        erasing.make_anew = lambda _settings, dataset, _cluster: Anew(dataset, why="approval")
        erase(house.settings, batch, told)

    return work


def step(house: House, batch: str, name: str) -> Any:
    found = Erasures(house.settings.database).step(batch, name)
    return None if found is None else found.content


def done(house: House, batch: str) -> bool:
    erasure = Erasures(house.settings.database).get(batch)
    return erasure.state is ErasureState.DONE and bool(step(house, batch, "sweep")["clean"])


def households(house: House) -> set[int]:
    """Return whose rows are in the protected partitions of transactions, in runs' views, and in landed lines."""
    column, keys = house.contracts[SOURCE].column("household_id"), token_keys(house.settings)
    known = persons(house, *range(101, 107))
    found: list[pa.Array] = []
    for partition in house.catalogue.protected(SOURCE).values():
        for entry in file_entries(read_manifest(open_store(house.settings), partition.manifest)["files"]):
            found.append(rights_of_tokens(house.store.read(entry, [column.name]).column(0), column, keys))
    for run in runs_of(open_store(house.settings), NAME):
        for side in ("training", "holdout"):
            for entry in file_entries(run.content[side]["files"]):
                found.append(rights_of_tokens(house.store.read(entry).column("__unit"), column, keys))
    lying = {101 + n for n in range(6) if any(pc.is_in(known[n], value_set=tokens).as_py() for tokens in found)}
    for revisions in house.catalogue.deliveries(SOURCE).values():
        text = b"".join(landed(house, delivery) for delivery in revisions)
        lying |= {number for number in range(101, 107) if b"\n%d,330," % number in text}
    return lying


def states(house: House) -> list[VersionState]:
    return [version.state for version in house.register.versions(NAME)]


def waits(house: House, batch: str, name: str) -> bool:
    """Tell whether the step `name` is not done, half a second later."""
    time.sleep(0.5)
    return step(house, batch, name) is None


def until(house: House, batch: str, name: str) -> None:
    """Wait until the step `name` is done."""
    deadline = time.monotonic() + WAIT_S
    while step(house, batch, name) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def erased_after(house: House, work: Callable[[], object], gate: Gate) -> str:
    """Request the erasure of 101 while `work`, which holds the lock of transactions, stands at `gate`; return its name
    once both have ended, the erasure after the work."""
    asked = Gate()
    with beside(work) as other:
        gate.reached()
        batch = requested(house.settings, persons(house, 101)).name
        with beside(erasing_of(house, batch, asked.at("landed"))) as erases:
            asked.reached()
            asked.open()
            until(house, batch, "landed customers/2016-12-26/1")
            assert waits(house, batch, "landed")
            gate.open()
            assert (other.ended(), erases.ended()) == ("", "")
    assert done(house, batch)
    return batch


def test_a_publication_under_way_ends_first_and_goes_with_the_rest(house: House) -> None:
    contract_file = house.settings.contracts / f"{NAME}.odcs.yaml"
    text = contract_file.read_text()
    contract_file.write_text("\n".join(line for line in text.split("\n") if "approv" not in line))
    contract, attic = house.contracts[NAME], attic_of(house)
    evidence = attic.validate(attic.synthesize([101, 105], [106], WEEKS))
    gate, asked = Gate(), Gate()

    def published() -> None:
        publish_release.write_release = gate.before(publish_release.write_release)  # its last look at requests is past
        publish(house.settings, contract, evidence)

    with beside(published) as other:
        gate.reached()
        batch = requested(house.settings, persons(house, 101)).name
        with beside(erasing_of(house, batch, asked.at("derived"))) as erases:
            asked.reached()
            asked.open()
            assert waits(house, batch, "derived")
            gate.open()
            assert other.ended() == ""
            assert erases.ended() == ""
    assert done(house, batch)
    assert states(house) == [VersionState.COLLECTED, VersionState.COLLECTED]
    assert households(house) == {102, 103, 104, 105, 106}
    assert not list(open_store(house.settings).list("views"))


def test_a_synthesis_under_way_ends_first_and_its_run_goes(house: House) -> None:
    """The run is written as a synthesis does, under its lock; a real one is run by the test of the path below."""
    gate, asked, before = Gate(), Gate(), attic_of(house).parents

    def synthesized() -> None:
        attic = attic_of(house)
        attic.parents = before
        with locked(house.settings.locks / f"{NAME}-synthesis.lock", 10.0, "synthesizing"):
            gate.stop()
            attic.synthesize([101, 105], [106], WEEKS)

    with beside(synthesized) as other:
        gate.reached()
        batch = requested(house.settings, persons(house, 101)).name
        with beside(erasing_of(house, batch, asked.at("derived"))) as erases:
            asked.reached()
            asked.open()
            assert waits(house, batch, "derived")
            gate.open()
            assert (other.ended(), erases.ended()) == ("", "")
    assert done(house, batch)
    assert step(house, batch, f"derived/{NAME}")["runs"] == 2
    assert not list(runs_of(open_store(house.settings), NAME))
    assert households(house) == {102, 103, 104, 105, 106}


def test_a_pseudonymization_under_way_ends_first_and_is_cut(house: House) -> None:
    deliver(house, WEEKS[0], (*WEEK, purchase(101, 9), purchase(101, 10)))
    assert land(house.settings, house.contracts[SOURCE], supersede=True).landed == 1
    request = pseudonymize.plan(house.settings, house.contracts[SOURCE])
    assert request is not None
    gate = Gate()

    def pseudonymized() -> None:
        pseudonymize.on_spark = gate.before(_here)
        pseudonymize.run(house.settings, request, None)  # type: ignore[arg-type]

    batch = erased_after(house, pseudonymized, gate)
    assert step(house, batch, "protected")["rows"] >= 5  # those of the re-delivered week, too
    assert households(house) == {102, 103, 104, 105, 106}


def _here(settings: Any, contract: Any, references: Any, tasks: Any, _spark: Any, _progress: Any, persons: Any) -> Any:
    """Treat deliveries in this process."""
    treater = Treater(settings, contract, references, persons)
    return [treater.run(DeliveryTask(t.partition, t.object, t.rows, t.folder, t.split)) for t in tasks]


def test_a_landing_under_way_ends_first_and_is_cut(house: House) -> None:
    deliver(house, "2017-01-09", (purchase(101, 11), purchase(102, 12)))
    gate = Gate()

    def landing() -> None:
        landing_run.Delivery = gate.before(landing_run.Delivery)  # its time is told before the request
        land(house.settings, house.contracts[SOURCE])

    batch = erased_after(house, landing, gate)
    assert step(house, batch, f"landed {SOURCE}/2017-01-09/1")["lines"] == 1
    assert households(house) == {102, 103, 104, 105, 106}


def test_a_delivery_that_comes_while_an_erasure_works_does_not_keep_it_open(house: House) -> None:
    batch, gate = requested(house.settings, persons(house, 101)).name, Gate()
    with beside(erasing_of(house, batch, gate.at("protected"))) as erases:
        gate.reached()
        deliver(house, WEEKS[0], (*WEEK, purchase(101, 9)))
        assert land(house.settings, house.contracts[SOURCE], supersede=True).landed == 1
        gate.open()
        assert erases.ended() == ""
    assert done(house, batch)
    house.protect(SOURCE)
    assert households(house) == {102, 103, 104, 105, 106}


def test_two_erasures_at_once_wait_for_each_other_and_both_end(house: House) -> None:
    for name, who in ((FIRST, 101), (SECOND, 104)):
        requested(house.settings, persons(house, who), name)
    with beside(erasing_of(house, FIRST)) as first, beside(erasing_of(house, SECOND)) as second:
        assert (first.ended(), second.ended()) == ("", "")
    assert done(house, FIRST)
    assert done(house, SECOND)
    assert states(house) == [VersionState.COLLECTED]
    assert households(house) == {102, 103, 105, 106}
    assert not list(open_store(house.settings).list("rights/er-"))


@pytest.mark.parametrize("at", ["landed", "protected", "derived", "late", "sweep"])
def test_a_hold_takes_the_person_out_and_a_later_erasure_finds_what_was_left(house: House, at: str) -> None:
    requested(house.settings, persons(house, 101, 104), FIRST)
    gate, holds = Gate(), SubjectHolds(house.settings.database)
    with beside(erasing_of(house, FIRST, gate.at(at))) as erases:
        gate.reached()
        kept = households(house)
        assert holds.place(persons(house, 101), HOLDER) == 1
        gate.open()
        assert erases.ended() == ""
    assert done(house, FIRST)
    assert households(house) >= (kept & {101} if at != "derived" else set())
    assert 104 not in households(house)
    assert step(house, FIRST, "sweep")["persons"] == 1
    assert Tombstones(house.settings.database).of(persons(house, 101)[0].as_py()) is None

    assert holds.lift(persons(house, 101), LIFTER) == 1
    requested(house.settings, persons(house, 101), SECOND)
    erasing_of(house, SECOND)()
    assert done(house, SECOND)
    assert households(house) == {102, 103, 105, 106}
    assert states(house) == [VersionState.COLLECTED]


def test_a_hold_leaves_what_was_made_of_rows_that_were_cut_and_the_next_erasure_takes_it(house: House) -> None:
    requested(house.settings, persons(house, 101), FIRST)
    gate, holds = Gate(), SubjectHolds(house.settings.database)
    with beside(erasing_of(house, FIRST, gate.at("derived"))) as erases:
        gate.reached()
        holds.place(persons(house, 101), HOLDER)
        gate.open()
        assert erases.ended() == ""
    assert states(house) == [VersionState.PUBLISHED]  # it stands, with its training view
    holds.lift(persons(house, 101), LIFTER)
    requested(house.settings, persons(house, 101), SECOND)
    erasing_of(house, SECOND)()
    assert done(house, SECOND)
    assert states(house) == [VersionState.COLLECTED]
    assert not list(open_store(house.settings).list("views"))


def test_what_waits_for_an_approver_is_told_and_certified_as_not_made_anew(house: House) -> None:
    batch = requested(house.settings, persons(house, 101)).name
    told: list[str] = []
    erase(house.settings, batch, told.append)  # nothing is left out here
    assert told[told.index(f"anew/{NAME}") + 1] == f"{NAME} was not made anew: approval"
    assert done(house, batch)
    certified = json.loads(step(house, batch, "statement")["payload"])
    [anew] = [one["done"] for one in certified["steps"] if one["step"] == f"anew/{NAME}"]
    assert (anew["version"], anew["why"]) == (None, "approval")
    assert certified["attacks"] == []
    assert states(house) == [VersionState.COLLECTED]


def test_a_withdrawal_while_a_run_is_pinned_stops_nothing_and_is_due(tmp_path: Path) -> None:
    settings, now = consents.made(tmp_path / "home"), dt.datetime.now(dt.UTC)
    contract = consents.customers(settings)
    consents.deliver(settings, "2017-01-02", [consents.master_line(person) for person in (1, 2, 3)])
    consents.say(settings, *((person, "customers", "granted", now - dt.timedelta(hours=1)) for person in (1, 2, 3)))
    request = pseudonymize.plan(settings, contract)
    assert request is not None
    gate = Gate()

    def pseudonymized() -> None:
        pseudonymize.on_spark = gate.before(_here)
        pseudonymize.run(settings, request, None)  # type: ignore[arg-type]

    with beside(pseudonymized) as other:
        gate.reached()
        consents.say(settings, (1, "customers", "refused", now))
        gate.open()
        assert other.ended() == ""
    [due] = consents_due(settings)
    assert (due.part, due.persons, due.overdue) == ("2017-01-02", 1, False)
    assert due.deadline - now == dt.timedelta(days=30)
    assert [taken.rows for taken in take_out(settings)] == [1]
    assert consents_due(settings) == []
