"""The rows of one published version, in the form that a model team works with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cloakhouse.client import conversions
from cloakhouse.client.place import Place
from cloakhouse.client.rows import Rows
from cloakhouse.client.selection import Selection, select
from cloakhouse.lake.filters import Condition
from cloakhouse.ledger.versions import DatasetVersion

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    from pyspark.sql import DataFrame, SparkSession

Where = Sequence[Condition] | None


class Readable:
    """What reads the rows of a version; `Dataset` adds what is known of it.

    All methods that read rows take the same arguments:

    - `columns`: names of columns, in the order wanted (None: all that this reader sees);
    - `where`: (column, operator, value) triples, all of which must hold: = != < <= > >= in, not in. A missing value
      fulfils none. Row groups that can hold no such row are not decrypted;
    - `limit`: number of rows at most, from the first; no row group beyond the last one needed is decrypted;
    - `progress`: a bar on standard error: True, False, or None for reads that take a while on a terminal.

    They raise, before anything is decrypted: ConfigurationError and NotFound (columns, conditions, limits that there
    aren't), AccessRefused (columns that this reader may not see), MissingDependency (a library that isn't installed);
    while reading: IntegrityError (files missing or changed), VersionWithdrawn and VersionGone (meanwhile),
    AccessRefused and KeyServiceError (keys), StorageError.

    Columns that the access policy masks come as nulls, or as the text `***`; their keys are never asked for.
    """

    def __init__(self, place: Place, version: DatasetVersion) -> None:
        self._place = place
        self._version = version
        self._release = place.release(version)
        self._access = place.access(self._release)
        self._recorded: set[str] = set()
        self._rows = Rows(
            label=version.name,
            files=tuple(self._release.files),
            types={column["name"]: column["type"] for column in self._release.columns},
            shown=self._access.columns,
            tables=place.tables,
            lost=lambda _entry: place.refusal(version),
        )

    def batches(
        self, columns: Sequence[str] | None = None, *, where: Where = None, limit: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Return an iterator over the rows in record batches of at most 65,536, so that memory stays bounded."""
        return self._rows.batches(self._selected(columns, where, limit))

    def to_arrow(
        self,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        *,
        where: Where = None,
        progress: bool | None = None,
    ) -> pa.Table:
        """Return the rows as an Arrow table, with the types of the release."""
        return self._rows.table(self._selected(columns, where, limit), progress)

    def to_pandas(
        self,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        *,
        where: Where = None,
        progress: bool | None = None,
        nullable: bool = False,
    ) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame.

        With `nullable` the columns keep the types of the release (`pandas.ArrowDtype`), nulls included; without,
        pandas's own are taken, in which integers and booleans with nulls become float64 and object.
        """
        conversions.library("pandas", self._version.name)
        return conversions.as_pandas(self.to_arrow(columns, limit, where=where, progress=progress), nullable=nullable)

    def to_polars(
        self,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        *,
        where: Where = None,
        progress: bool | None = None,
    ) -> pl.DataFrame:
        """Return the rows as a polars DataFrame, over the same memory as the Arrow table where polars can."""
        conversions.library("polars", self._version.name)
        return conversions.as_polars(self.to_arrow(columns, limit, where=where, progress=progress))

    def to_duckdb(
        self,
        connection: duckdb.DuckDBPyConnection | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        *,
        where: Where = None,
        progress: bool | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """Return the rows as a DuckDB relation, on `connection` or on a new database in memory.

        The rows stay in memory, as an Arrow table. On the connection DuckDB may no longer spill plaintext to disk
        (`temp_directory`); a query that needs more memory than it has is then refused by DuckDB. Raises
        ConfigurationError (`configuration.duckdb`) for a connection on which that can't be set.
        """
        conversions.library("duckdb", self._version.name)
        return conversions.as_duckdb(self.to_arrow(columns, limit, where=where, progress=progress), connection)

    def to_torch(
        self,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        *,
        where: Where = None,
        progress: bool | None = None,
        fill: Mapping[str, float | bool] | None = None,
    ) -> dict[str, Any]:
        """Return the rows as one tensor of one dimension for each column, by name.

        Without `columns` all clear columns of numbers and booleans are taken. Integers, floats and booleans keep their
        types (int64 gives torch.int64), decimals become float64. A missing value becomes what `fill` says for its
        column, else NaN in floats and decimals. Raises ConfigurationError (`configuration.tensor`) for a column of
        another type, and for integers and booleans with missing values that `fill` doesn't name.
        """
        conversions.library("torch", self._version.name)
        if columns is None:
            schema = self._rows.schema(self._selected(self._access.readable, None, None))
            columns = [field.name for field in schema if conversions.is_numeric(field.type)]
        table = self.to_arrow(columns, limit, where=where, progress=progress)
        return conversions.as_tensors(table, self._version.name, fill or {})

    def to_spark(
        self,
        spark: SparkSession,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        *,
        where: Where = None,
    ) -> DataFrame:
        """Return the rows as a Spark DataFrame with one partition per file, decrypted by the workers when needed.

        Workers open the key service with the same identity, so its file must be there on their machines. Raises
        ConfigurationError (`configuration.spark`) for a session without spark.io.encryption.enabled, which would write
        spilled rows in plaintext, and for one of Spark Connect.
        """
        conversions.library("pyspark", self._version.name)
        from cloakhouse.client.spark_reading import as_spark

        return as_spark(self._rows, self._selected(columns, where, limit), self._place.settings, spark)

    def _selected(self, columns: Sequence[str] | None, where: Where, limit: int | None) -> Selection:
        """Return the checked choice, once it is recorded that its columns are about to be read."""
        chosen = select(self._version.name, self._access.columns, columns, where, limit)
        if not self._recorded.issuperset(chosen.touched):
            self._place.record(self._access, self._version.zone, chosen.touched)
            self._recorded.update(chosen.touched)
        return chosen
