"""An Arrow table as other libraries have it. Each is imported when first asked for, and named where it is missing."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cloakhouse.errors import ConfigurationError, MissingDependency

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl

REQUIREMENTS = {
    "pandas": "'pandas>=2.3,<2.4'",
    "polars": "'polars>=1.30'",
    "duckdb": "'duckdb>=1.4'",
    "torch": "torch",
    "pyspark": "'pyspark>=4.3,<4.4'",
}


def library(name: str, label: str) -> Any:
    """Return the module `name`. Raises MissingDependency (`missing`) with the pip command."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MissingDependency(
            where=f"{label} for {name}",
            expected=f"the package {name}",
            found="no such package",
            not_done="nothing was read",
            remedy=f"pip install {REQUIREMENTS[name]}, or use to_arrow()",
        ) from None


def as_pandas(table: pa.Table, *, nullable: bool) -> pd.DataFrame:
    """Return `table` as pandas has it: with nullable types of Arrow, or with pandas's own as `to_pandas` chooses.

    With its own, integers and booleans with nulls become float64 and object.
    """
    import pandas as pd

    frame = table.to_pandas(types_mapper=pd.ArrowDtype if nullable else None)
    assert isinstance(frame, pd.DataFrame)
    return frame


def as_polars(table: pa.Table) -> pl.DataFrame:
    """Return `table` as a polars DataFrame, without copying what polars holds as Arrow does."""
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def as_duckdb(table: pa.Table, connection: duckdb.DuckDBPyConnection | None) -> duckdb.DuckDBPyRelation:
    """Return a relation over `table`, which stays in memory; nothing is written to disk.

    DuckDB spills to disk what doesn't fit into memory, in plaintext: on the connection its folder for that is taken
    away (`temp_directory`), unless what it spills is encrypted (`temp_file_encryption`). Without `connection` a new
    database in memory serves. Raises ConfigurationError (`configuration.duckdb`) for one that has spilled before.
    """
    import duckdb

    if connection is None:
        return duckdb.connect(":memory:", config={"temp_directory": ""}).from_arrow(table)
    try:
        if _setting(connection, "temp_directory") and _setting(connection, "temp_file_encryption") is not True:
            connection.execute("SET temp_directory = ''")
    except duckdb.Error as fault:
        raise ConfigurationError(
            where="connection to DuckDB",
            expected="one that keeps plaintext in memory (temp_directory = '', or temp_file_encryption = true)",
            found=f"one on which that can't be set ({type(fault).__name__})",
            not_done="the dataset was not made known to it",
            remedy="open another connection: duckdb.connect(':memory:', config={'temp_directory': ''})",
            code="duckdb",
        ) from None
    return connection.from_arrow(table)


def _setting(connection: duckdb.DuckDBPyConnection, name: str) -> Any:
    return connection.execute(f"SELECT current_setting('{name}')").fetchall()[0][0]


def as_tensors(table: pa.Table, label: str, fill: Mapping[str, float | bool]) -> dict[str, Any]:
    """Return each column of `table`, all of them numbers or booleans, as a tensor of one dimension.

    Integers, floats and booleans keep their types, decimals become float64. A missing number becomes NaN in a column of
    floats or decimals; `fill` says what it becomes in a column by name. Raises ConfigurationError
    (`configuration.tensor`) for a column of another type, and for missing values in integers and booleans without fill.
    """
    return {name: _tensor(name, table.column(name), label, fill.get(name)) for name in table.column_names}


def is_numeric(kind: pa.DataType) -> bool:
    """Return whether columns of this type can be tensors."""
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


def _tensor(name: str, column: pa.ChunkedArray, label: str, fill: float | bool | None) -> Any:
    import torch

    if not is_numeric(column.type):
        raise _no_tensor(label, name, "numbers or booleans", str(column.type), "encode the column, or leave it out")
    values = column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column
    if fill is not None and values.null_count:
        try:
            values = values.fill_null(pa.scalar(fill).cast(values.type))
        except (pa.ArrowException, TypeError, OverflowError):
            raise _no_tensor(label, name, f"a fill of type {values.type}", type(fill).__name__, "correct it") from None
    if values.null_count and not pa.types.is_floating(values.type):
        found = f"{values.null_count:,} missing values, which a tensor of {values.type} can't hold"
        raise _no_tensor(label, name, "a value in each row", found, f"say what they become: fill={{{name!r}: 0}}")
    return torch.from_numpy(values.to_numpy().copy())


def _no_tensor(label: str, name: str, expected: str, found: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        where=f"{label}, column {name} as a tensor",
        expected=expected,
        found=found,
        not_done="no tensor was made",
        remedy=remedy,
        code="tensor",
    )
