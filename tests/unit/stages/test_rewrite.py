"""Data encrypted again after a compromise: resumable anywhere, readers undisturbed, old keys gone at the end."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from tests.support.acting import by
from tests.support.crash import die_at
from tests.support.house import SYNTHETIC, WEEKS, House, protected, published
from tests.support.processes import in_fork, run, start

from cloakhouse.client.api import connect
from cloakhouse.errors import ConfigurationError, IntegrityError, KeyServiceError
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import TOKENS, KeyName
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.lake.landed import LandedObject, landing, opened
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.reencryption import key_versions, reencrypt_table
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger import database
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.stages.rewrite import Rewritten, rewrite, unfinished
from cloakhouse.stages.rotation import LANDING, landed_objects, rotate, shred
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.validate import validate_protected

DIRECT = KeyName("protected/direct")
HOUR = dt.timedelta(hours=1)
NONE = dt.timedelta(0)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return published().copy(tmp_path / "home")


def later(hours: float) -> Callable[[], dt.datetime]:
    return lambda: dt.datetime.now(dt.UTC) + hours * HOUR


def entries(house: House, name: str = "transactions") -> list[FileEntry]:
    partitions = house.catalogue.protected(name).values()
    return [entry for p in partitions for entry in partition_files(house.settings, p.manifest)]


def rows(house: House, name: str = "transactions", columns: list[str] | None = None) -> pa.Table:
    store = house.store
    return pa.concat_tables([store.read(entry, columns) for entry in entries(house, name)])


def needs(house: House, path: str, key: str) -> int | None:
    """Return the version of dataset key `key` that a file needs."""
    found = {
        k.name: v for k, v in key_versions(FolderStore(house.settings.lake), path, open_ring(house.settings)).items()
    }
    return found.get(key)


def finish(house: House, name: KeyName) -> Rewritten:
    return rewrite(house.settings, name, NONE)


def test_the_same_rows_stand_under_new_keys_and_the_old_keys_are_gone(house: House) -> None:
    before, old = {n: rows(house, n) for n in ("transactions", "customers")}, entries(house)
    validated = {p: v.validated for p, v in house.catalogue.protected("transactions").items()}
    copies = house.settings.home.parent / "kept"
    for entry in old:
        (copies / entry.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(house.settings.lake / entry.path, copies / entry.path)
    result = finish(house, DIRECT)
    assert result.done
    assert result.rewritten == result.removed > 2
    assert result.retired > 0
    for name, table in before.items():
        assert rows(house, name).equals(table)
    for entry in entries(house):
        assert needs(house, entry.path, "protected/direct/transactions") == 2
        assert not (house.settings.lake / old[0].path).exists()
    for entry in old:
        with pytest.raises(KeyServiceError) as refusal:
            TableStore(FolderStore(copies), open_ring(house.settings)).read(entry, ["household_id"])
        assert refusal.value.code == "key.missing"
    assert {p: v.validated for p, v in house.catalogue.protected("transactions").items()} == validated
    assert unfinished(house.settings) == []


def test_readers_of_the_old_manifest_are_served_until_the_grace_is_over(house: House) -> None:
    reader, old, before = house.store, entries(house), rows(house)
    first = rewrite(house.settings, DIRECT, HOUR)
    assert not first.done
    assert first.rewritten > 0
    assert "old files stay" in first.state
    assert pa.concat_tables([reader.read(entry) for entry in old]).equals(before)
    assert rows(house).equals(before)
    assert unfinished(house.settings) == [DIRECT]
    again = rewrite(house.settings, DIRECT, HOUR, later(0.5))
    assert (again.done, again.rewritten, again.removed) == (False, 0, 0)
    last = rewrite(house.settings, DIRECT, HOUR, later(1.5))
    assert (last.done, last.rewritten, last.removed) == (True, 0, first.rewritten)
    with pytest.raises(IntegrityError):
        reader.read(old[0])
    assert rows(house).equals(before)


def test_published_versions_keep_their_number_and_their_rows(house: House) -> None:
    before = connect(house.settings.home).dataset(SYNTHETIC).to_arrow()
    reading = connect(house.settings.home).dataset(f"{SYNTHETIC}@1")
    assert not rewrite(house.settings, KeyName("synthetic/sensitive"), HOUR).done
    assert reading.to_arrow().equals(before)
    assert rewrite(house.settings, KeyName("synthetic/sensitive"), HOUR, later(2)).done
    after = connect(house.settings.home).dataset(SYNTHETIC)
    assert after.version == 1
    assert after.to_arrow().equals(before)
    assert after.evidence()["passed"]
    assert needs(house, house.released()[0].path, f"synthetic/sensitive/{SYNTHETIC}") == 2


def test_quarantined_rows_are_rewritten_with_the_partition_they_belong_to(house: House) -> None:
    result = finish(house, KeyName("quarantine/direct"))
    assert result.done
    assert result.rewritten > 0
    store = house.store
    for partition in house.catalogue.protected("transactions").values():
        content = json.loads((house.settings.lake / partition.manifest.path).read_text())
        assert content["rewritten_from"]["path"] != partition.manifest.path
        for item in content["quarantine"]:
            assert store.read(FileEntry(**item)).num_rows == item["rows"]
            assert needs(house, item["path"], "quarantine/direct/transactions") == 2


def test_landed_files_get_fresh_data_keys_under_the_same_names(house: House) -> None:
    def content() -> dict[str, str]:
        ring, found = open_ring(house.settings), {}
        for target in landed_objects(FolderStore(house.settings.lake)):
            with opened(FolderStore(house.settings.lake), target, ring) as stream:
                found[target.path] = hashlib.sha256(stream.read()).hexdigest()
        return found

    before = content()
    sealed = {path: (house.settings.lake / path).read_bytes()[8192:] for path in before}
    result = finish(house, LANDING)
    assert (result.done, result.rewritten) == (True, len(before))
    assert content() == before
    for path, old in sealed.items():
        assert (house.settings.lake / path).read_bytes()[8192:] != old


def test_derived_views_that_nothing_points_to_are_removed(house: House) -> None:
    views = sorted((house.settings.lake / "views").rglob("*.parquet"))
    assert views
    assert finish(house, KeyName("views/footer")).done
    assert not list((house.settings.lake / "views").rglob("*.parquet"))


def test_partitions_that_wait_for_validation_are_left_until_it_is_done(tmp_path: Path) -> None:
    house = protected().copy(tmp_path / "home")
    first = finish(house, DIRECT)
    assert (first.done, first.rewritten) == (False, 0)
    assert first.waiting >= len(WEEKS)
    for name in ("customers", "transactions"):
        validate_protected(house.settings, house.contracts[name])
    last = finish(house, DIRECT)
    assert last.done
    assert last.rewritten > 0
    assert rows(house).num_rows


def test_a_rewrite_that_is_finished_can_be_done_again(house: House) -> None:
    before = rows(house)
    finish(house, DIRECT)
    assert finish(house, DIRECT).done
    assert rows(house).equals(before)
    assert needs(house, entries(house)[0].path, "protected/direct/transactions") == 3


def test_a_damaged_file_stops_the_rewrite_and_is_left_for_a_person(house: House) -> None:
    victim = house.settings.lake / entries(house)[0].path
    raw = bytearray(victim.read_bytes())
    raw[len(raw) // 2] ^= 1
    victim.write_bytes(raw)
    with pytest.raises(IntegrityError):
        finish(house, DIRECT)
    assert victim.read_bytes() == bytes(raw)
    assert unfinished(house.settings) == [DIRECT]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 2}'])
def test_a_damaged_job_file_is_refused(house: House, content: bytes) -> None:
    path = house.settings.home / "jobs" / "rewrite-protected-direct.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="start the rewrite again"):
        finish(house, DIRECT)


def test_a_manifest_that_was_replaced_meanwhile_is_not_overwritten(house: House) -> None:
    current = house.catalogue.protected("transactions")[WEEKS[0]].manifest
    assert not house.catalogue.replace_manifest(ManifestRef("protected/x.json", "0" * 64), current)
    assert not house.catalogue.replace_manifest(ManifestRef(current.path, "0" * 64), current)


def spread() -> list[int]:
    """Return numbers of calls spread over the whole job, nearer to one another at its start."""
    numbers = [1]
    while numbers[-1] < 100_000:
        numbers.append(numbers[-1] + 1 + numbers[-1] // 3)
    return numbers


@pytest.mark.parametrize(
    "numbers", [pytest.param((40, 100_000), id="once"), pytest.param(spread(), id="spread", marks=pytest.mark.kills)]
)
def test_killed_anywhere_the_next_call_goes_on_and_no_row_is_lost(
    house: House, tmp_path: Path, numbers: Sequence[int]
) -> None:
    """Killed at the job's calls of these numbers; every time the data is read, and the same job finished."""
    whole, kills = rows(house, "customers"), 0
    for number in numbers:
        place = house.copy(tmp_path / f"killed-{number}")

        def work(place: House = place, number: int = number) -> None:
            die_at(number, before=True)
            finish(place, KeyName("protected/sensitive"))

        code = in_fork(work, timeout_s=60)
        assert code in (0, -signal.SIGKILL)
        assert rows(place, "customers").equals(whole)
        result = finish(place, KeyName("protected/sensitive"))
        assert result.done
        assert rows(place, "customers").equals(whole)
        assert not list(place.settings.lake.rglob(".*.parquet.*.tmp"))
        shutil.rmtree(place.settings.home)
        if code == 0:
            break
        kills += 1
    assert kills > len(numbers) / 4


