"""The model teams' way into the lake: published synthetic datasets, by name, and nothing else.

    import cloakhouse

    lake = cloakhouse.connect()
    baskets = lake.dataset("baskets_synthetic@3")
    frame = baskets.to_pandas(columns=["store_id", "value"], limit=1_000)

Names are looked up in the catalogue of published versions; the landing and protected zones have no name here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.client.control import explained, open_catalogue
from cloakhouse.client.dataset import Dataset
from cloakhouse.client.names import parse_name
from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.parquet import TableStore
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings

__all__ = ["Dataset", "DatasetSummary", "Lake", "connect"]


@dataclass(frozen=True)
class DatasetSummary:
    """The newest published version of one dataset.

    Attributes:
        name: what `Lake.dataset` takes.
        version: counts from 1.
        zone: the lake's zone that holds it.
        rows: rows of all its files.
        published_at: UTC, with its zone.
    """

    name: str
    version: int
    zone: str
    rows: int
    published_at: dt.datetime


class Lake:
    """The published datasets of one installation. One per process is enough; it keeps the key cache."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._store: TableStore | None = None

    def __repr__(self) -> str:
        return f"Lake({str(self._settings.home)!r})"

    def datasets(self) -> list[DatasetSummary]:
        """Return the newest published version of each dataset, ordered by name; empty when none is published.

        Raises StorageError and IntegrityError when the control database can't be read.
        """
        with explained(self._settings):
            newest = {version.dataset: version for version in self._catalogue.versions()}
        return [
            DatasetSummary(name, newest[name].version, newest[name].zone, newest[name].rows, newest[name].published_at)
            for name in sorted(newest)
        ]

    def dataset(self, name: str) -> Dataset:
        """Return the published dataset that `name` (`name` for the newest version, or `name@version`) stands for.

        Its release manifest is read and compared with the catalogue; no row is. Raises ConfigurationError (the
        text is no name), NotFound (not published), IntegrityError (manifest missing or changed), StorageError.
        """
        wanted = parse_name(name)
        with explained(self._settings):
            version = self._catalogue.version(wanted.name, wanted.version)
        return Dataset(self._settings.lake, version, self._open_store)

    def _open_store(self) -> TableStore:
        if self._store is None:
            self._store = TableStore(self._settings.lake, open_ring(self._settings))
        return self._store


def connect(home: Path | str | None = None) -> Lake:
    """Return the published datasets of the installation in `home`, with its own keystore and control database.

    Without `home` the environment says where everything is (CLOAKHOUSE_HOME, CLOAKHOUSE_KEYS,
    CLOAKHOUSE_DATABASE). Raises NotFound when no control database is there (none is made), ConfigurationError for
    a path or setting that can't be used, StorageError and IntegrityError when the database can't be read.
    """
    settings = Settings.from_environment()
    if home is not None:
        settings = settings.with_home(_resolved(home))
    return Lake(settings, open_catalogue(settings))


def _resolved(home: Path | str) -> Path:
    try:
        return Path(home).expanduser().resolve()
    except (TypeError, ValueError, RuntimeError, OSError) as fault:
        raise ConfigurationError(
            where="home of the installation",
            expected="the path of a folder",
            found=f"a value that is none ({type(fault).__name__})",
            not_done="nothing was read",
            remedy="pass the folder that CLOAKHOUSE_HOME names",
            code="home",
        ) from None
