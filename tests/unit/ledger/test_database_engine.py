"""Engines: forks, bounded waits and refusals on SQLite, and what drivers say in our words."""

from __future__ import annotations

import datetime as dt
import pickle
import sqlite3
import sys
import threading
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from tests.support.acting import by
from tests.support.processes import in_fork

from cloakhouse.errors import MissingDependency, StorageError
from cloakhouse.ledger import database, database_engine
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.database_engine import emptied, engine_of
from cloakhouse.ledger.database_faults import storage_fault
from cloakhouse.ledger.database_url import database_url
from cloakhouse.ledger.writing import ATTEMPTS, retried


def test_a_forked_child_leaves_the_parents_connections_alone(sqlite_url: str) -> None:
    catalogue = Catalogue(sqlite_url)
    catalogue.record_key_fingerprint("root", "f" * 16)
    pool = catalogue._engine.pool

    def child() -> None:
        assert catalogue._engine.pool is not pool
        assert pool in database_engine._inherited  # kept, so that nothing closes what is the parent's
        Catalogue(sqlite_url).record_key_fingerprint("child", "e" * 16)
        assert catalogue.key_fingerprint("child") == "e" * 16

    with catalogue._engine.begin() as connection:
        connection.execute(sa.text("SELECT * FROM key_fingerprint"))
        assert in_fork(child) == 0
    assert catalogue._engine.pool is pool
    assert catalogue.key_fingerprint("child") == "e" * 16


def test_a_fork_while_another_thread_opens_a_database_does_not_hang() -> None:
    with database_engine._lock:
        assert in_fork(lambda: database_engine.let_go(), timeout_s=10) == 0


def test_no_engine_travels(sqlite_url: str) -> None:
    for what in (Catalogue(sqlite_url), database.open_database(sqlite_url)):
        with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
            pickle.dumps(what)


def test_no_engine_shows_its_password() -> None:
    engine = engine_of(database_url("postgresql://me:geheim@localhost/x"))
    assert "geheim" not in repr(engine) + str(engine) + repr(engine.pool)
    assert engine.hide_parameters


def test_the_driver_is_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDependency) as refusal:
        engine_of(database_url("postgresql://me:geheim@localhost/missing"))
    assert "psycopg[binary]" in refusal.value.remedy
    assert "geheim" not in refusal.value.explain()


def test_a_full_disk_is_told_as_such(sqlite_url: str) -> None:
    engine = database.open_database(sqlite_url)

    def fill() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 60")
            row = {"name": "x", "fingerprint": "Zwetsch" * 100_000, "recorded_at": sa.func.now()}
            connection.execute(sa.insert(database.key_fingerprint).values(**row))

    with pytest.raises(StorageError) as refusal:
        fill()
    assert refusal.value.found == "no space left on its disk (SQLITE_FULL)"
    assert "free space" in refusal.value.remedy
    assert "Zwetsch" not in refusal.value.explain()


def test_another_writer_is_waited_for_and_not_for_ever(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Catalogue(sqlite_url)
    monkeypatch.setattr(database_engine, "BUSY_TIMEOUT_S", 0.1)
    catalogue = Catalogue(sqlite_url)
    holder = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError) as refusal:
        catalogue.record_protected([], by())
    assert refusal.value.found == "another process held it for too long (SQLITE_BUSY)"
    monkeypatch.setattr(database_engine, "BUSY_TIMEOUT_S", 30)
    patient = Catalogue(sqlite_url)
    threading.Timer(0.3, holder.rollback).start()
    patient.record_protected([], by())
    holder.close()


def test_the_switch_to_wal_is_waited_for_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "control.db"
    holder = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    holder.execute("CREATE TABLE other (x)")
    holder.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(database_engine, "BUSY_TIMEOUT_S", 0.1)
    with pytest.raises(StorageError, match="SQLITE_BUSY"):
        Catalogue(f"sqlite:///{file}")
    monkeypatch.setattr(database_engine, "BUSY_TIMEOUT_S", 30)
    threading.Timer(0.2, holder.rollback).start()
    assert Catalogue(f"sqlite:///{file}").deliveries("x") == {}
    holder.close()


def test_a_file_that_may_only_be_read(sqlite_url: str) -> None:
    engine = database.open_database(sqlite_url)

    def write() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.execute(sa.delete(database.key_fingerprint))

    with pytest.raises(StorageError, match="takes no writes"):
        write()


