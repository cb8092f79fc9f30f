"""Persons leave the sources: whose lines and rows went, that all others stayed, and that any call can be killed."""

from __future__ import annotations

import atexit
import functools
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support import databases, stores
from tests.support.acting import by
from tests.support.crash import die_at
from tests.support.erasures import requested
from tests.support.house import WEEKS, House
from tests.support.processes import in_fork
from tests.support.small_feeds import (
    CUSTOMERS,
    HEADER,
    HOUSEHOLDS,
    OTHER_WEEK,
    WEEK,
    deliver,
    delivered,
    email,
    landed,
    loyalty,
    persons,
    purchase,
    small,
)

from cloakhouse.errors import ResidencyRefused, StageError, StorageError
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import Delivery
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.settings import Settings
from cloakhouse.stages import cut_landed, pseudonymize
from cloakhouse.stages.cutting import cut_partition
from cloakhouse.stages.erase_protected import touched
from cloakhouse.stages.erase_sources import (
    erase_landed,
    erase_protected,
    erase_quarantine,
    erase_registers,
    recut_new,
    remove_strays,
)
from cloakhouse.stages.erasure_batch import Batch
from cloakhouse.stages.land import land
from cloakhouse.stages.raw_subjects import name_tokens
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.subjects import rights_of_tokens

STEPS = (erase_registers, erase_landed, erase_protected, erase_quarantine, remove_strays)
ERASED = (101, 104)
HOLDER = Event("ann", Action.HOLD_SUBJECT, "holds", reason="a lawsuit, 7 O 12/26")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return small().copy(tmp_path / "home")


def batch_of(house: House, *households: int, name: str = "er-20261122-0a1b2c3d") -> Batch:
    """Request the erasure of some households, with what else names them."""
    contract, keys = house.contracts["customers"], token_keys(house.settings)
    subject, names = contract.column("household_id"), []
    for column, texts in (("email", map(email, households)), ("loyalty_card", map(loyalty, households))):
        names.append(name_tokens(pa.array(list(texts)), contract.column(column), subject, keys))
    found = requested(house.settings, persons(house, *households), name)
    return Batch(found.name, found.rights, found.reason, found.requested_at, pa.concat_arrays(names))


def erase(house: House, batch: Batch) -> list[dict[str, int]]:
    return [step(house.settings, batch) for step in STEPS]


@functools.cache
def erased() -> tuple[House, Batch, list[dict[str, int]]]:
    """Return the installation without ERASED, to be read alone, the batch, and what its steps returned."""
    folder = tempfile.TemporaryDirectory(prefix="cloakhouse-tests-")
    atexit.register(folder.cleanup)
    house = small().copy(Path(folder.name) / "home")
    batch = batch_of(house, *ERASED)
    return house, batch, erase(house, batch)


def deliveries(house: House, name: str = "transactions") -> list[Delivery]:
    return [delivery for revisions in house.catalogue.deliveries(name).values() for delivery in revisions]


def lines(house: House, name: str = "transactions") -> list[bytes]:
    return [landed(house, delivery) for delivery in deliveries(house, name)]


def rows(house: House, name: str = "transactions", part: str = "files") -> pa.Table:
    entries = []
    for partition in house.catalogue.protected(name).values():
        entries += file_entries(read_manifest(open_store(house.settings), partition.manifest)[part])
    return pa.concat_tables([house.store.read(entry) for entry in entries])


def households(house: House, name: str = "transactions") -> list[int]:
    """Return whose the protected rows are, in their order."""
    column = house.contracts[name].column("household_id")
    found = rights_of_tokens(rows(house, name)["household_id"], column, token_keys(house.settings)).to_pylist()
    of = dict(zip(persons(house, *HOUSEHOLDS).to_pylist(), HOUSEHOLDS, strict=True))
    return [of[token] for token in found]


def files(house: House, *zones: str) -> set[str]:
    store = open_store(house.settings)
    return {info.path for zone in zones for info in store.list(zone) if not info.path.endswith(".json")}


def without(every: Sequence[bytes], *gone: int) -> bytes:
    return b"".join(line for number, line in enumerate(every) if number not in gone)


def test_lines_of_the_erased_go_and_all_others_stay_as_they_were() -> None:
    (house, _, _), before = erased(), small()
    assert lines(house, "customers") == [without(CUSTOMERS, 0, 3, 8)]
    assert lines(house) == [HEADER + without(WEEK, 0, 3, 6, 9, 12, 15, 16), HEADER + without(OTHER_WEEK, 0)]
    assert set(households(house)).isdisjoint(ERASED)
    assert households(house, "customers") == [102, 103, 105, 106]
    kept = pc.is_in(rows(before)["basket_id"], value_set=rows(house)["basket_id"])
    assert rows(house).equals(rows(before).filter(kept))
    assert rows(before).num_rows - rows(house).num_rows == 2 * len(ERASED) + 1
    assert rows(house, part="quarantine")["record"].to_pylist() == [
        record
        for record in rows(before, part="quarantine")["record"].to_pylist()
        if not record.startswith((b"101", b"104"))
    ]


