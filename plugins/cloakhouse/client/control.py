"""The control database, opened by readers: what isn't there is not made, and what fails is explained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc

from cloakhouse.errors import CloakhouseError, IntegrityError, NotFound, StorageError
from cloakhouse.keys.files import storage_error
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.database import dataset_version
from cloakhouse.ledger.database_engine import engine_of, is_read_only
from cloakhouse.ledger.database_faults import storage_fault
from cloakhouse.ledger.database_url import database_url
from cloakhouse.settings import Settings


def open_catalogue(settings: Settings) -> Catalogue:
    """Return the catalogue of the installation that `settings` describe.

    Raises NotFound when there is no control database; none is made. Raises ConfigurationError for a URL that can't be
    used, MissingDependency without its driver, IntegrityError and StorageError as `explained`.
    """
    with explained(settings):
        if not _is_there(database_url(settings.database)):
            raise NotFound(
                where=str(settings.home),
                expected="a control database: the folder of an installation that has run",
                found="none",
                not_done="nothing was read, and nothing was made",
                remedy="set CLOAKHOUSE_HOME to that folder (in Python: cloakhouse.connect(home)), "
                "or fill a new one with `cloakhouse run --weeks 1-4`",
                code="home",
            )
        return Catalogue(settings.database)


@contextlib.contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Turn what the database library raises during the block into errors for people.

    Raises StorageError (unreachable, locked, refused) and IntegrityError (no database, or a damaged one). None of them
    repeats the URL, which may hold a password.
    """
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError) as fault:
        raise storage_fault(fault.orig) from None
    except exc.TimeoutError as fault:
        remedy = "check that the database runs and that CLOAKHOUSE_DATABASE names it, then try again"
        raise _fault(StorageError, "a control database that answers", fault, remedy) from None
    except exc.SQLAlchemyError as fault:
        remedy = "restore the control database from the backup of CLOAKHOUSE_HOME"
        raise _fault(IntegrityError, "a control database of this version", fault, remedy) from None
    except OSError as fault:
        raise storage_error(fault, settings.home, "nothing was read") from None


def _is_there(url: sa.URL) -> bool:
    """Return whether the table of published versions exists, without making a file, a folder or a table.

    A PostgreSQL is there; whether its tables are is told when it is opened.
    """
    if url.get_backend_name() in ("postgres", "postgresql"):
        return True
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        if not file.is_file() or file.stat().st_size == 0:
            return False
        if is_read_only(file):
            return _has_versions(engine_of(url))
        url = sa.URL.create("sqlite", database=f"file:{quote(str(file))}", query={"mode": "ro", "uri": "true"})
    return _has_versions(sa.create_engine(url, hide_parameters=True))


def _has_versions(engine: sa.Engine) -> bool:
    try:
        return sa.inspect(engine).has_table(dataset_version.name)
    finally:
        engine.dispose()


def _fault(kind: type[CloakhouseError], expected: str, fault: Exception, remedy: str) -> CloakhouseError:
    return kind(
        where="the control database (CLOAKHOUSE_DATABASE)",
        expected=expected,
        found=f"a refusal ({type(fault).__name__})",
        not_done="nothing was read",
        remedy=remedy,
        code="database",
    )
