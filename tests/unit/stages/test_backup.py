"""Backups: sealed, signed, whole; made again where they were killed; refused for any byte that is another."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.backups import Shelved, attic_of, key_files, moved, new_key, objects, rows, shelved
from tests.support.crash import Crash, crashes

from cloakhouse.errors import CloakhouseError, IntegrityError, NotFound, StageError, StorageError
from cloakhouse.keys.signing import PublicKey
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action
from cloakhouse.stages import backup as making
from cloakhouse.stages import backup_notes
from cloakhouse.stages.backup_database import snapshot
from cloakhouse.stages.backup_manifest import DATABASE, UNFINISHED, backups, decode, encode
from cloakhouse.stages.backup_names import named
from cloakhouse.stages.backup_verify import verify
from cloakhouse.stages.restore_files import put_key
from cloakhouse.stages.signing import BACKUPS, signing_key, trusted_key

pytestmark = pytest.mark.embedded  # homes are copied as folders


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shelved:
    """An installation with one backup."""
    made = shelved(tmp_path_factory.mktemp("backups"))
    made.create()
    return made


@pytest.fixture
def house(template: Shelved, tmp_path: Path) -> Shelved:
    """A copy of it, the test's to damage."""
    return moved(template, tmp_path)


def trusted(house: Shelved) -> PublicKey:
    return trusted_key(house.settings, BACKUPS)


def files(house: Shelved, *folders: str) -> list[Path]:
    return sorted(p for name in folders for p in (Path(house.place) / name).rglob("*") if p.is_file())


def actions(house: Shelved) -> list[tuple[str, str]]:
    found = AuditLog(house.settings.database).events()
    return [(one.action, one.decision) for one in found if one.action == Action.BACK_UP]


def test_a_backup_holds_database_keys_and_lake(template: Shelved) -> None:
    [backup] = backups(template.shelf, trusted(template))
    paths = {one.path for one in backup.files}
    assert {f"lake/{path}" for path in objects(template.settings)} < paths
    assert {f"home/{path}" for path in key_files(template.settings)} < paths
    assert paths - {f"lake/{path}" for path in objects(template.settings)} - {DATABASE} == {
        f"home/{path}" for path in key_files(template.settings)
    }
    assert backup.counts == {"tombstones": 1, "consents": 13, "erasures": 1}
    assert backup.reserved == {"households_synthetic": 1}
    assert actions(template) == [("back up", "allowed")]


def test_that_a_backup_is_finished_is_recorded_with_its_digest(template: Shelved) -> None:
    [backup] = backups(template.shelf, trusted(template))
    [done] = [one for one in AuditLog(template.settings.database).events() if one.action == Action.FINISH_BACKUP]
    assert (done.object, done.count, done.actor) == (backup.name, len(backup.files), "platform")
    assert done.facts["digest"] == backup.digest == backup.summary()["digest"]
    assert (done.facts["kind"], done.facts["log_size"]) == ("full", backup.log_size)
    assert replace(backup, log_size=0).digest != backup.digest


def test_what_opens_the_keystore_is_left_out_unless_it_is_asked_for(house: Shelved) -> None:
    backup = house.create(identities=False)
    assert not backup.identities
    secret = {one.path for one in backup.files if "identities" in one.path or "administration" in one.path}
    assert secret == set()
    assert backup.file("home/keystore/keystore.json").bytes


def test_nothing_on_the_shelf_can_be_read_without_the_key(template: Shelved) -> None:
    sealed = files(template, "objects", "databases")
    assert len(sealed) > 20
    assert all(path.read_bytes().startswith(b"age-encryption.org/v1\n") for path in sealed)
    [person] = [row[0] for row in rows(template.settings)["tombstone"]]
    everything = b"".join(path.read_bytes() for path in files(template, "."))
    for secret in (bytes(person), b"AGE-SECRET", b"PRIVATE KEY", b"SQLite format"):
        assert secret not in everything


def test_verifying_opens_every_file_where_it_has_the_key(template: Shelved) -> None:
    found = verify(template.shelf, trusted(template))
    assert found.opened == found.rows == 0
    found = verify(template.shelf, trusted(template), found.backup.name, template.identity)
    assert found.opened == len(found.backup.files)
    counted = sum(map(len, rows(template.settings).values()))
    assert found.rows == counted - 1  # that it was finished is recorded after it


def test_another_key_opens_nothing_and_another_signer_is_refused(house: Shelved) -> None:
    (house.folder / "other").mkdir()
    identity, _ = new_key(house.folder / "other")
    with pytest.raises(IntegrityError) as refusal:
        verify(house.shelf, trusted(house), "", identity)
    assert refusal.value.code == "integrity.sealed"
    with pytest.raises(IntegrityError) as refusal:
        verify(house.shelf, PublicKey(hashlib.sha256(b"somebody").digest()))
    assert refusal.value.code == "integrity.signature"
    with pytest.raises(NotFound):
        verify(house.shelf, trusted(house), "20200101T000000Z-00000000")


