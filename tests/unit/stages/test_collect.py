"""The collector removes what nobody needs, tells what it did, and touches nothing that anybody does."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.acting import by
from tests.support.versions import NAME, OLD, Shelf, fingerprint, release, row

from cloakhouse.contracts.parser import QUERIES
from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import KeyName
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.releases import SIGNER, write_release
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import VersionState
from cloakhouse.stages import collect as stage
from cloakhouse.stages.collect import Collected, collect
from cloakhouse.stages.rewrite_job import RewriteJob
from cloakhouse.stages.signing import signing_key
from cloakhouse.stages.version_checks import check_register, missing_file, open_release

WHY = "rows of a test store were in it"
NONE, DAY = dt.timedelta(), dt.timedelta(days=1)
RUN = f"synthetic/{NAME}/{'e' * 12}-00000001"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Three versions; the name stands for the third."""
    made = Shelf.at(tmp_path)
    for _ in range(3):
        made.publish()
    return made


def of(number: int, name: str = NAME) -> set[str]:
    """Return data and model of a version."""
    made = release(number, name)
    return {entry.path for entry in made.files} | {f"models/{name}/{made.fingerprint[:16]}-0.model"}


def run(shelf: Shelf, grace: dt.timedelta = NONE, *, dry_run: bool = False) -> Collected:
    done = collect(shelf.settings, dry_run=dry_run, grace=grace)
    assert not done.failed
    return done


def states(shelf: Shelf) -> list[str]:
    return [version.state.value for version in shelf.register.versions(NAME)]


def test_what_is_published_stays(shelf: Shelf) -> None:
    before = shelf.files()
    done = run(shelf)
    assert (shelf.files(), done.piles, done.versions) == (before, (), ())
    assert done.report is not None
    assert read_manifest(shelf.store, done.report, "collection")["files"] == 0


def test_versions_that_are_gone_lose_their_files_and_keep_their_releases(shelf: Shelf) -> None:
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    shelf.register.expire(NAME, [2], by("ann", WHY))
    before, versions = shelf.files(), shelf.register.versions(NAME)
    dry = run(shelf, dry_run=True)
    assert (shelf.files(), dry.report) == (before, None)
    assert states(shelf) == ["withdrawn", "expired", "published"]
    done = run(shelf)
    assert done.piles == dry.piles
    assert [(pile.path, pile.why, pile.files, pile.bytes) for pile in done.piles if "model" not in pile.path] == [
        (f"synthetic/{NAME}/{fingerprint(n)[:12]}-0a0b0c0d", f"{NAME}@{n} is {state}", 2, 8)
        for n, state in ((1, "withdrawn"), (2, "expired"))
    ]
    assert (done.files, done.bytes) == (6, 24)
    assert shelf.files() == of(3)
    assert states(shelf) == ["collected", "collected", "published"]
    assert done.versions == (f"{NAME}@1", f"{NAME}@2")
    for version in versions:  # every later reader is still told
        assert open_release(shelf.settings, version).version == version.version
    plan = next(info.path for info in shelf.store.list(f"evidence/collections/{NAME}"))
    assert json.loads(shelf.store.read(plan))["versions"] == [f"{NAME}@1", f"{NAME}@2"]
    assert run(shelf).files == 0


def test_readers_have_the_grace(shelf: Shelf) -> None:
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    assert run(shelf, DAY).files == 0
    assert shelf.files() == of(1) | of(2) | of(3)
    assert states(shelf)[0] == "withdrawn"


def test_a_hold_keeps_the_files_of_a_withdrawn_version(shelf: Shelf) -> None:
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    shelf.register.hold(NAME, 1, by("ann", "an audit looks at it"))
    assert run(shelf).files == 0
    shelf.register.lift(NAME, 1, by("ann"))
    assert run(shelf).files == 3
    assert shelf.files() == of(2) | of(3)


