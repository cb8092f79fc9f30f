"""Restoring: into an empty place, whole or not at all; what happened after the backup doesn't come undone."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.support.backups import REASON, Shelved, attic_of, key_files, moved, objects, rows, shelved
from tests.support.consents import day, deliver, master_line, rights, say
from tests.support.crash import Crash, crashes
from tests.support.erasures import requested

from cloakhouse.client.place import Place
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused, ConfigurationError, IntegrityError, KeyServiceError, StorageError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import KeyState
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.ledger.versions import Selector, VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages import backup as backing
from cloakhouse.stages import restore as restoring
from cloakhouse.stages import restore_place, restored
from cloakhouse.stages.audit_verification import examine, verify
from cloakhouse.stages.backup_database import Loading
from cloakhouse.stages.checkpointing import checkpoint, note_of
from cloakhouse.stages.pinning import pin
from cloakhouse.stages.restore import restore
from cloakhouse.stages.restore_settle import Stated, settle
from cloakhouse.stages.restored import closed_of

pytestmark = pytest.mark.embedded  # homes are copied as folders
NAME = "households_synthetic"
SENSITIVE = ColumnClass.SENSITIVE.key_name


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shelved:
    """An installation with one backup."""
    made = shelved(tmp_path_factory.mktemp("restore"))
    made.create()
    return made


@pytest.fixture
def house(template: Shelved, tmp_path: Path) -> Shelved:
    """A copy of it, the test's to damage."""
    return moved(template, tmp_path)


def by(action: str, what: str = "x") -> Event:
    return Event("ann", action, what, reason=REASON)


def code_of(call: object) -> str:
    with pytest.raises((AccessRefused, ConfigurationError, IntegrityError, KeyServiceError)) as refusal:
        call()  # type: ignore[operator]
    return refusal.value.code


def test_a_restored_home_is_what_was_backed_up(house: Shelved) -> None:
    there, done = house.restore()
    assert objects(there) == objects(house.settings)
    assert key_files(there) == key_files(house.settings)
    assert {path.name for path in there.home.iterdir()} <= {
        *("control.db", "control.db-wal", "control.db-shm", "restored.json", "lake"),
        *("dataset-keys", "keystore", "signing-keys", "token-roots"),
    }
    assert (there.home / "keystore" / "identities" / "platform.txt").stat().st_mode & 0o777 == 0o600
    assert verify(there).sound
    last = AuditLog(there.database).events()[-2]
    assert (last.action, last.object, last.reason) == (Action.RESTORE, done.backup.name, REASON)
    assert last.facts["digest"] == done.backup.digest


def test_restored_files_are_their_owners_alone_but_for_public_keys(house: Shelved) -> None:
    there, _ = house.restore()
    assert there.home.stat().st_mode & 0o777 == 0o700
    modes = {path: path.stat().st_mode & 0o077 for path in there.home.rglob("*") if path.is_file()}
    assert {path for path, mode in modes.items() if mode} <= set(there.signing_keys.glob("*.pem"))
    assert not any(mode & 0o033 for mode in modes.values())


def test_what_fails_after_the_home_has_its_name_does_not_say_that_nothing_was_restored(
    house: Shelved, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = house.elsewhere().home
    real = restore_place.fsync_folder

    def full(folder: Path) -> None:
        if folder == home.parent:
            raise OSError(errno.EIO, "input/output error")
        real(folder)

    monkeypatch.setattr(restore_place, "fsync_folder", full)
    with pytest.raises(StorageError) as refusal:
        house.restore()
    assert refusal.value.code == "storage.name"
    assert "all is restored" in refusal.value.not_done
    assert "EIO" in refusal.value.found
    monkeypatch.undo()
    there = house.elsewhere()
    assert closed_of(there) is not None
    assert verify(there).sound
    with monkeypatch.context() as refusing:
        refusing.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EACCES, "no")))
        with pytest.raises(StorageError) as refusal:
            house.restore("other")
    assert refusal.value.not_done == "no home was made"
    assert not house.elsewhere("other").home.exists()


def test_a_sqlite_database_beside_the_home_is_restored_into_where_it_is_empty(house: Shelved) -> None:
    there = replace(house.elsewhere(), database=f"sqlite:///{house.folder / 'beside.db'}")
    restore(there, house.source())
    assert Tombstones(there.database).count() == 1
    before = (house.folder / "beside.db").read_bytes()
    again = replace(house.elsewhere("again"), database=there.database)
    assert code_of(lambda: restore(again, house.source())) == "configuration.not-empty"
    assert (house.folder / "beside.db").read_bytes() == before
    assert not again.home.exists()


