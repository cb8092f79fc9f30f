"""The installation that the console shows: its control database, and what takes long to read, kept for a while."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import math
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from cloakhouse.console.data_rights import Choices, choices
from cloakhouse.console.kept import Kept
from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import NotFound, StorageError
from cloakhouse.lake.coverage import Coverage, coverage
from cloakhouse.lake.releases import Release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.ledger.database import open_database
from cloakhouse.ledger.database_url import database_url
from cloakhouse.ledger.version_model import DatasetVersion
from cloakhouse.settings import Settings
from cloakhouse.stages.access_review import Review, review
from cloakhouse.stages.consent_due import Due, consents_due
from cloakhouse.stages.key_status import KeyStatus, key_status
from cloakhouse.stages.retention_plan import Item, plan
from cloakhouse.stages.spending import AccountState, balances
from cloakhouse.stages.version_checks import open_release

WAIT_MS = 2_000  # for a database that is locked: a page says so sooner than a stage gives up
RELEASES_KEPT = 64
COVERAGE_S = 6 * 3_600.0  # what opens files of the whole lake, each of whose uses of keys is an entry of the log
AHEAD = 30  # days of what expires next
_DATABASE = "the control database"


class House:
    """One installation, read only. Safe from many threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._opened: tuple[object, sa.Engine] | None = None
        self._release = functools.lru_cache(RELEASES_KEPT)(self._kept_release)
        self.contracts: Kept[dict[str, Contract]] = Kept(lambda: load_contracts(settings.contracts), 20.0, 3_600.0)
        self.budgets: Kept[list[AccountState]] = Kept(self._balances)
        self.keys: Kept[KeyStatus] = Kept(self._keys, 20.0)
        self.review: Kept[Review] = Kept(self._review, 20.0)
        self.choices: Kept[list[Choices]] = Kept(self._choices, 20.0)
        self.ending: Kept[list[Item]] = Kept(self._ending, 60.0)
        self.due: Kept[list[Due]] = Kept(self._due, COVERAGE_S)
        self.coverage: Kept[Coverage] = Kept(self._coverage, COVERAGE_S)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection for queries.

        Raises NotFound (`not-found.home`) when there is no database: none is made; StorageError when it is locked or
        away, ConfigurationError for one of another revision.
        """
        engine = self._engine()
        try:
            with engine.connect() as connection:
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql(f"PRAGMA busy_timeout = {WAIT_MS}")
                yield connection
        except sa.exc.SQLAlchemyError:
            raise _away() from None

    def release(self, version: DatasetVersion) -> Release:
        """Return the verified release of `version`; the last ones are kept, as releases never change.

        Raises IntegrityError, StorageError, also for a lake that takes longer than a page may.
        """
        return self._release(version).get().value

    def writable(self) -> None:
        """Return when there is a control database to write to. Raises as `reading`."""
        self._engine()

    def _engine(self) -> sa.Engine:
        identity = _identity(self.settings.database)
        if not self._lock.acquire(timeout=WAIT_MS / 1000):  # somebody waits for a server that doesn't answer
            raise _away()
        try:
            if self._opened is None or self._opened[0] != identity:
                try:
                    _check_free(self.settings.database)
                    self._opened = (identity, open_database(self.settings.database))
                except sa.exc.SQLAlchemyError:
                    raise _away() from None
            return self._opened[1]
        finally:
            self._lock.release()

    def _kept_release(self, version: DatasetVersion) -> Kept[Release]:
        return Kept(lambda: open_release(self.settings, version), math.inf, math.inf)

    def _balances(self) -> list[AccountState]:
        self._engine()
        return balances(self.settings)

    def _choices(self) -> list[Choices]:
        self._engine()
        return choices(ConsentRegister(self.settings.database))

    def _ending(self) -> list[Item]:
        self._engine()
        return plan(self.settings, now(), AHEAD)

    def _due(self) -> list[Due]:
        self._engine()
        return consents_due(self.settings, now())

    def _keys(self) -> KeyStatus:
        _identity(self.settings.database)  # opening the keys of a home that isn't there would make one
        return key_status(self.settings, now())

    def _coverage(self) -> Coverage:
        _identity(self.settings.database)
        return coverage(open_store(self.settings), open_ring(self.settings))

    def _review(self) -> Review:
        self._engine()
        return review(self.settings, now())


def now() -> dt.datetime:
    """Return the time, in UTC."""
    return dt.datetime.now(dt.UTC)


def _identity(url: str) -> object:
    """Return what tells one control database from another in its place.

    Raises NotFound where a SQLite file is not, ConfigurationError for a URL that can't be used.
    """
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite":
        return url
    try:
        found = Path(parsed.database or "").stat()
    except OSError:
        found = None
    if found is None or not found.st_size:
        raise NotFound(
            where=_DATABASE,
            expected="an installation that has run",
            found="none",
            not_done="nothing was read, and nothing was made",
            remedy="fill one with `cloakhouse run --weeks 1-4`, or set CLOAKHOUSE_HOME to its folder",
            code="home",
        )
    return (url, found.st_ino, found.st_dev)


def _check_free(url: str) -> None:
    """Return unless a SQLite file is locked: opening it would wait longer than a page may. Raises StorageError."""
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite":
        return
    try:
        uri = f"file:{quote(str(parsed.database))}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=WAIT_MS / 1000)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as fault:
        if getattr(fault, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            raise _away() from None  # any other fault is told by whoever opens it


def _away() -> StorageError:
    return StorageError(
        where=_DATABASE,
        expected="an answer in good time",
        found="none: it is locked, damaged or away",
        not_done="nothing was shown of it",
        remedy="try again in a moment; if it stays, run `cloakhouse doctor`",
        code="database",
    )