def test_readers_and_writers_never_fail_while_keys_are_rotated_and_data_rewritten(house: House) -> None:
    code = """
    import sys
    from tests.support.house import House
    from cloakhouse.settings import Settings
    from cloakhouse.stages.sources import partition_files
    from cloakhouse.keys.service import open_ring
    from cloakhouse.lake.landed import LandedObject, landing, opened
    from cloakhouse.lake.store.folder import FolderStore
    from pathlib import Path
    import dataclasses
    house = House(dataclasses.replace(
        Settings.from_environment({}).with_home(Path(sys.argv[1])), contracts=Path(sys.argv[1]) / "contracts"))
    store, ring = house.store, open_ring(house.settings)
    print("ready", flush=True)
    count = 0
    while not Path(sys.argv[2]).exists():
        for partition in house.catalogue.protected("transactions").values():
            for entry in partition_files(house.settings, partition.manifest):
                assert store.read(entry, ["household_id", "quantity"]).num_rows == entry.rows
        target = LandedObject("transactions", "2020-01-06", f"{sys.argv[3]}-{count}.chl")
        with landing(FolderStore(house.settings.lake), target, ring) as sink:
            sink.write(b"x" * 100_000)
        with opened(FolderStore(house.settings.lake), target, ring) as stream:
            assert stream.read() == b"x" * 100_000
        (house.settings.lake / target.path).unlink()
        count += 1
    print(count)
    """
    stop = house.settings.home / "stop"
    workers = [start(code, house.settings.home, stop, number) for number in range(2)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for _ in range(3):
            rotate(house.settings, [DIRECT, LANDING, KeyName("protected/footer")])
            assert rewrite(house.settings, DIRECT, HOUR).rewritten > 0
            (house.settings.home / "jobs" / "rewrite-protected-direct.json").unlink()
    finally:
        stop.touch()
        ended = [worker.communicate(timeout=60) for worker in workers]
    for worker, (out, err) in zip(workers, ended, strict=True):
        assert worker.returncode == 0, err
        assert int(out) > 0


class Meanwhile:
    """A clock that lets something happen when the rewrite looks at it for the last time before the old keys go."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens = happens
        self._looked = 0

    def __call__(self) -> dt.datetime:
        self._looked += 1
        if self._looked == 1:
            self._happens()
        return dt.datetime.now(dt.UTC) + 2 * HOUR


def test_a_partition_that_became_visible_at_the_last_moment_keeps_its_key(house: House) -> None:
    """Its pseudonymization began under the old key, and ended between the last look at the catalogue and the end."""
    late = house.catalogue.protected("transactions")[WEEKS[1]]
    kept = rows(house)
    table = database.protected_partition
    with house.catalogue._engine.begin() as connection:
        connection.execute(sa.delete(table).where(table.c.partition == late.partition))
    assert not rewrite(house.settings, DIRECT, HOUR).done
    commits = Meanwhile(lambda: house.catalogue.record_protected([late], by()))
    result = rewrite(house.settings, DIRECT, HOUR, commits)
    assert (result.done, "under an old key" in result.state) == (False, True)
    assert rows(house).equals(kept)
    assert rewrite(house.settings, DIRECT, NONE).done
    assert rows(house).equals(kept)
    assert [needs(house, e.path, "protected/direct/transactions") for e in entries(house)] == [2, 2]


def test_a_file_whose_landing_ended_at_the_last_moment_can_be_read_afterwards(house: House) -> None:
    ring = open_ring(house.settings)
    target = LandedObject("transactions", "2020-01-06", "late.chl")
    with contextlib.ExitStack() as stack:
        stack.enter_context(landing(FolderStore(house.settings.lake), target, ring)).write(b"x" * 100)
        assert not rewrite(house.settings, LANDING, HOUR).done
        assert rewrite(house.settings, LANDING, HOUR, Meanwhile(stack.close)).done
    with opened(FolderStore(house.settings.lake), target, open_ring(house.settings)) as stream:
        assert stream.read() == b"x" * 100


def test_files_that_become_visible_while_the_end_waits_for_its_turn_are_kept(house: House) -> None:
    """The rewrite of another class swaps a partition's files, and the removal of old files waits for it."""
    before, turn = rows(house), contextlib.ExitStack()

    def swap() -> None:
        with turn:
            lake, store = house.settings.lake, house.store
            current = house.catalogue.protected("transactions")[WEEKS[0]].manifest
            content = {
                k: v for k, v in read_manifest(FolderStore(lake), current).items() if k not in ("format", "kind")
            }
            files = [reencrypt_table(FileEntry(**item), store).as_dict() for item in content["files"]]
            folder = current.path.rsplit("/", 1)[0]
            fresh = write_manifest(FolderStore(lake), folder, "protected", {**content, "files": files})
            assert house.catalogue.replace_manifest(current, fresh)

    def others_turn() -> None:
        turn.enter_context(locked(house.settings.home / "locks" / "transactions.lock", 1.0, "the other rewrite"))
        threading.Timer(0.5, swap).start()

    assert not rewrite(house.settings, DIRECT, HOUR).done
    assert rewrite(house.settings, DIRECT, HOUR, Meanwhile(others_turn)).done
    assert rows(house).equals(before)


def test_a_dataset_that_was_shredded_meanwhile_does_not_stop_the_rewrite_of_the_others(house: House) -> None:
    kept = rows(house, "customers")
    assert not rewrite(house.settings, DIRECT, HOUR).done
    shred(house.settings, "transactions")
    assert rewrite(house.settings, DIRECT, HOUR, later(2)).done
    assert rows(house, "customers").equals(kept)
    assert unfinished(house.settings) == []


def test_a_job_file_that_names_other_keys_is_refused_and_destroys_none(house: House) -> None:
    assert not rewrite(house.settings, DIRECT, HOUR).done
    path = house.settings.home / "jobs" / "rewrite-protected-direct.json"
    sound = path.read_text()
    for old, new in (('"protected/direct"', '"landing/file"'), ("protected/direct/tr", "landing/file/tr")):
        assert old in sound
        path.write_text(sound.replace(old, new))
        with pytest.raises(IntegrityError, match="another key"):
            rewrite(house.settings, DIRECT, HOUR, later(2))
    (path.parent / "rewrite-protected-plain.json").write_text(sound)
    with pytest.raises(IntegrityError, match="another key"):
        rewrite(house.settings, KeyName("protected/plain"), HOUR, later(2))


def test_the_token_root_is_not_rewritten(house: House) -> None:
    with pytest.raises(ConfigurationError, match="tokens follow"):
        finish(house, TOKENS)
    assert [v.version for v in service_of(house.settings).describe(TOKENS).versions] == [1]


def test_landing_meanwhile_does_not_begin_the_grace_anew(house: House) -> None:
    assert not rewrite(house.settings, LANDING, HOUR).done
    target = LandedObject("transactions", "2020-01-06", "late.chl")
    with landing(FolderStore(house.settings.lake), target, open_ring(house.settings)) as sink:
        sink.write(b"x")
    last = rewrite(house.settings, LANDING, HOUR, later(1.5))
    assert (last.done, last.rewritten) == (True, 1)


def test_publication_waits_for_a_rewrite_of_its_files(house: House) -> None:
    """Both hold the dataset's lock while they look at files and point to them."""
    code = """
    import sys
    from dataclasses import replace
    from pathlib import Path
    from cloakhouse.contracts.parser import load_contracts
    from cloakhouse.errors import StageError
    from cloakhouse.ledger.catalogue import ManifestRef
    from cloakhouse.settings import Settings
    from cloakhouse.stages import publish, publish_release
    home = Path(sys.argv[1])
    settings = replace(Settings.from_environment({}).with_home(home), contracts=home / "contracts")
    publish_release.LOCK_WAIT_S = 0.5
    contract, evidence = load_contracts(settings.contracts)[sys.argv[2]], ManifestRef(sys.argv[3], sys.argv[4])
    try:
        publish.publish(settings, contract, evidence)
    except StageError as refused:
        print(refused.code)
    """
    evidence = house.release().evidence
    arguments = (house.settings.home, SYNTHETIC, evidence.path, evidence.sha256)
    with locked(house.settings.home / "locks" / f"{SYNTHETIC}.lock", 1.0, "rewrite"):
        code_, out, err = run(code, *arguments)
    assert (code_, out.strip()) == (0, "stage.busy"), err