def test_leftovers_go_when_they_are_old(shelf: Shelf) -> None:
    old = [shelf.put(f"{RUN}/part-00000.parquet"), shelf.put(f"{release(3).files[0].path[:-8]}~1.parquet")]
    young = shelf.put(f"{RUN}/part-00001.parquet", age_s=1800)
    kept = [shelf.put(f"synthetic/{NAME}/notes.parquet"), shelf.put(f"{RUN}/README.txt")]
    temporary = shelf.settings.lake / f"{RUN}/.part.abc.tmp"
    temporary.write_bytes(b"half")
    shelf.age(f"{RUN}/.part.abc.tmp", OLD)
    done = run(shelf)
    assert [(pile.why, pile.files) for pile in done.piles] == [("no release lists it", 1)] * 2
    assert shelf.files() == of(1) | of(2) | of(3) | {young, kept[0]}
    assert not any((shelf.settings.lake / path).exists() for path in old)
    assert (shelf.settings.lake / kept[1]).exists()
    assert not temporary.exists()
    shelf.age(young, OLD)
    run(shelf)
    assert not (shelf.settings.lake / young).exists()


def test_a_synthesis_that_waits_for_its_validation_keeps_its_files(shelf: Shelf) -> None:
    waiting = release(9)
    for entry in waiting.files:
        shelf.put(entry.path)
    ref = shelf.synthesis(waiting, age_s=1800)
    assert run(shelf).files == 0
    shelf.age(ref.path, OLD)
    assert run(shelf).files == 2


def test_an_answer_that_was_paid_for_is_kept_until_its_version_is_gone(shelf: Shelf) -> None:
    made = release(7, QUERIES, "aggregates")
    for entry in made.files:
        shelf.put(entry.path)
    content = {"dataset": QUERIES, "fingerprint": made.fingerprint, "files": [e.as_dict() for e in made.files]}
    write_manifest(shelf.store, f"evidence/{QUERIES}/{made.fingerprint[:32]}", "validation", content)
    write_manifest(shelf.store, f"evidence/{QUERIES}/{'f' * 32}", "validation", {"fingerprint": "f" * 64})
    assert run(shelf).files == 0
    number = shelf.register.reserve(QUERIES, made.fingerprint)
    ref = write_release(shelf.store, signing_key(shelf.settings, SIGNER), replace(made, version=1))
    assert number == 1
    shelf.register.publish(row(replace(made, version=1), ref), by("ann"))
    assert run(shelf).files == 0
    shelf.register.withdraw(QUERIES, 1, by("ann", WHY))
    assert run(shelf).files == 2


@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_a_release_that_is_needed_and_can_not_be_verified_stops_its_dataset_alone(shelf: Shelf, fault: str) -> None:
    shelf.publish("others_synthetic")
    shelf.publish("others_synthetic")
    shelf.register.expire("others_synthetic", [1], by("ann", WHY))
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    path = shelf.settings.lake / shelf.register.versions(NAME)[2].manifest.path
    path.write_bytes(path.read_bytes()[:-1]) if fault == "damaged" else path.unlink()
    shelf.put(f"{RUN}/part-00000.parquet")
    before = shelf.files(f"synthetic/{NAME}")
    for dry_run in (True, False):
        done = collect(shelf.settings, dry_run=dry_run, grace=NONE)
        assert {name: problem.code for name, problem in done.failed.items()} == {NAME: "integrity.release"}
    assert shelf.files(f"synthetic/{NAME}") == before
    assert states(shelf)[0] == "withdrawn"
    assert done.versions == ("others_synthetic@1",)
    assert done.report is not None
    assert read_manifest(shelf.store, done.report)["failed"] == {NAME: "integrity.release"}


def test_the_damaged_release_of_a_version_that_goes_is_told_and_its_files_are_leftovers(shelf: Shelf) -> None:
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    (shelf.settings.lake / shelf.register.versions(NAME)[0].manifest.path).unlink()
    done = collect(shelf.settings, dry_run=False, grace=NONE)
    assert {name: problem.code for name, problem in done.failed.items()} == {f"{NAME}@1": "integrity.release"}
    assert shelf.files() == of(2) | of(3)
    assert (states(shelf)[0], done.versions) == ("withdrawn", ())


