"""The model teams' way into the lake: published synthetic datasets, by name, and nothing else.

    import cloakhouse

    lake = cloakhouse.connect()
    baskets = lake.dataset("baskets_synthetic@3")
    frame = baskets.to_pandas(columns=["store_id", "value"], where=[("value", ">", 20)], limit=1_000)

Names are looked up in the register of versions; the landing and protected zones have no name here. Arrow, the keys and
what else it takes to read rows are imported when the first version is opened: connecting and listing are quicker by it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloakhouse.client.control import explained, open_catalogue
from cloakhouse.client.names import parse_name
from cloakhouse.errors import ConfigurationError
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister, VersionState
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from cloakhouse.client.dataset import Dataset
    from cloakhouse.client.place import Place

__all__ = ["DatasetSummary", "Lake", "connect"]


def __getattr__(name: str) -> Any:
    """Return the class `Dataset`, imported when first asked for."""
    if name == "Dataset":
        from cloakhouse.client.dataset import Dataset

        return Dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class DatasetSummary:
    """One version of a dataset, as the register has it.

    Attributes:
        name: what `Lake.dataset` takes.
        version: counts from 1.
        zone: the lake's zone that holds it.
        rows: rows of all its files.
        published_at: UTC, with its zone.
        tags: in alphabetical order.
        state: published, withdrawn, expired or collected; only a published version can be read.
        reason: why it was withdrawn or expired.
        head: whether the bare name stands for it.
    """

    name: str
    version: int
    zone: str
    rows: int
    published_at: dt.datetime
    tags: tuple[str, ...] = ()
    state: VersionState = VersionState.PUBLISHED
    reason: str = ""
    head: bool = True


class Lake:
    """The published datasets of one installation. One per process is enough; it keeps the key cache."""

    def __init__(self, settings: Settings, register: VersionRegister) -> None:
        self._settings, self._register = settings, register
        open_store(settings)  # a setting that names no store is told here, not when the first version is opened

    def __repr__(self) -> str:
        return f"Lake({str(self._settings.home)!r})"

    @cached_property
    def _place(self) -> Place:
        from cloakhouse.client.place import Place

        return Place(self._settings, self._register)

    def datasets(self) -> list[DatasetSummary]:
        """Return the version that each name stands for, ordered by name; empty when none is published.

        Raises StorageError and IntegrityError when the control database can't be read.
        """
        with explained(self._settings):
            return [_summary(version) for version in self._register.heads()]

    def versions(self, name: str) -> list[DatasetSummary]:
        """Return all versions of the dataset `name`, in every state, oldest first.

        Raises ConfigurationError (the text is no name, or names a version), NotFound, and as `datasets`.
        """
        wanted = parse_name(name)
        if str(wanted) != wanted.name:
            raise ConfigurationError(
                where="name of a dataset",
                expected="a name without a version",
                found=f"one with a version ({wanted})",
                not_done="nothing was read",
                remedy=f"ask for {wanted.name}",
                code="name",
            )
        with explained(self._settings):
            found = self._register.versions(wanted.name)
            if not found:
                self._register.resolve(wanted)
        return [_summary(version) for version in found]

    def dataset(self, name: str) -> Dataset:
        """Return the published version that `name` stands for: `name`, `name@3`, `name@2026-11-01`, `name@certified`.

        Its signed release is read and verified; no row is. Raises ConfigurationError (the text is no name), NotFound,
        VersionWithdrawn and VersionGone (with the reason), AccessRefused (no role of this reader reads it),
        IntegrityError (release missing, changed or not signed by this installation; control database older than the
        lake), StorageError.
        """
        from cloakhouse.client.dataset import Dataset

        return Dataset(self._place, self._place.resolved(parse_name(name)))


def connect(home: Path | str | None = None) -> Lake:
    """Return the published datasets of the installation in `home`, with its own keystore and control database.

    Without `home` the environment says where everything is and who asks (CLOAKHOUSE_HOME, CLOAKHOUSE_LAKE,
    CLOAKHOUSE_KEYS, CLOAKHOUSE_DATABASE, CLOAKHOUSE_IDENTITY, CLOAKHOUSE_PURPOSE). Raises NotFound when no control
    database is there (none is made), ConfigurationError for a path or setting that can't be used, StorageError and
    IntegrityError when the database can't be read.
    """
    settings = Settings.from_environment()
    if home is not None:
        settings = settings.with_home(_resolved(home))
    open_catalogue(settings)
    with explained(settings):
        return Lake(settings, VersionRegister(settings.database))


def _summary(version: DatasetVersion) -> DatasetSummary:
    return DatasetSummary(
        version.dataset,
        version.version,
        version.zone,
        version.rows,
        version.published_at,
        version.tags,
        version.state,
        version.reason,
        version.head,
    )


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
