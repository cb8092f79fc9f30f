"""The installation that datasets are read from: its store, its register of versions, its keys as this reader has them.

Opening a version, in this order; nothing later happens when one step refuses:

1. the register says which version is meant, and that it may be read;
2. the register is not older than the lake (as one restored from an old backup is);
3. the release is read by its digest and its signature is verified with the installation's key; where its contract pins
   it to regions, store, keys and this machine must be in one of them;
4. the access policy says which columns this reader sees.

No key is asked for before rows are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cloakhouse.client.control import explained
from cloakhouse.contracts.access_policy import Access
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused, CloakhouseError, IntegrityError, VersionGone, VersionWithdrawn
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.releases import Release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.versions import DatasetVersion, Selector, VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.reading_access import access_of, reading_ring, record_use
from cloakhouse.stages.refused_reads import not_read
from cloakhouse.stages.residency import RESIDENCY, check_regions
from cloakhouse.stages.restored import require_open_for_reading
from cloakhouse.stages.version_checks import check_register, open_release


@dataclass
class Place:
    """One installation. Makes the key cache when rows are first read."""

    settings: Settings
    register: VersionRegister
    store: ObjectStore = field(init=False)
    _tables: TableStore | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self.store = open_store(self.settings)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Tell of a control database that fails (`cloakhouse.client.control`)."""
        with explained(self.settings):
            yield

    def resolved(self, selector: Selector) -> DatasetVersion:
        """Return the version that is meant: steps 1 and 2.

        Raises NotFound, VersionWithdrawn, VersionGone, AccessRefused (`access.restored`), IntegrityError
        (`integrity.catalogue-old`), StorageError.
        """
        require_open_for_reading(self.settings)
        with self.explained():
            try:
                version = self.register.resolve(selector)
            except (VersionWithdrawn, VersionGone) as refusal:
                not_read(self.settings, selector, refusal)
                raise
            check_register(self.store, self.register, version.dataset)
        return version

    def release(self, version: DatasetVersion) -> Release:
        """Return the verified release of `version`: step 3.

        Raises IntegrityError (`integrity.release`, `integrity.signature`, `integrity.signing-key`), ResidencyRefused,
        StorageError.
        """
        try:
            with self.explained():
                release = open_release(self.settings, version)
                where = f"{version.name}, zone {version.zone}"
                check_regions(self.settings, where, release.card.get(RESIDENCY, ()))
                return release
        except IntegrityError:
            if (known := self.refusal(version)) is not None:
                raise known from None
            raise

    def access(self, release: Release) -> Access:
        """Return how each column is shown to this reader: step 4. Raises AccessRefused, ContractError."""
        classes = {column["name"]: ColumnClass(column["class"]) for column in release.columns}
        with self.explained():
            return access_of(self.settings)(release.zone, release.dataset, classes)

    def sees_sources(self, release: Release) -> bool:
        """Return whether this reader may read rows of every protected dataset that `release` was made from."""
        try:
            with self.explained():
                decision = access_of(self.settings)
                for source in release.parents:
                    decision("protected", source, {"any": ColumnClass.PLAIN})
        except AccessRefused:
            return False
        return True

    def refusal(self, version: DatasetVersion) -> CloakhouseError | None:
        """Return what became of `version` since it was resolved; None when it still is published as it was."""
        with self.explained():
            return self.register.refusal(version)

    def record(self, access: Access, zone: str, columns: Iterable[str]) -> None:
        """Record that `columns` are about to be read. Raises StorageError where that must be recorded and can't be."""
        with self.explained():
            record_use(self.settings, access, zone, columns)

    def tables(self) -> TableStore:
        """Return the tables of the lake, under the keys that this reader has."""
        if self._tables is None:
            self._tables = TableStore(self.store, reading_ring(self.settings))
        return self._tables