def test_leftovers_wait_for_a_synthesis_and_for_a_rewrite(shelf: Shelf) -> None:
    left = shelf.put(f"{RUN}/part-00000.parquet")
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    with locked(shelf.settings.home / "locks" / f"{NAME}-synthesis.lock", 1.0, "synthesis"):
        done = run(shelf)
    assert done.left == {NAME: "a synthesis is at work"}
    assert shelf.files() == of(2) | of(3) | {left}
    key = KeyName("synthetic/plain")
    job = RewriteJob(key, dt.datetime.now(dt.UTC), {DatasetKey("synthetic", "plain", NAME): 2}, None, frozenset())
    job.write(shelf.settings.home)
    assert run(shelf).left == {NAME: "a rewrite of its keys is not finished"}
    assert left in shelf.files()
    job.remove(shelf.settings.home)
    assert run(shelf).left == {}
    assert left not in shelf.files()


def test_nothing_is_collected_while_something_is_published(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "LOCK_WAIT_S", 0.1)
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    with locked(shelf.settings.home / "locks" / f"{NAME}.lock", 1.0, "publishing"):
        done = collect(shelf.settings, dry_run=False, grace=NONE, datasets=[NAME])
    assert isinstance(done.failed[NAME], StageError)
    assert shelf.files() == of(1) | of(2) | of(3)


def test_a_control_database_older_than_the_lake_collects_nothing(shelf: Shelf) -> None:
    """What it lacks may be the versions that the files are of."""
    shelf.put(f"{RUN}/part-00000.parquet")
    shelf.store.create(f"synthetic/{NAME}/releases/00000009-{'0' * 16}.json", b"{}")
    done = collect(shelf.settings, dry_run=False, grace=NONE)
    assert {name: problem.code for name, problem in done.failed.items()} == {NAME: "integrity.catalogue-old"}
    assert f"{RUN}/part-00000.parquet" in shelf.files()
    with pytest.raises(IntegrityError, match="9, whose release"):
        check_register(shelf.store, shelf.register, NAME)
    check_register(shelf.store, shelf.register, "others")