def test_counts_follow_and_a_cut_delivery_is_treated_again_as_it_is(tmp_path: Path) -> None:
    house, batch, _ = erased()
    assert [delivery.rows for delivery in deliveries(house)] == [len(WEEK) - 7, len(OTHER_WEEK) - 1]
    [first, second] = house.catalogue.protected("transactions").values()
    assert (first.rows + first.quarantined, second.rows) == (len(WEEK) - 7, len(OTHER_WEEK) - 1)
    assert touched(house.settings, batch.name) == {
        "customers": frozenset({"2016-12-26"}),
        "transactions": frozenset(WEEKS),
    }
    again = house.copy(tmp_path / "home")
    again.protect("transactions", reprocess=True)  # raises when rows and lines don't add up
    assert households(again) == households(house)


def test_done_once_the_totals_are_those_recorded() -> None:
    house, batch, first = erased()
    manifests = [delivery.manifest for delivery in deliveries(house)]
    assert erase(house, batch) == first
    assert [delivery.manifest for delivery in deliveries(house)] == manifests
    assert first[1] == {"files": 3, "cut": 3, "lines": 11, "kept": 0}
    assert {name: first[2][name] for name in ("partitions", "rows")} == {"partitions": 3, "rows": 7}


def test_the_original_is_known_when_it_is_delivered_again(tmp_path: Path) -> None:
    house = erased()[0].copy(tmp_path / "home")
    deliver(house, WEEKS[1], OTHER_WEEK)
    result = land(house.settings, house.contracts["transactions"])
    assert (result.landed, result.duplicates, result.refused) == (0, 1, ())


def test_nothing_of_what_was_cut_lies_about(house: House) -> None:
    old, partition = files(house, "landing", "protected", "quarantine"), house.catalogue.protected("transactions")
    house.protect("transactions", [WEEKS[1]], reprocess=True)  # leaves the files of the one before
    open_store(house.settings).create("protected/transactions/2015-01-05/lost.parquet", b"of a partition long gone")
    open_store(house.settings).create("rights/sieves/transactions/lost.parquet", b"a list of a run that was killed")
    (house.settings.lake / "landing/transactions/2016-12-26/.half.tmp").write_bytes(b"half written")
    erase(house, batch_of(house, *ERASED))
    listed = {entry.path for name in ("customers", "transactions") for entry in entries(house, name)}
    assert files(house, "protected", "quarantine") == listed
    assert not files(house, "rights/sieves")
    assert len(files(house, "landing")) == len(deliveries(house)) + len(deliveries(house, "customers"))
    assert not files(house, "landing") & old
    assert not list((house.settings.lake / "landing").rglob("*.tmp"))
    assert partition.keys() == house.catalogue.protected("transactions").keys()


def entries(house: House, name: str) -> list[object]:
    found: list[object] = []
    for partition in house.catalogue.protected(name).values():
        content = read_manifest(open_store(house.settings), partition.manifest)
        found += file_entries([*content["files"], *content["quarantine"]])
    return found


def test_files_without_such_persons_stay_as_they_are(house: House) -> None:
    before = files(house, "landing", "protected", "quarantine")
    erase(house, batch_of(house, 106))
    after = files(house, "landing", "protected", "quarantine")
    assert {path for path in before if WEEKS[1] in path} <= after
    assert {path.split("/")[0] for path in before - after} == {"landing", "protected"}


def test_a_line_without_a_household_goes_by_its_other_names(house: House) -> None:
    erase(house, batch_of(house, 102))
    assert lines(house, "customers") == [without(CUSTOMERS, 1, 6)]


def test_every_revision_is_cut_and_a_later_correction_by_the_nightly_look(house: House) -> None:
    deliver(house, WEEKS[1], [*OTHER_WEEK, purchase(104, 9)])
    land(house.settings, house.contracts["transactions"], supersede=True)
    erase(house, batch_of(house, *ERASED))
    assert lines(house)[1:] == [HEADER + without(OTHER_WEEK, 0)] * 2
    deliver(house, WEEKS[1], [*OTHER_WEEK, purchase(104, 9), purchase(106, 10)])
    land(house.settings, house.contracts["transactions"], supersede=True)
    assert recut_new(house.settings) == {"files": 1, "cut": 1, "lines": 2, "kept": 0}
    assert lines(house)[3] == HEADER + without([*OTHER_WEEK, b"", purchase(106, 10)], 0)
    assert recut_new(house.settings)["files"] == 0  # it was looked at


