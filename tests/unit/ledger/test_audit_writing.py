"""Appending: from many processes, through kills, on a full, locked or read-only disk; never half, and no fork."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.audit_logs import event, filled, signed
from tests.support.crash import limit_file_size
from tests.support.forks import at_once
from tests.support.processes import in_fork

from cloakhouse.errors import IntegrityError, NotFound, StorageError
from cloakhouse.ledger import audit, database_engine
from cloakhouse.ledger.audit import AuditLog, append, entry_of
from cloakhouse.ledger.audit_verify import verify
from cloakhouse.ledger.merkle import EMPTY, leaf_hash, verify_consistency, verify_inclusion


def test_eight_processes_leave_no_gap_and_no_fork(url: str) -> None:
    AuditLog(url)
    batches, size = 6, 10

    def work(number: int) -> list[str]:
        log, firsts = AuditLog(url), []
        for _ in range(batches):
            firsts.append(str(log.record(*(event(one, actor=f"p{number}") for one in range(size)))))
        return firsts

    firsts = sorted(int(first) for first in at_once(work, 8))
    assert firsts == list(range(0, 8 * batches * size, size))
    log = AuditLog(url)
    found = verify(log, signed(log, 80, 480))
    assert (found.size, found.sound) == (480, True)
    for first in firsts:  # a batch stays together, in its order
        batch = log.entries(first, size)
        assert len({entry.event.actor for entry in batch}) == 1
        assert [entry.event.count for entry in batch] == list(range(size))


def test_proofs_from_the_database(url: str) -> None:
    log = filled(url, 37)
    roots = [log.root(size) for size in range(38)]
    assert roots[0] == EMPTY
    for number in (0, 1, 17, 31, 32, 36):
        leaf = leaf_hash(log.entry(number).content)
        for size in (number + 1, 37):
            assert verify_inclusion(leaf, number, size, log.inclusion(number, size), roots[size])
    for old, new in ((1, 2), (7, 37), (32, 33), (36, 37)):
        assert verify_consistency(old, roots[old], new, roots[new], log.consistency(old, new))
    for call in (partial(log.root, 38), partial(log.inclusion, 0, 64), partial(log.consistency, 1, 64)):
        with pytest.raises(IntegrityError):
            call()
    for call in (partial(log.inclusion, 5, 5), partial(log.consistency, 3, 2)):
        with pytest.raises(ValueError, match=r"."):
            call()
    with pytest.raises(NotFound):
        log.entry(37)
    assert [entry.number for entry in log.entries(35)] == [35, 36]
    with pytest.raises(IntegrityError):
        entry_of(3, b"{}")


CHANGES = (
    "UPDATE audit_entry SET actor = 'nobody'",
    "UPDATE audit_entry SET number = number + 100 WHERE number = 2",
    "DELETE FROM audit_entry WHERE number = 2",
    "DELETE FROM audit_entry",
    "UPDATE audit_checkpoint SET note = 'x'",
    "DELETE FROM audit_checkpoint",
)
SAME = "SELECT 2, at, 'x', actor, dataset, decision, run, count, content, hashes FROM audit_entry WHERE number = 2"
ON_SQLITE = (
    f"REPLACE INTO audit_entry {SAME}",
    f"INSERT OR REPLACE INTO audit_entry {SAME}",
    f"INSERT INTO audit_entry {SAME} ON CONFLICT DO UPDATE SET action = 'x'",
    f"INSERT OR IGNORE INTO audit_entry {SAME}",
    f"INSERT INTO audit_entry {SAME.replace('2, at', '7, at')}",
    f"INSERT INTO audit_entry {SAME.replace('2, at', '-1, at')}",
    "REPLACE INTO audit_checkpoint SELECT size, at, 'x' FROM audit_checkpoint",
)
ON_POSTGRESQL = (
    f"INSERT INTO audit_entry {SAME} ON CONFLICT (number) DO UPDATE SET action = 'x'",
    "TRUNCATE audit_entry",
    "TRUNCATE audit_checkpoint",
)


def test_the_database_itself_refuses_changes(url: str) -> None:
    log = filled(url, 5)
    with log.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO audit_checkpoint VALUES (5, '2030-01-01 00:00:00', 'note')"))
    for statement in (*CHANGES, *(ON_SQLITE if url.startswith("sqlite") else ON_POSTGRESQL)):
        with pytest.raises((sa.exc.IntegrityError, StorageError)), log.engine.begin() as connection:
            connection.exec_driver_sql(statement)
    with log.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT note FROM audit_checkpoint").all() == [("note",)]
    assert verify(log, signed(log, 5)).sound
    assert log.record(event(5)) == 5


def kill_at(number: int, *, before: bool, url: str, work: Callable[[], Any]) -> None:
    """Kill this process around the `number`-th statement or commit of `work`."""
    count = 0

    def reached(*_: object, **__: object) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "before_cursor_execute" if before else "after_cursor_execute", reached)
    if before:
        sa.event.listen(sa.Engine, "commit", reached)
    work()
    reached()  # after the commit


def test_a_batch_that_is_killed_is_there_or_is_not(url: str) -> None:
    size, number, done = len(AuditLog(url).events()), 0, False
    while not done:
        number, done = number + 1, True
        for before in (True, False):

            def work() -> None:
                AuditLog(url).record(*(event(one) for one in range(3)))

            ended = in_fork(partial(kill_at, number, before=before, url=url, work=work))
            assert ended in (0, -signal.SIGKILL)
            log = AuditLog(url)
            added = log.size() - size
            assert added in ((3,) if ended == 0 else (0, 3))
            size += added
            assert verify(log, signed(log, size)).sound
            done = done and ended == 0
    assert number > 4


def test_an_event_goes_with_what_it_describes_or_not_at_all(sqlite_url: str) -> None:
    log = filled(sqlite_url, 2)

    def fails() -> None:
        with log.engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            assert append(connection, [event(2), event(3)]) == 2
            assert append(connection, []) == 4
            assert append(connection, [event(4)]) == 4
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert log.size() == 2


def test_a_full_disk(sqlite_url: str, tmp_path: Path) -> None:
    log = filled(sqlite_url, 3)
    with log.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    path = tmp_path / "control.db"

    def work() -> None:
        limit_file_size(path.stat().st_size)
        for _ in range(3):
            with pytest.raises(StorageError):
                AuditLog(sqlite_url).record(*(event(one, reason="x" * 900) for one in range(300)))

    assert in_fork(work) == 0
    assert verify(AuditLog(sqlite_url), signed(AuditLog(sqlite_url), 3)).size == 3
    assert AuditLog(sqlite_url).record(event(3)) == 3


def test_a_locked_database_is_waited_for_so_long(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_engine, "BUSY_TIMEOUT_S", 0.2)
    log = filled(sqlite_url, 3)
    held = sqlite3.connect(tmp_path / "control.db", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError) as refusal:
        log.record(event(3))
    assert "another process held it" in refusal.value.found
    assert verify(log).size == 3  # who reads doesn't wait
    held.execute("ROLLBACK")
    held.close()
    assert log.record(event(3)) == 3


def test_a_copy_to_read_only_is_verified_and_not_written(sqlite_url: str, tmp_path: Path) -> None:
    log = filled(sqlite_url, 10)
    checkpoints = signed(log, 10)
    log.engine.dispose()
    copy = tmp_path / "copy"
    copy.mkdir()
    source, target = sqlite3.connect(tmp_path / "control.db"), sqlite3.connect(copy / "control.db")
    source.backup(target)
    source.close()
    target.execute("PRAGMA journal_mode=DELETE")
    target.close()

    def work() -> None:
        os.setuid(65534)
        there = AuditLog(f"sqlite:///{copy / 'control.db'}")
        assert verify(there, checkpoints).checkpoints == (10,)
        with pytest.raises(StorageError) as refusal:
            there.record(event(10))
        assert "takes no writes" in refusal.value.found

    own = takewhile(lambda folder: folder != Path(tempfile.gettempdir()), copy.parents)
    for folder in (copy, *own):
        folder.chmod(0o755)
    (copy / "control.db").chmod(0o644)
    if os.geteuid() == 0:
        assert in_fork(work) == 0
    shutil.rmtree(copy)


def test_a_log_that_lost_its_last_hashes_is_not_gone_on_with(sqlite_url: str) -> None:
    log = filled(sqlite_url, 4)
    with log.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER audit_entry_no_update")
        connection.exec_driver_sql("UPDATE audit_entry SET hashes = x'00' WHERE number = 3")
    with pytest.raises(IntegrityError) as refusal:
        log.record(event(4))
    assert refusal.value.code == "integrity.audit-log"
    assert log.size() == 4


def test_the_log_of_a_process_stays_open_and_a_file_in_its_place_is_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    first = audit.log_of(url)
    assert audit.log_of(url) is first
    assert first.record(event(0)) == 0
    other = AuditLog(f"sqlite:///{tmp_path / 'other.db'}")
    other.record(event(0), event(1))
    for log in (first, other):
        log.engine.dispose()
    (tmp_path / "other.db").rename(tmp_path / "control.db")
    assert audit.log_of(url) is not first
    assert audit.log_of(url).record(event(0)) == 2


def test_logs_that_stay_open_are_few(tmp_path: Path) -> None:
    for number in range(6):
        audit.log_of(f"sqlite:///{tmp_path / str(number)}.db")
    assert len(audit._open) == 4


def test_a_forked_child_inherits_no_open_file_of_the_log(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    audit.log_of(url).record(event(0))

    def child() -> None:
        assert "control.db" not in Path("/proc/self/maps").read_text()  # the shared memory of an open WAL
        assert audit.log_of(url).record(event(0)) == 1

    assert in_fork(child) == 0
    assert audit.log_of(url).record(event(0)) == 2