def test_a_hold_that_comes_between_is_respected(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    shelf.register.expire(NAME, [2], by("ann", WHY))
    real = stage.Choice.of

    def late(*given: object) -> stage.Choice:
        shelf.register.hold(NAME, 2, by("ann", "an audit looks at it"))
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(stage.Choice, "of", late)
    assert run(shelf).versions == (f"{NAME}@1",)
    assert shelf.files() == of(2) | of(3)


def test_a_damaged_manifest_of_a_synthesis_stops_the_dataset(shelf: Shelf) -> None:
    shelf.put(f"{RUN}/part-00000.parquet")
    shelf.store.create(f"synthetic/{NAME}/synthesis-{'0' * 16}.json", b"{")
    done = collect(shelf.settings, dry_run=False, grace=NONE, datasets=[NAME])
    assert isinstance(done.failed[NAME], IntegrityError)
    assert f"{RUN}/part-00000.parquet" in shelf.files()


def test_a_reader_of_a_version_that_goes_is_told_plainly(shelf: Shelf) -> None:
    one, two, three = shelf.register.versions(NAME)
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    shelf.register.expire(NAME, [2], by("ann", WHY))
    run(shelf)
    told = [missing_file(shelf.register, version) for version in (one, two, three)]
    assert [error.code for error in told] == ["withdrawn", "gone", "integrity.missing"]
    assert "its files are gone" in told[1].found
    shelf.register.replace_manifest(three.manifest, ManifestRef(three.manifest.path, "0" * 64))
    assert missing_file(shelf.register, three).code == "gone.rewritten"


def test_a_killed_collection_is_finished_by_the_next(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    monkeypatch.setattr(stage._Collector, "_write_plan", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        collect(shelf.settings, dry_run=False, grace=NONE, datasets=[NAME])
    monkeypatch.undo()
    assert states(shelf)[0] == "withdrawn"
    done = collect(shelf.settings, dry_run=False, grace=DAY * 365, datasets=[NAME])  # begun is begun
    assert done.versions == (f"{NAME}@1",)
    assert states(shelf)[0] == VersionState.COLLECTED.value


def test_memory_stays_flat_over_many_files(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as many leftovers in ten times as many folders take no more, but for a line of the plan each."""

    listed = list(shelf.store.list(f"synthetic/{NAME}"))

    def peak(folders: int) -> int:
        def many(folder: str) -> Iterator[object]:
            if folder == f"synthetic/{NAME}":
                yield from listed
                for number in range(folders * 100):
                    path = f"{folder}/{number // 100:012}-0/part-{number % 100:05}.parquet"
                    yield stage_info(path, 4, moment)

        moment = dt.datetime.now(dt.UTC) - DAY * 30
        monkeypatch.setattr(type(shelf.store), "list", lambda _self, folder="": many(folder))
        tracemalloc.start()
        done = run(shelf, dry_run=True)
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert done.files == folders * 100
        return high

    from cloakhouse.lake.store.protocol import ObjectInfo as stage_info

    peak(1)
    assert peak(100) - peak(10) < 200_000  # bytes; 9,000 paths alone would be more


@pytest.mark.parametrize("name", [f"{NAME}/{fingerprint(3)[:12]}-0a0b0c0d", NAME.upper(), "../lake", f"{NAME}@1", ""])
def test_what_is_no_name_of_a_dataset_is_never_looked_into(shelf: Shelf, name: str) -> None:
    """The folder of a live run has no versions of its own, so that all in it would seem to be needed by nobody."""
    before = shelf.files()
    done = collect(shelf.settings, dry_run=False, grace=NONE, datasets=[name])
    assert [problem.code for problem in done.failed.values()] == ["configuration.name"]
    assert shelf.files() == before


def test_with_a_database_older_than_a_rewrite_files_that_no_release_lists_stay(shelf: Shelf) -> None:
    """A register restored from before a rewrite lists the files that are gone, and doesn't know the new ones."""
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    old, *_ = release(3).files
    fresh = shelf.put(f"{old.path.removesuffix('.parquet')}~0a0b0c0d.parquet")
    (shelf.settings.lake / old.path).unlink()
    for dry_run in (True, False):
        done = run(shelf, dry_run=dry_run)
        assert done.left == {NAME: "a file that a version needs is missing"}
        assert {pile.why for pile in done.piles} == {f"{NAME}@1 is withdrawn", f"model of {NAME}@1"}
    assert fresh in shelf.files()
    assert states(shelf)[0] == "collected"
    shutil.rmtree((shelf.settings.lake / old.path).parent)
    shelf.put(f"{RUN}/part-00000.parquet")
    assert run(shelf).left == {NAME: "a file that a version needs is missing"}
    assert f"{RUN}/part-00000.parquet" in shelf.files()


def test_a_file_whose_name_the_lake_gives_to_none_keeps_nothing_waiting(shelf: Shelf) -> None:
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    odd = shelf.settings.lake / f"synthetic/{NAME}/0 odd/part 1.parquet"
    odd.parent.mkdir()
    odd.write_bytes(b"PARE")
    shelf.age(f"synthetic/{NAME}/0 odd/part 1.parquet", OLD)
    run(shelf)
    assert states(shelf)[0] == "collected"
    assert odd.exists()


def test_a_model_goes_only_when_no_other_version_is_of_its_name(shelf: Shelf) -> None:
    """The names of models hold the beginning of a fingerprint alone."""
    made = release(1, version=4, fingerprint=fingerprint(1)[:16] + "0" * 48)
    shelf.register.reserve(NAME, made.fingerprint)
    for entry in (made := replace(made, files=release(4).files)).files:
        shelf.put(entry.path)
    shelf.register.publish(row(made, write_release(shelf.store, signing_key(shelf.settings, SIGNER), made)), by("ann"))
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    run(shelf)
    assert f"models/{NAME}/{fingerprint(1)[:16]}-0.model" in shelf.files()


@pytest.mark.parametrize("name", ["²²²²²²²²-0.json", "٣٣٣٣٣٣٣٣-0.json"])
def test_a_name_with_other_digits_is_no_number_of_a_release(shelf: Shelf, name: str) -> None:
    (shelf.settings.lake / f"synthetic/{NAME}/releases/{name}").write_bytes(b"{}")
    check_register(shelf.store, shelf.register, NAME)