def test_a_line_that_names_somebody_under_a_hold_stays_and_is_not_read_again_and_again(house: House) -> None:
    both = purchase("101,102", 8)  # a field more: either may be meant
    deliver(house, WEEKS[1], [*OTHER_WEEK, both])
    land(house.settings, house.contracts["transactions"], supersede=True)
    batch = batch_of(house, *ERASED)
    SubjectHolds(house.settings.database).place(persons(house, 102, 104), HOLDER)
    erase(house, batch)
    assert lines(house)[2] == HEADER + without([*OTHER_WEEK, both], 0)
    assert 104 in households(house)
    assert Erasures(house.settings.database).step(batch.name, "landed").content["kept"] == 1  # type: ignore[union-attr]
    assert [recut_new(house.settings)["files"] for _ in range(2)] == [1, 0]
    SubjectHolds(house.settings.database).lift(persons(house, 102), HOLDER)
    assert recut_new(house.settings) == {"files": 1, "cut": 1, "lines": 1, "kept": 0}
    assert lines(house)[2] == HEADER + without(OTHER_WEEK, 0)


def test_a_run_that_was_planned_before_its_delivery_was_cut_is_refused(house: House) -> None:
    contract = house.contracts["transactions"]
    request = pseudonymize.plan(house.settings, contract, reprocess=True)
    assert request is not None
    planned = read_manifest(open_store(house.settings), request)["deliveries"]
    pseudonymize._require_newest(house.catalogue, contract, planned)
    erase_landed(house.settings, batch_of(house, *ERASED))
    with pytest.raises(StageError) as caught:
        pseudonymize._require_newest(house.catalogue, contract, planned)
    assert caught.value.code == "stage.overtaken"


def test_a_partition_that_is_cut_keeps_what_it_was_made_under(house: House) -> None:
    erase_registers(house.settings, batch_of(house, 106))  # a tombstone: its rows are withheld from now on
    house.protect("transactions", [WEEKS[0]], reprocess=True)
    before = house.catalogue.protected("transactions")[WEEKS[0]]
    cut = cut_partition(house.settings, house.contracts["transactions"], before, persons(house, 105), by("withdrawn"))
    assert cut.partition is not None
    assert (cut.rows, before.withheld > 0, before.rights != "") == (2, True, True)
    assert (cut.partition.withheld, cut.partition.rights) == (before.withheld, before.rights)
    old, new = (read_manifest(open_store(house.settings), p.manifest) for p in (before, cut.partition))
    assert {name: new[name] for name in old.keys() - {"files", "rows"}} == {
        name: old[name] for name in old.keys() - {"files", "rows"}
    }
    assert {"rights", "withheld"} <= old.keys()


def test_a_zone_that_is_pinned_elsewhere_is_not_touched(house: House) -> None:
    batch, before = batch_of(house, *ERASED), files(house, "landing", "protected", "quarantine")
    pin = "  - property: residency\n    value: {{ {}: [eu-central-1] }}\n  - property: subject\n"
    house.edit_contract("customers", "  - property: subject\n", pin.format("landing"))
    house.edit_contract("transactions", "  - property: subject\n", pin.format("quarantine"))
    elsewhere = replace(house.settings, region="us-east-1")
    for step in STEPS[1:]:
        with pytest.raises(ResidencyRefused):
            step(elsewhere, batch)
    gone = before - files(house, "landing", "protected", "quarantine")
    assert {tuple(path.split("/")[:2]) for path in gone} == {("protected", "customers"), ("quarantine", "customers")}


def test_a_partition_may_lose_all_its_rows(house: House) -> None:
    erase(house, batch_of(house, *HOUSEHOLDS))
    assert lines(house)[1] == HEADER
    assert rows(house).num_rows == 0
    assert house.catalogue.protected("transactions")[WEEKS[1]].rows == 0
    house.protect("transactions", reprocess=True)


