"""One published version: its card, its evidence and its rows."""

from __future__ import annotations

import contextlib
import datetime as dt
import operator
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from cloakhouse.client.cells import utc_text
from cloakhouse.client.names import quoted
from cloakhouse.errors import ConfigurationError, IntegrityError, MissingDependency, NotFound
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.ledger.catalogue import DatasetVersion, ManifestRef
from cloakhouse.stages.publish import KIND, ZONE

if TYPE_CHECKING:
    import pandas as pd

BATCH_ROWS = 65_536
ARROW_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}


class Dataset:
    """One published version of a dataset. Made by `Lake.dataset`; never changes once published.

    Every read compares the files with the release manifest first: size, SHA-256, encryption, row count.
    """

    def __init__(self, lake: Path, version: DatasetVersion, open_store: Callable[[], TableStore]) -> None:
        self._lake = lake
        self._version = version
        self._open_store = open_store
        self._release = read_manifest(lake, version.manifest, KIND)
        self._files = _released_files(version, self._release)

    def __repr__(self) -> str:
        return f"Dataset({self.name}@{self.version}, {self.rows:,} rows)"

    @property
    def name(self) -> str:
        """Name without version."""
        return self._version.dataset

    @property
    def version(self) -> int:
        """Number of this version, counted from 1."""
        return self._version.version

    @property
    def zone(self) -> str:
        """The lake's zone that holds it."""
        return self._version.zone

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return self._version.rows

    @property
    def published_at(self) -> dt.datetime:
        """When the version became visible (UTC)."""
        return self._version.published_at

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the contract."""
        return tuple(column["name"] for column in self._release["columns"])

    def card(self) -> dict[str, Any]:
        """Return the dataset card: purpose, provenance, privacy, quality and limits, as JSON-ready values."""
        return dict(self._release["card"])

    def evidence(self) -> dict[str, Any]:
        """Return the validation that admitted this version: suite results and gate figures, without values.

        Raises IntegrityError when its manifest is missing or changed.
        """
        return read_manifest(self._lake, ManifestRef(**self._release["evidence"]), "validation")

    def describe(self) -> dict[str, Any]:
        """Return what is known of this version, as JSON-ready values.

        Keys: name, version, zone, rows, published (ISO 8601, UTC), columns (name, type and class of each), contract
        (version, digest), engine, card, gate (name, value, threshold, at_most, passed of each figure), parents
        (count of the protected partitions it derives from), evidence (path within the lake).
        """
        card = self.card()
        return {
            "name": self.name,
            "version": self.version,
            "zone": self.zone,
            "rows": self.rows,
            "published": utc_text(self.published_at),
            "columns": [dict(column) for column in self._release["columns"]],
            "contract": dict(self._release["contract"]),
            "engine": card["provenance"]["engine"],
            "card": card,
            "gate": [dict(figure) for figure in card["privacy"]["gate"]],
            "parents": sum(len(partitions) for partitions in self._release["parents"].values()),
            "evidence": self._release["evidence"]["path"],
        }

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Return an iterator over all rows in batches of at most 65,536, so that memory stays bounded.

        `columns` chooses and orders columns (None: all). Raises NotFound and ConfigurationError for columns at
        once; while reading, IntegrityError (files missing or changed), KeyServiceError, StorageError.
        """
        return self._batches(self._chosen(columns), BATCH_ROWS)

    def to_arrow(self, columns: Sequence[str] | None = None, limit: int | None = None) -> pa.Table:
        """Return the rows as an Arrow table, with the types of the release; at most the first `limit` rows.

        With a limit, no row group beyond the last one needed is decrypted. Raises as `batches`, and
        ConfigurationError for a limit that is no whole number of 0 or more.
        """
        chosen, left = self._chosen(columns), _checked_limit(limit)
        rows = BATCH_ROWS if left is None else max(1, min(left, BATCH_ROWS))
        taken: list[pa.RecordBatch] = []
        with contextlib.closing(self._batches(chosen, rows)) as batches:
            for batch in batches:
                if left is not None:
                    batch = batch.slice(0, min(left, batch.num_rows))
                    left -= batch.num_rows
                taken.append(batch)
                if left == 0:
                    break
        return pa.Table.from_batches(taken) if taken else self._empty(chosen)

    def to_pandas(self, columns: Sequence[str] | None = None, limit: int | None = None) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame, converted as `pyarrow.Table.to_pandas` does.

        Integers and booleans with nulls become float64 and object. Raises as `to_arrow`, and MissingDependency
        when pandas isn't installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise MissingDependency(
                where=f"{self.name}@{self.version} as a DataFrame",
                expected="the package pandas",
                found="no such package",
                not_done="nothing was read",
                remedy="pip install 'pandas>=2.3,<2.4', or use to_arrow()",
            ) from None
        frame = self.to_arrow(columns, limit).to_pandas()
        assert isinstance(frame, pd.DataFrame)
        return frame

    def _batches(self, columns: list[str], rows: int) -> Generator[pa.RecordBatch, None, None]:
        store = self._open_store()
        try:
            for entry in self._files:
                for batch in store.batches(entry, columns, rows):
                    yield batch.select(columns)
        except (pa.ArrowException, OSError) as fault:
            raise IntegrityError(
                where=f"{self.name}@{self.version}",
                expected="files that open under the keys of the lake",
                found=f"one that does not ({type(fault).__name__})",
                not_done="the rows after it were not read",
                remedy="restore the lake and its keystore from the same backup",
            ) from None

    def _chosen(self, columns: Sequence[str] | None) -> list[str]:
        """Return the names to read, each once. Raises NotFound for a name that isn't there."""
        if columns is None:
            return list(self.columns)
        if isinstance(columns, str) or not columns:
            self._refuse_columns(ConfigurationError, "a text" if isinstance(columns, str) else "an empty list")
        unknown = [name for name in columns if name not in self.columns]
        if unknown:
            self._refuse_columns(NotFound, f"no column {quoted(unknown[0])}")
        return list(dict.fromkeys(columns))

    def _refuse_columns(self, kind: type[ConfigurationError | NotFound], found: str) -> NoReturn:
        raise kind(
            where=f"columns of {self.name}@{self.version}",
            expected="a list of some of its columns",
            found=found,
            not_done="nothing was read",
            remedy="use some of: " + ", ".join(self.columns),
            code="columns",
        )

    def _empty(self, columns: list[str]) -> pa.Table:
        """Return the table without rows."""
        if self._files:
            return self._open_store().read(self._files[0], columns).select(columns)
        types = {column["name"]: ARROW_TYPES[column["type"]] for column in self._release["columns"]}
        return pa.schema([(name, types[name]) for name in columns]).empty_table()


