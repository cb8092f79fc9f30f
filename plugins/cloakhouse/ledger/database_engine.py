"""Engines: how connections to the control database are made, kept, bounded in time, and kept out of forked children.

What is committed is on disk: SQLite runs in WAL mode with `synchronous=FULL`, PostgreSQL with `synchronous_commit=on`,
whatever the server's default. What is deleted from SQLite is overwritten (`secure_delete`), once its journal is written
back (`emptied`). SQLite waits at most 30 s for another writer, and whoever opens it has an engine of their
own; a file in a folder that can't be written is only read. A process has one engine for each PostgreSQL URL, so that
opening it again costs no new connection. Each wait there is bounded: connecting 10 s, a lock 30 s, a statement 60 s, a
transaction whose process is silent 120 s.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event

from cloakhouse.errors import MissingDependency, StorageError
from cloakhouse.keys.files import storage_error
from cloakhouse.ledger.database_faults import as_storage_error
from cloakhouse.ledger.database_url import POSTGRESQL

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 60
SILENT_TIMEOUT_S = 120
_KEPT = 4  # PostgreSQL URLs whose connections a process keeps
_OPTIONS = (
    "-c timezone=UTC -c synchronous_commit=on "
    f"-c statement_timeout={STATEMENT_TIMEOUT_S}s -c lock_timeout={BUSY_TIMEOUT_S}s "
    f"-c idle_in_transaction_session_timeout={SILENT_TIMEOUT_S}s"
)
_PARAMETERS: dict[str, Any] = {
    "application_name": "cloakhouse",
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 30,  # seconds, as the next
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": BUSY_TIMEOUT_S * 1000,  # milliseconds
}

_lock = threading.Lock()
_postgresql: OrderedDict[str, sa.Engine] = OrderedDict()
_made: weakref.WeakSet[sa.Engine] = weakref.WeakSet()
_inherited: list[Any] = []


def engine_of(url: sa.URL) -> sa.Engine:
    """Return an engine for `url`, as `database_url` gave it; nothing is connected yet.

    Its errors are StorageErrors (see `database_faults`). Raises StorageError when the folder of a SQLite file can't be
    made, MissingDependency without psycopg.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    key = url.render_as_string(hide_password=False)
    with _lock:
        if key not in _postgresql:
            _postgresql[key] = _connected_by_psycopg(url)
        _postgresql.move_to_end(key)
        if len(_postgresql) > _KEPT:
            _postgresql.popitem(last=False)[1].dispose()
        return _postgresql[key]


def let_go() -> None:
    """Close the connections that this process keeps and doesn't use."""
    with _lock:
        _postgresql.clear()
    for engine in _engines():  # somebody may hold one that was kept before
        if engine.dialect.name != "sqlite":
            engine.dispose()


def emptied(engine: sa.Engine) -> None:
    """Write SQLite's journal back into its file and empty it, so that it holds no pages from before a deletion.

    Where somebody reads from it still, it stays for the next call. PostgreSQL is left alone.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _sqlite(url: sa.URL) -> sa.Engine:
    if url.database and is_read_only(Path(url.database)):
        return _watched(sa.create_engine("sqlite://", creator=_reader_of(Path(url.database)), hide_parameters=True))
    if url.database:
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise storage_error(fault, Path(url.database), "the control database was not opened") from None
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, hide_parameters=True)
    event.listen(engine, "do_connect", _private)
    event.listen(engine, "connect", _durable)
    return _watched(engine)


def is_read_only(path: Path) -> bool:
    """Return whether the file is there, in a folder that this process can't write into: then it is only read."""
    try:
        frozen = bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False
    return path.is_file() and (frozen or not os.access(path.parent, os.W_OK))


def _reader_of(path: Path) -> Callable[[], sqlite3.Connection]:
    """Return what connects to a copy for reading: WAL mode would write beside it. Raises StorageError for a copy that
    was made beside a writer, whose last changes lie in another file."""
    waiting = path.with_name(f"{path.name}-wal")
    if waiting.is_file() and waiting.stat().st_size:
        raise StorageError(
            where="the control database",
            expected="a whole copy, in a folder that can't be written",
            found="one that was made while the platform was at work",
            not_done="nothing was read",
            remedy="copy it with `sqlite3 control.db '.backup copy.db'`, or while nothing runs",
            code="database",
        )
    uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
    return lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)


def _connected_by_psycopg(url: sa.URL) -> sa.Engine:
    given = url.query.get("options", ())
    options = " ".join([_OPTIONS, *((given,) if isinstance(given, str) else given)])
    parameters = {name: value for name, value in _PARAMETERS.items() if name not in url.query}
    try:
        engine = sa.create_engine(
            url.difference_update_query(["options"]),
            connect_args={**parameters, "options": options, "prepare_threshold": None},  # poolers swap sessions
            hide_parameters=True,
            isolation_level="READ COMMITTED",  # each statement sees what was committed before it: see `writing`
            pool_pre_ping=True,
            pool_timeout=BUSY_TIMEOUT_S,
        )
    except ModuleNotFoundError:
        raise MissingDependency(
            where="the control database (CLOAKHOUSE_DATABASE)",
            expected=f"the Python package `psycopg`, for {POSTGRESQL}",
            found="no such package",
            not_done="no connection was made",
            remedy="pip install 'psycopg[binary]'",
        ) from None
    return _watched(engine)


def _watched(engine: sa.Engine) -> sa.Engine:
    event.listen(engine, "handle_error", as_storage_error)
    _made.add(engine)
    return engine


def _engines() -> list[sa.Engine]:
    """Return the engines that there are, also while other threads make some."""
    while True:
        try:
            return list(_made)
        except RuntimeError:  # the set changed size
            continue


def _before_fork() -> None:
    """Close what SQLite keeps open and nobody uses: it tells its locks by process, and a child that inherits an open
    file takes them for its own. Source: https://sqlite.org/howtocorrupt.html, section 2.6."""
    for engine in _engines():
        if engine.dialect.name == "sqlite" and isinstance(engine.pool, sa.QueuePool):
            engine.pool.dispose()  # of this pool, which those go back to that are in use


def _after_fork() -> None:
    """Have the child make connections of its own; closing or dropping the parent's would end or damage them."""
    global _lock
    _lock = threading.Lock()
    for engine in _engines():
        _inherited.append(engine.pool)
        engine.dispose(close=False)


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def _private(_dialect: Any, _record: Any, arguments: Sequence[Any], _parameters: Any) -> None:
    """Make a file that isn't there yet, for its user alone whatever the umask; SQLite gives those beside it its mode.

    What can't be made is left to SQLite to say.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _durable(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    _switch_to_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Turn WAL on. For this one change SQLite doesn't wait while another process makes it too, so we do."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as fault:
            if not fault.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