def test_a_hit_far_below_the_start_is_cut_as_well(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = functools.partialmethod(cut_landed.LandedCutter.__init__, hold=64)
    monkeypatch.setattr(cut_landed.LandedCutter, "__init__", hold)
    batch = batch_of(house, 106)
    small_blocks = partial(cut_landed.line_blocks, size=64)
    monkeypatch.setattr(cut_landed, "line_blocks", small_blocks)
    erase_landed(house.settings, batch)
    assert lines(house)[0] == HEADER + without(WEEK, 5, 11)


def test_one_partition_is_cut_for_others_too(house: House) -> None:
    contract = house.contracts["transactions"]
    [partition, other] = house.catalogue.protected("transactions").values()
    told: list[int] = []
    cut = cut_partition(house.settings, contract, partition, persons(house, 105), by("withdrawn"), told.append)
    assert (cut.rows, cut.rewritten, cut.deleted, told) == (2, 1, 1, [2])
    assert house.catalogue.protected("transactions") == {WEEKS[0]: cut.partition, WEEKS[1]: other}
    again = cut_partition(house.settings, contract, partition, persons(house, 105), by("withdrawn"))
    assert (again.rows, again.rewritten, again.partition) == (0, 0, cut.partition)


def test_a_store_that_fails_half_way_leaves_the_next_call_the_rest(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of(house, *ERASED)
    with monkeypatch.context() as broken:
        broken.setattr(FolderStore, "delete", _refuses)
        for step in (erase_landed, erase_protected):
            with pytest.raises(StorageError):
                step(house.settings, batch)
    erase(house, batch)
    check_erased(house, batch)


def _refuses(self: FolderStore, path: str) -> bool:
    raise StorageError(where="x", expected="x", found="x", not_done="x", remedy="x")


def check_erased(house: House, batch: Batch) -> None:
    """All is cut, nothing else is, nothing lies about, and the counts are those of one call."""
    assert lines(house) == [HEADER + without(WEEK, 0, 3, 6, 9, 12, 15, 16), HEADER + without(OTHER_WEEK, 0)]
    assert set(households(house)).isdisjoint(ERASED)
    assert len(files(house, "landing")) == 3
    assert files(house, "protected", "quarantine") == {
        entry.path  # type: ignore[attr-defined]
        for name in ("customers", "transactions")
        for entry in entries(house, name)
    }
    steps = {step.step: step.content for step in Erasures(house.settings.database).steps(batch.name)}
    assert (steps["landed"]["lines"], steps["protected"]["rows"], steps["quarantine"]["rows"]) == (11, 7, 4)


@functools.cache
def asked_for() -> tuple[House, Batch]:
    """Return the installation with the erasure of ERASED requested, to be copied."""
    folder = tempfile.TemporaryDirectory(prefix="cloakhouse-tests-")
    atexit.register(folder.cleanup)
    house = small().copy(Path(folder.name) / "home")
    return house, batch_of(house, *ERASED)


def killed_at(home: Path, number: int) -> bool:
    """Erase in a child that is killed before its `number`-th disk call; return whether it ended before."""
    source, batch = asked_for()
    prepared = source.copy(home)

    def child() -> None:
        die_at(number, before=True)
        erase(prepared, batch)

    code = in_fork(child)
    assert code in (0, -signal.SIGKILL)
    erase(prepared, batch)
    check_erased(prepared, batch)
    shutil.rmtree(home)
    return code == 0


@pytest.mark.parametrize("number", [31, 80])
def test_killed_the_next_call_ends_it(tmp_path: Path, number: int) -> None:
    assert not killed_at(tmp_path / "home", number)


@pytest.mark.stores
def test_on_postgresql_the_same_goes_and_the_same_stays(tmp_path: Path) -> None:
    with databases.fresh("postgresql", tmp_path) as url:
        house = delivered(replace(Settings.from_environment({}).with_home(tmp_path / "home"), database=url))
        batch = batch_of(house, *ERASED)
        assert erase(house, batch) == erase(house, batch)
        check_erased(house, batch)


@pytest.mark.stores
def test_an_object_store_that_fails_half_way_leaves_the_next_call_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = delivered(stores.settings_on("moto", tmp_path / "home"))
    batch = batch_of(house, *ERASED)
    for calls in (7, 7, 7):
        with monkeypatch.context() as broken:
            broken.setattr(Calls, "call", _failing_after(calls))
            with pytest.raises(StorageError):
                erase(house, batch)
    erase(house, batch)
    check_erased(house, batch)


def _failing_after(calls: int) -> Callable[..., Any]:
    """Return a way to call S3 that fails for good after some calls that change an object."""
    left, real = [calls], Calls.call

    def call(self: Calls, operation: str, *given: Any, **named: Any) -> Any:
        left[0] -= operation.startswith(("put_", "delete_", "complete_"))
        if left[0] < 0:
            raise StorageError(where="x", expected="x", found="x", not_done="x", remedy="x")
        return real(self, operation, *given, **named)

    return call


@pytest.mark.kills
def test_killed_at_any_disk_call_the_next_call_ends_it(tmp_path: Path) -> None:
    number = 1
    while not killed_at(tmp_path / "home", number):
        number += 7  # of the 36 or so calls that each of several files takes alike, so that all of them have their turn
    assert number > 200