def test_only_what_is_new_is_sealed_again(house: Shelved) -> None:
    before = {path: path.stat().st_mtime_ns for path in files(house, "objects")}
    attic_of(house.settings).publish([1, 2], [3])
    second = house.create()
    after = {path: path.stat().st_mtime_ns for path in files(house, "objects")}
    assert {path: after[path] for path in before} == before
    new = len(after) - len(before)
    assert 0 < new < len(second.files) / 2
    assert verify(house.shelf, trusted(house), second.name, house.identity).backup == second
    assert [one.name for one in backups(house.shelf, trusted(house))][-1] == second.name


@pytest.mark.path
def test_another_recipient_has_objects_of_its_own(house: Shelved) -> None:
    (house.folder / "other").mkdir()
    identity, recipient = new_key(house.folder / "other")
    first = backups(house.shelf, trusted(house))[0]
    second = replace(house, recipient=recipient).create()
    assert {one.object for one in first.files}.isdisjoint({one.object for one in second.files})
    assert verify(house.shelf, trusted(house), second.name, identity).opened
    assert verify(house.shelf, trusted(house), first.name, house.identity).opened


def kinds(house: Shelved) -> dict[str, Path]:
    """Return a file of every kind that lies on the shelf."""
    [backup] = backups(house.shelf, trusted(house))
    chosen = {one.path.split("/")[0] + "/" + one.path.split("/")[1]: one.object for one in backup.files}
    return {"manifest": files(house, "backups")[0], **{kind: Path(house.place) / path for kind, path in chosen.items()}}


@pytest.mark.path
def test_a_flipped_bit_in_any_kind_of_file_is_found(house: Shelved) -> None:
    found = kinds(house)
    assert {"manifest", "database/control.jsonl", "lake/landing", "home/keystore", "home/dataset-keys"} < set(found)
    for kind, path in found.items():
        sound = path.read_bytes()
        for place in (0, len(sound) // 3, len(sound) // 2, len(sound) - 1):
            damaged = bytearray(sound)
            damaged[place] ^= 1 << place % 8
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError):
                verify(house.shelf, trusted(house))
            there = house.elsewhere(f"{kind.replace('/', '-')}-{place}")
            with pytest.raises(IntegrityError):
                making_of_restore(house, there)
            assert not there.home.exists()
        for damaged in (sound[:-1], sound + b"\0", b""):
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError):
                verify(house.shelf, trusted(house))
        path.unlink()
        with pytest.raises(CloakhouseError):
            verify(house.shelf, trusted(house))
        path.write_bytes(sound)
    assert verify(house.shelf, trusted(house), "", house.identity).opened


def making_of_restore(house: Shelved, there: object) -> None:
    from cloakhouse.stages.restore import restore

    restore(there, house.source())  # type: ignore[arg-type]


def test_two_objects_that_change_places_are_found(house: Shelved) -> None:
    one, two = files(house, "objects")[:2]
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    with pytest.raises(IntegrityError):
        verify(house.shelf, trusted(house))


def test_a_manifest_under_another_name_is_refused(house: Shelved) -> None:
    [manifest] = files(house, "backups")
    manifest.rename(manifest.with_name("20991231T000000Z-00000000.json"))
    with pytest.raises(IntegrityError) as refusal:
        backups(house.shelf, trusted(house))
    assert refusal.value.code == "integrity.backup"


def test_a_backup_that_cannot_be_recorded_is_not_made(house: Shelved) -> None:
    before = set(files(house, "."))
    with db.open_database(house.settings.database).begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON audit_entry BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    with pytest.raises(sa.exc.IntegrityError, match="no room"):
        house.create()
    assert set(files(house, ".")) == before