def _released_files(version: DatasetVersion, release: dict[str, Any]) -> tuple[FileEntry, ...]:
    """Return the files of a release. Raises IntegrityError when one is not of this dataset's own folder."""
    files = tuple(FileEntry(**item) for item in release["files"])
    home = PurePosixPath(ZONE, version.dataset)
    paths = [PurePosixPath(file.path) for file in files]
    inside = all(path.is_relative_to(home) and ".." not in path.parts for path in paths)
    if version.zone != ZONE or release["dataset"] != version.dataset or not inside:
        raise IntegrityError(
            where=f"release of {version.dataset}@{version.version}",
            expected=f"the dataset of that name, with files below {home}",
            found="another dataset, zone or folder",
            not_done="nothing was read",
            remedy="restore the control database and the lake from the same backup",
            code="release",
        )
    return files


def _checked_limit(limit: int | None) -> int | None:
    if limit is None:
        return None
    try:
        number = operator.index(limit)
    except TypeError:
        number = -1
    if number < 0 or isinstance(limit, bool):
        raise ConfigurationError(
            where="limit of rows",
            expected="a whole number, 0 or more, or None for all rows",
            found="a negative number" if isinstance(limit, int) else f"a value of type {type(limit).__name__}",
            not_done="nothing was read",
            remedy="choose another limit",
            code="limit",
        )
    return number