@pytest.mark.parametrize(
    ("fault", "found", "code"),
    [
        (psycopg.errors.DiskFull(), "no space left on its disk (53100)", "storage.database"),
        (psycopg.errors.LockNotAvailable(), "another process held it for too long (55P03)", "storage.database"),
        (psycopg.errors.AdminShutdown(), "no answer (57P01)", "storage.database"),
        (psycopg.errors.CannotConnectNow(), "no answer (57P03)", "storage.database"),
        (psycopg.errors.ConnectionFailure(), "no answer (08006)", "storage.database"),
        (psycopg.errors.TooManyConnections(), "it has no connection left (53300)", "storage.database"),
        (psycopg.errors.ReadOnlySqlTransaction(), "it takes no writes", "storage.database"),
        (psycopg.errors.QueryCanceled(), "a statement that took too long (57014)", "storage.database"),
        (psycopg.errors.InvalidPassword(), "it refused the user or the password (28P01)", "storage.database"),
        (psycopg.errors.SerializationFailure(), "other writers that changed the same rows", "storage.conflict"),
        (psycopg.errors.DeadlockDetected(), "other writers that changed the same rows", "storage.conflict"),
        (psycopg.errors.NumericValueOutOfRange("42"), "it refused (22003)", "storage.database"),
        (psycopg.OperationalError("Zwetsch"), "it refused (OperationalError)", "storage.database"),
        (None, "it refused (NoneType)", "storage.database"),
    ],
)
def test_what_drivers_say_is_told_in_our_words(fault: Exception | None, found: str, code: str) -> None:
    error = storage_fault(fault)
    assert error.found.startswith(found)
    assert error.code == code
    assert error.exit_code == 6
    assert "Zwetsch" not in error.explain()


def test_only_what_was_undone_for_others_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr("cloakhouse.ledger.writing._LONGEST_PAUSE_MS", 1)

    @retried
    def work(fault: Exception, until: int) -> str:
        calls.append(1)
        if len(calls) < until:
            raise storage_fault(fault)
        return "done"

    conflict = psycopg.errors.SerializationFailure()
    assert work(conflict, ATTEMPTS) == "done"
    assert len(calls) == ATTEMPTS
    for fault, times in ((conflict, ATTEMPTS), (psycopg.errors.DiskFull(), 1)):
        calls.clear()
        with pytest.raises(StorageError):
            work(fault, 100)
        assert len(calls) == times


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no folder be one that can be written (who runs the tests may be root, whom modes don't stop)."""
    monkeypatch.setattr(database_engine.os, "access", lambda *_given, **_named: False)


def test_a_sqlite_file_that_can_not_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "home %20 #" / "control.db"
    path.parent.mkdir()
    writer = database.open_database(sa.URL.create("sqlite", database=str(path)).render_as_string())
    row = {"name": "k", "fingerprint": "f" * 16, "recorded_at": dt.datetime.now(dt.UTC)}
    with writer.begin() as connection:
        connection.execute(sa.insert(database.key_fingerprint).values(row))
    writer.dispose()
    read_only(monkeypatch)
    before = {item.name: item.stat().st_mtime_ns for item in path.parent.iterdir()}
    reader = database.open_database(sa.URL.create("sqlite", database=str(path)).render_as_string())
    with reader.connect() as connection:
        assert connection.execute(sa.select(database.key_fingerprint.c.fingerprint)).scalar_one() == "f" * 16
    with pytest.raises(StorageError) as caught, reader.begin() as connection:
        connection.execute(sa.delete(database.key_fingerprint))
    assert "takes no writes" in caught.value.found
    assert {item.name: item.stat().st_mtime_ns for item in path.parent.iterdir()} == before


def test_a_copy_that_was_made_beside_a_writer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "control.db"
    database.open_database(f"sqlite:///{path}").dispose()
    path.with_name("control.db-wal").write_bytes(b"x")
    read_only(monkeypatch)
    with pytest.raises(StorageError, match="at work"):
        database.open_database(f"sqlite:///{path}")


def test_a_file_of_sqlite_is_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    engine = database.open_database(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1 FROM key_fingerprint"))
        files = sorted(one.name for one in tmp_path.iterdir())
        assert files == ["control.db", "control.db-shm", "control.db-wal"]
        assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}
    engine.dispose()
    path.chmod(0o640)  # as somebody decided
    Catalogue(f"sqlite:///{path}").record_key_fingerprint("root", "f" * 16)
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_is_deleted_from_sqlite_is_in_none_of_its_files(tmp_path: Path) -> None:
    engine, token = engine_of(database_url(f"sqlite:///{tmp_path / 'control.db'}")), b"somebody's token"
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (value BLOB)")
        connection.execute(sa.text("INSERT INTO kept VALUES (:value)"), [{"value": token}, {"value": b"x" * 9000}])
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM kept")
    emptied(engine)
    assert not [path.name for path in tmp_path.iterdir() if token in path.read_bytes()]
    engine.dispose()