def test_a_database_of_another_name_in_the_home_is_restored_with_it(house: Shelved) -> None:
    home = house.elsewhere().home
    there = replace(house.elsewhere(), database=f"sqlite:///{home / 'database' / 'rows.db'}")
    restore(there, house.source())
    assert (home / "database" / "rows.db").is_file()
    assert verify(there).sound


def test_a_later_backup_of_another_revision_is_told_before_anything_is_done(
    house: Shelved, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = backing.snapshot

    @contextlib.contextmanager
    def newer(url: str) -> Iterator[object]:
        with real(url) as found:
            yield replace(found, revision="0099")

    with monkeypatch.context() as upgraded:
        upgraded.setattr(backing, "snapshot", newer)
        later = house.create(rights_only=True)
    with pytest.raises(ConfigurationError) as refusal:
        house.restore()
    assert refusal.value.code == "configuration.schema"
    assert later.name in refusal.value.where
    assert not house.elsewhere().home.exists()
    (Path(house.place) / "backups" / f"{later.name}.json").rename(house.folder / "away.json")
    assert house.restore()[1].rights is None


def test_what_landed_before_the_backup_is_never_newer_than_the_restore(house: Shelved) -> None:
    """Whatever this machine's clock says."""
    backup = restoring.chosen(house.shelf, house.source().trusted)
    ahead = replace(backup, at=(dt.datetime.now(dt.UTC) + dt.timedelta(days=2)).isoformat())
    closed = restored.close(house.settings, ahead, None, restoring.Brought(), 0)
    assert closed.at == ahead.at
    (house.settings.home / "restored.json").unlink()


def test_a_home_that_was_settled_and_not_opened_yet_is_recorded_as_it_opens(house: Shelved) -> None:
    there, _ = house.restore()
    closed = closed_of(there)
    assert closed is not None
    restored.write_closed(there, replace(closed, erasures_known=True, erased=True, consents_known=True))  # killed here
    assert settle(there, Stated(REASON)) is None
    [settled] = [one for one in AuditLog(there.database).events() if one.action == Action.SETTLE]
    assert settled.facts["open"] == 1


@pytest.mark.path
def test_only_an_empty_place_is_restored_into(house: Shelved) -> None:
    there = house.elsewhere()
    there.home.mkdir(parents=True)
    (there.home / "something").write_text("mine")
    assert code_of(lambda: house.restore()) == "configuration.not-empty"
    assert (there.home / "something").read_text() == "mine"
    (there.home / "something").unlink()
    house.restore()  # an empty folder is a place where nothing is
    assert code_of(lambda: house.restore()) == "configuration.not-empty"


def test_a_backup_of_another_revision_is_for_its_own_version(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "HEAD", "0099")
    assert code_of(lambda: house.restore()) == "configuration.schema"
    assert not house.elsewhere().home.exists()


def test_a_backup_older_than_an_anchor_is_refused(house: Shelved) -> None:
    first = checkpoint(house.settings)
    assert first is not None
    anchors = {"kept.txt": note_of(house.settings, first.size)}
    assert code_of(lambda: house.restore(anchors=anchors)) == "integrity.restored-old"
    assert not house.elsewhere().home.exists()
    there, done = house.restore(anchors=anchors, older=True)
    assert done.closed.entries_lost == first.size - done.backup.log_size > 0
    assert not examine(there, anchors).sound  # what is lost stays visible to whoever kept the anchor
    house.create()
    newer, done = house.restore("newer", anchors=anchors)
    assert done.closed.entries_lost == 0
    assert examine(newer, anchors).sound


@pytest.mark.path
def test_a_forged_anchor_is_refused(house: Shelved) -> None:
    first = checkpoint(house.settings)
    assert first is not None
    forged = note_of(house.settings, first.size).replace(str(first.size), "3")
    assert code_of(lambda: house.restore(anchors={"kept.txt": forged}, older=True)).startswith("integrity.")
    assert not house.elsewhere().home.exists()


def test_a_restored_home_is_closed_until_it_is_settled(house: Shelved) -> None:
    there, done = house.restore()
    attic = attic_of(there)
    place, contract = Place(there, VersionRegister(there.database)), attic.contracts["transactions"]
    assert not done.closed.runs
    assert not done.closed.reads
    assert code_of(lambda: place.resolved(Selector(NAME))) == "access.restored"
    assert code_of(lambda: pin(there, contract, attic.contracts)) == "access.restored"
    left = settle(there, Stated(REASON))
    assert left is not None
    assert (left.erasures_known, left.consents_known) == (False, False)
    left = settle(there, Stated(REASON, erasures=True))
    assert left is not None
    assert place.resolved(Selector(NAME)).version == 1  # nobody came back, and all erasures are known
    assert code_of(lambda: pin(there, contract, attic.contracts)) == "access.restored"
    deliver(there, "2026-11-08", [master_line(1, analytics=False), master_line(2), master_line(3)])
    assert settle(there, Stated(REASON)) is None
    assert not (there.home / "restored.json").exists()
    assert pin(there, contract, attic.contracts).erased
    settled = [one for one in AuditLog(there.database).events() if one.action == Action.SETTLE]
    assert [one.facts["open"] for one in settled] == [0, 1]
    assert settle(there, Stated(REASON)) is None  # an open home has nothing to settle


def test_what_closes_a_home_and_cannot_be_read_closes_it(house: Shelved) -> None:
    there, _ = house.restore()
    sound = json.loads((there.home / "restored.json").read_text())
    for text in ("", "{}", json.dumps({**sound, "format": 2}), json.dumps({**sound, "more": 1}), "[1]"):
        (there.home / "restored.json").write_text(text)
        assert code_of(lambda: closed_of(there)) == "access.restored"


def later(house: Shelved) -> None:
    """Have rights used after the backup, and only they be backed up."""
    attic, settings = attic_of(house.settings), house.settings
    requested(settings, attic.persons(1, 2), "er-20261102-00000002")
    say(settings, (3, "api", "refused", day(400)))
    VersionRegister(settings.database).withdraw(NAME, 1, by(Action.WITHDRAW, f"{NAME}@1"))
    attic.publish([3], [4])
    open_ring(settings).destroy(DatasetKey("synthetic", SENSITIVE, NAME))
    house.create(rights_only=True)


def test_what_a_later_backup_of_the_rights_knows_is_in_force(house: Shelved) -> None:
    later(house)
    there, done = house.restore()
    assert done.rights is not None
    assert done.backup.name < done.rights.name
    assert done.brought.counts["tombstones"] == 2
    assert done.brought.counts["versions"] == 1
    assert done.brought.counts["versions_lost"] == 1
    assert Tombstones(there.database).digest() == Tombstones(house.settings.database).digest()
    assert {row[1] for row in rows(there)["consent_record"]} == {
        row[1] for row in rows(house.settings)["consent_record"]
    }
    choices = [row[3] for row in rows(there)["consent_record"] if row[1] == rights(there, [3])[0].as_py()]
    assert "refused" in choices
    register = VersionRegister(there.database)
    assert [one.state.value for one in register.versions(NAME)] == ["withdrawn"]
    assert register.reserved(NAME) == 2  # the number of a version that is lost is not given again
    states = {file.key: file.state for file in open_ring(there).all()}
    assert states[DatasetKey("synthetic", SENSITIVE, NAME)] is KeyState.DESTROYED
    assert verify(there).sound


def test_persons_erased_after_the_backup_are_erased_again(house: Shelved) -> None:
    later(house)
    there, done = house.restore()
    assert done.closed.redo == ("er-20261102-00000002",)
    left = settle(there, Stated(REASON, erasures=True, consents=True))
    assert left is not None
    assert left.batch
    assert left.runs  # tombstones keep the persons out of runs, so that what was made of them can be made anew
    assert not left.reads
    again = settle(there, Stated(REASON))
    assert again == left  # repeated, nothing is requested twice
    erasure = Erasures(there.database).get(left.batch)
    assert erasure.subjects == 2
    with db.open_database(there.database).begin() as connection:
        connection.execute(sa.update(db.erasure).where(db.erasure.c.batch == left.batch).values(state="done"))
    assert settle(there, Stated(REASON)) is None


@pytest.mark.path
def test_a_tombstone_that_a_hold_took_away_is_not_brought_back(house: Shelved) -> None:
    held = attic_of(house.settings).persons(90)
    Tombstones(house.settings.database).remove(held, "er-20261101-00000001")
    house.create(rights_only=True)
    there, done = house.restore()
    assert done.brought.counts["tombstones_lifted"] == 1
    assert Tombstones(there.database).count() == 0


@pytest.mark.path
def test_spent_budgets_are_not_given_back(house: Shelved) -> None:
    now = dt.datetime.now(dt.UTC)
    with db.open_database(house.settings.database).begin() as connection:
        entry = {"spend_id": "s1", "kind": "reserve", "at": now, "content": "{}"}
        connection.execute(sa.insert(db.privacy_entry), [entry])
        texts = {"purpose": "analytics", "state": "spent", "reason": REASON}
        account = {"spend_id": "s1", "dataset": "transactions", "unit": "household", "consumer": "all"}
        connection.execute(
            sa.insert(db.privacy_spend), [{**account, **texts, "rho": 5, "delta": 1, "reserved_at": now}]
        )
    house.create(rights_only=True)
    there, _ = house.restore()
    for table in ("privacy_entry", "privacy_spend"):
        assert rows(there)[table] == rows(house.settings)[table] != []


@pytest.mark.path
def test_a_later_backup_with_another_history_is_refused(house: Shelved) -> None:
    """Somebody who may write the database, and has backups signed, writes an entry anew."""
    from tests.support.audit_logs import open_to_all

    log = AuditLog(house.settings.database)
    open_to_all(log)
    with log.engine.begin() as connection:
        table = db.audit_entry
        content = connection.execute(sa.select(table.c.content).where(table.c.number == 3)).scalar_one()
        other = content.replace(b'"actor":"', b'"actor":"z', 1)
        connection.execute(sa.update(table).where(table.c.number == 3).values(content=other))
    house.create(rights_only=True)
    assert code_of(lambda: house.restore()) == "integrity.backup"
    assert not house.elsewhere().home.exists()


@pytest.mark.path
def test_without_the_platforms_identity_the_home_waits_for_it(house: Shelved) -> None:
    house.create(identities=False)
    there, _ = house.restore()
    assert not (there.home / "keystore" / "identities").exists()
    assert code_of(lambda: service_of(there).names()).startswith("key.")
    for path in ("identities/platform.txt", "administration.pem"):
        target = there.home / "keystore" / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((house.settings.home / "keystore" / path).read_bytes())
        target.chmod(0o600)
    assert service_of(there).names() == service_of(house.settings).names()
    assert settle(there, Stated(REASON, erasures=True, consents=True)) is None


@crashes
def test_killed_anywhere_there_is_a_whole_home_or_none(template: Shelved, tmp_path: Path, crash: Crash) -> None:
    number = 0

    def prepare() -> None:
        nonlocal number
        number += 1

    def target() -> Settings:
        return replace(template, folder=tmp_path).elsewhere(str(number))

    def work() -> None:
        replace(template, folder=tmp_path).restore(str(number))

    def check(finished: bool) -> None:
        there = target()
        assert there.home.exists() or not finished
        if not there.home.exists():
            work()
        assert objects(there) == objects(template.settings)
        assert closed_of(there) is not None
        assert examine(there).sound

    assert crash(prepare, work, check, every=37) > 200


@given(st.binary(max_size=200), st.lists(st.integers(1, 60), max_size=30), st.text(max_size=40))
def test_rows_come_back_however_their_lines_are_cut(content: bytes, cuts: list[int], reason: str) -> None:
    from cloakhouse.stages.backup_database import _line, _out

    moment = dt.datetime(2026, 11, 23, 1, 2, 3, 4, tzinfo=dt.UTC)
    row = [7, moment, reason, content, None, 1.5]
    columns = [column.name for column in db.alert_acknowledgement.columns]
    whole = {"alert": 7, "at": moment, "actor": reason, "note": ""}
    text = _line({"format": 1, "revision": "r"})
    text += _line({"table": "alert_acknowledgement", "columns": columns})
    text += _line([_out(whole[name]) for name in columns]) + _line({"end": 1})
    assert json.loads(_line([_out(value) for value in row]))[3]["b"] is not None
    found: list[dict[str, object]] = []
    loading = Loading("r", lambda _table, few: found.extend(few))
    for size in [*cuts, len(text)]:
        loading.write(text[:size])
        text = text[size:]
    loading.finish()
    assert found == [whole]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"format":2,"revision":"r"}\n{"end":0}\n',
        b'{"format":1,"revision":"q"}\n{"end":0}\n',
        b'{"format":1,"revision":"r"}\n',
        b'{"format":1,"revision":"r"}\n{"end":1}\n',
        b'{"format":1,"revision":"r"}\n{"end":0}\n[1]\n',
        b'{"format":1,"revision":"r"}\n[1]\n{"end":1}\n',
        b'{"format":1,"revision":"r"}\n{"table":"nobody","columns":[]}\n{"end":0}\n',
        b'{"format":1,"revision":"r"}\n{"table":"alert","columns":["id"]}\n{"end":0}\n',
        b'{"format":1,"revision":"r"}\n{"end":0}\nrest',
    ],
)
def test_other_lines_are_refused(text: bytes) -> None:
    loading = Loading("r", lambda _table, _rows: None)

    def read() -> None:
        loading.write(text)
        loading.finish()

    assert code_of(read) == "integrity.backup"