def test_a_backup_that_fails_is_recorded(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError(where="shelf", expected="room", found="none", not_done="it", remedy="make room")

    monkeypatch.setattr(making, "read_keys", full)
    with pytest.raises(StorageError):
        house.create()
    assert actions(house)[-2:] == [("back up", "allowed"), ("back up", "failed")]
    assert len(backups(house.shelf, trusted(house))) == 1


def disturbed(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have `act` done after the lake was listed and before it is copied."""
    real = making.snapshot

    def snapshot_then(url: str) -> object:
        act()
        return real(url)

    monkeypatch.setattr(making, "snapshot", snapshot_then)


def test_what_is_removed_meanwhile_has_the_backup_begin_again(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = [f"evidence/extra-{number}.json" for number in range(10)]
    store = making.open_store(house.settings)
    for path in extra:
        store.create(path, b"{}")
    left = extra[:1]
    disturbed(monkeypatch, lambda: [store.delete(path) for path in left])
    backup = house.create()
    assert not any(one.path.endswith(left[0]) for one in backup.files)
    disturbed(
        monkeypatch, lambda: store.delete(next(info.path for info in store.list("evidence") if "extra" in info.path))
    )
    with pytest.raises(StageError) as refusal:
        house.create()
    assert refusal.value.code == "stage.removing"


@pytest.mark.path
def test_a_release_from_after_the_snapshot_is_left_out(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    real = making.snapshot
    published: list[str] = []

    class Publishing:
        def __init__(self, url: str) -> None:
            self._real = real(url)

        def __enter__(self) -> object:
            found = self._real.__enter__()
            published.append(attic_of(house.settings).publish([2, 3], [1]).manifest.path)
            return found

        def __exit__(self, *given: object) -> None:
            self._real.__exit__(*given)

    monkeypatch.setattr(making, "snapshot", Publishing)
    backup = house.create()
    assert f"lake/{published[0]}" not in {one.path for one in backup.files}
    assert backup.reserved == {"households_synthetic": 1}
    there, _ = house.restore()
    assert there.home.is_dir()


def test_a_snapshot_stands_while_others_write(house: Shelved) -> None:
    with snapshot(house.settings.database) as found:
        first = b"".join(found.lines())
        AuditLog(house.settings.database).record(AuditLog(house.settings.database).events()[0])
        assert b"".join(found.lines()) == first
    with snapshot(house.settings.database) as found:
        assert b"".join(found.lines()) != first


@crashes
def test_killed_anywhere_there_is_a_whole_backup_or_none(template: Shelved, tmp_path: Path, crash: Crash) -> None:
    """The note of what is sealed is written after every file, so that going on is tried, too."""
    house: list[Shelved] = []

    def prepare() -> None:
        folder = tmp_path / str(len(house))
        house.append(replace(moved(template, folder), place=str(folder / "second")))

    def work() -> None:
        backup_notes.NOTED_FILES = 1
        house[-1].create()

    def check(finished: bool) -> None:
        mine = house[-1]
        standing = backups(mine.shelf, trusted(mine))
        assert len(standing) == 1 or not finished
        for one in standing:
            verify(mine.shelf, trusted(mine), one.name, mine.identity)
        again = mine.create()
        assert verify(mine.shelf, trusted(mine), again.name, mine.identity).opened
        assert not (Path(mine.place) / UNFINISHED).exists()

    assert crash(prepare, work, check, every=61) > 400


@pytest.mark.path
def test_an_unfinished_backup_is_gone_on_with(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_notes, "NOTED_FILES", 1)
    second = replace(house, place=str(house.folder / "second"))
    real = making.read_keys

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "read_keys", killed)
    with pytest.raises(KeyboardInterrupt):
        second.create()
    before = {path: path.stat().st_mtime_ns for path in files(second, "objects")}
    assert before
    monkeypatch.setattr(making, "read_keys", real)
    second.create()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    planted = files(house, "objects")[0]
    other = files(house, "objects")[1].read_bytes()
    third = replace(house, place=str(house.folder / "third"))
    target = Path(third.place) / planted.relative_to(house.place)
    target.parent.mkdir(parents=True)
    target.write_bytes(other)  # what nobody signed for is not taken, whatever its name says
    third.create()
    assert target.read_bytes() != other
    assert verify(third.shelf, trusted(third), "", third.identity).opened


def test_rows_of_every_table_come_back(house: Shelved) -> None:
    there, _ = house.restore()
    [backup] = backups(house.shelf, trusted(house))
    new = {"audit_entry", "key_fingerprint"}
    assert rows(there, *new) == rows(house.settings, *new)
    log = sa.select(db.audit_entry.c.content).order_by(db.audit_entry.c.number).limit(backup.log_size)
    for settings in (there, house.settings):
        with db.open_database(settings.database).connect() as connection:
            assert len(connection.execute(log).all()) == backup.log_size


def test_names_sort_as_backups_were_made_also_within_a_second() -> None:
    begun = dt.datetime(2026, 11, 23, 4, 2, 35, tzinfo=dt.UTC)
    moments = [begun + dt.timedelta(microseconds=step) for step in (0, 1, 4_096, 999_999, 1_000_000)]
    names = [named(at) for at in moments]
    assert names == sorted(names)
    assert {len(name) for name in names} == {len("20261123T040235Z-490a8fb6")}
    for newest in (*names, "20991231T235959Z-ffffffff"):  # and where the clock was set back
        later = named(begun, newest)
        assert later > newest
        assert len(later) == len(newest)


def test_what_was_noted_grows_with_the_files_and_not_with_their_square(
    house: Shelved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_notes, "NOTED_FILES", 5)
    monkeypatch.setattr(backup_notes.Notes, "clear", lambda _notes: None)
    store, noted = making.open_store(house.settings), []
    for number, files_more in enumerate((100, 200)):
        for extra in range(files_more):
            store.create(f"evidence/extra-{number}-{extra}.json", f"{number}-{extra}".encode())
        mine = replace(house, place=str(house.folder / f"shelf-{number}"))
        backup = mine.create()
        notes = [path.stat().st_size for path in files(mine, UNFINISHED)]
        noted.append(sum(notes) / len(backup.files))  # bytes for each file
        assert len(notes) >= (len(backup.files) - 1) // 5
    assert noted[1] < 1.1 * noted[0]


@pytest.mark.path
def test_a_note_that_was_cut_short_costs_its_files_alone(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_notes, "NOTED_FILES", 3)
    second = replace(house, place=str(house.folder / "second"))
    with monkeypatch.context() as killed:
        killed.setattr(making, "read_keys", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            second.create()
    first, other, *_ = files(second, UNFINISHED)
    first.write_bytes(first.read_bytes()[:-9])
    other.write_bytes(b"")
    before = {path: path.stat().st_mtime_ns for path in files(second, "objects")}
    second.create()
    again = [path for path, at in before.items() if path.stat().st_mtime_ns != at]
    assert 0 < len(again) <= 6 + 2  # and those that waited for a note
    assert files(second, UNFINISHED) == []
    assert verify(second.shelf, trusted(second), "", second.identity).opened


def test_a_backup_whose_notes_cannot_go_is_there_and_recorded(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(_notes: object) -> None:
        raise StorageError(where="shelf", expected="room", found="none", not_done="it", remedy="make room")

    monkeypatch.setattr(backup_notes.Notes, "clear", kept)
    with pytest.raises(StorageError):
        house.create()
    last = backups(house.shelf, trusted(house))[-1]
    events = AuditLog(house.settings.database).events()
    assert (events[-1].action, events[-1].object) == (Action.FINISH_BACKUP, last.name)
    assert actions(house)[-1] == ("back up", "allowed")


def test_lists_of_persons_for_a_job_and_stray_files_are_left_out(
    house: Shelved, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = house.settings.lake / "rights" / "sieves" / "customers"
    lists.mkdir(parents=True)
    (lists / "0123456789abcdef.parquet").write_bytes(b"persons")
    (house.settings.lake / "evidence" / "a note (copy).txt").write_text("a person's")
    disturbed(monkeypatch, lambda: [path.unlink(missing_ok=True) for path in lists.iterdir()])  # the job ends
    backup = house.create()
    assert not {one.path for one in backup.files if "sieves" in one.path or "copy" in one.path}
    assert len([one for one in actions(house) if one == ("back up", "allowed")]) == 2


def test_a_backup_after_the_clock_was_set_back_is_the_later_one(
    house: Shelved, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = making.named
    monkeypatch.setattr(making, "named", lambda at, newest="": real(at - dt.timedelta(hours=3), newest))
    house.create(rights_only=True)
    monkeypatch.undo()
    first, second = backups(house.shelf, trusted(house))
    assert (first.kind, second.kind) == ("full", "rights")
    _, done = house.restore()
    assert done.rights == second


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "lake/../../etc/passwd"},
        {"path": "home/signing-keys/../../x"},
        {"path": "lake//etc/passwd"},
        {"path": "/etc/passwd"},
        {"path": "lake/"},
        {"path": "lake"},
        {"path": "etc/passwd"},
        {"path": "lake/a\0b"},
        {"path": 7},
        {"object": "../objects/x.age"},
        {"object": "/etc/passwd"},
        {"object": "objects/.hidden"},
        {"sha256": "0" * 63},
        {"sealed_bytes": -1},
    ],
)
def test_a_manifest_with_a_path_that_leads_elsewhere_is_refused_though_it_is_signed(
    template: Shelved, changes: dict[str, object]
) -> None:
    [backup] = backups(template.shelf, trusted(template))
    evil = replace(backup, files=(replace(backup.files[0], **changes),))  # type: ignore[arg-type]
    with pytest.raises(IntegrityError):
        decode(encode(evil, signing_key(template.settings, BACKUPS)), trusted(template), "a shelf")


@pytest.mark.parametrize("path", ["home/restored.json", "home/airflow/x", "home/keystore/.x", "home/control.db"])
def test_a_file_that_is_no_key_gets_no_place_in_the_home(template: Shelved, tmp_path: Path, path: str) -> None:
    [backup] = backups(template.shelf, trusted(template))
    [public] = [one for one in backup.files if one.path.endswith("/backups.pem")]
    with pytest.raises(IntegrityError) as refusal:
        put_key(tmp_path, template.shelf, template.identity, replace(public, path=path))
    assert refusal.value.code == "integrity.backup"
    assert list(tmp_path.rglob("*")) == []
