"""The rows of a version as a Spark DataFrame: decrypted inside the workers, file by file; the driver sees none.

The plan that Spark sees is a range of file numbers. Workers get names and settings, open the key service themselves
with the same identity, and compare each file with the release, as everywhere.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cloakhouse.client.rows import Rows
from cloakhouse.client.selection import Selection
from cloakhouse.errors import CloakhouseError, ConfigurationError, internal
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ENCRYPTION = "spark.io.encryption.enabled"


def as_spark(rows: Rows, selection: Selection, settings: Settings, spark: SparkSession) -> DataFrame:
    """Return the chosen rows as a DataFrame of one partition per file; nothing is read before an action needs it.

    The schema is read from the first file. Raises ConfigurationError (`configuration.spark`) for a session that would
    write shuffled and spilled rows in plaintext, and for one of Spark Connect; in workers as `Rows.batches`.
    """
    _require_encryption(rows.label, spark)
    schema = pa.schema([(field.name, _for_spark(field.type)) for field in rows.schema(selection)])
    work = _Work(rows, selection, settings)
    _ship_package(settings, spark)
    count = len(rows.files)
    numbers = spark.range(0, count, 1, numPartitions=max(count, 1))
    frame = numbers.mapInArrow(work.read, _as_struct(schema))
    return frame if selection.limit is None else frame.limit(min(selection.limit, 2**31 - 1))


class _Work:
    """What a worker does: pickled with names and settings, never with keys or rows."""

    def __init__(self, rows: Rows, selection: Selection, settings: Settings) -> None:
        self._rows = {"label": rows.label, "files": rows.files, "types": dict(rows.types), "shown": dict(rows.shown)}
        self._selection = selection
        self._settings = settings.for_workers()

    def read(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the files whose numbers are in `batches`. Raises CloakhouseError alone: Spark logs it."""
        try:
            rows = self._open()
            for batch in batches:
                for number in batch.column(0).to_pylist():
                    for found in rows.of_file(rows.files[number], self._selection):
                        yield _dressed(found)
        except CloakhouseError:
            raise
        except Exception as fault:  # noqa: BLE001 - its text may quote values
            raise internal("reading on Spark", fault) from None

    def _open(self) -> Rows:
        from cloakhouse.lake.parquet import TableStore
        from cloakhouse.lake.store.opening import open_store
        from cloakhouse.stages.reading_access import reading_ring

        settings = Settings.from_dict(self._settings)
        store = TableStore(open_store(settings), reading_ring(settings))
        fields: dict[str, Any] = self._rows
        return Rows(**fields, tables=lambda: store, lost=lambda _entry: None)


def _for_spark(kind: pa.DataType) -> pa.DataType:
    """Return the type in which Spark takes a column of `kind`."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    return pa.binary() if pa.types.is_fixed_size_binary(kind) else kind


def _dressed(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        column if (kind := _for_spark(column.type)) == column.type else column.cast(kind) for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _as_struct(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def _require_encryption(label: str, spark: SparkSession) -> None:
    from pyspark.sql import SparkSession as Classic

    if not isinstance(spark, Classic) or not hasattr(spark, "_jsparkSession"):
        raise _unusable(label, "a SparkSession with a driver in this process", "another (such as of Spark Connect)")
    if str(spark.conf.get(ENCRYPTION, "false")).lower() != "true":
        raise _unusable(label, f"a session with {ENCRYPTION}=true", "one that writes spilled rows in plaintext")


def _unusable(label: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where=f"{label} on Spark",
        expected=expected,
        found=found,
        not_done="nothing was read",
        remedy=f"stop the session and build it with .config('{ENCRYPTION}', 'true') and "
        ".config('spark.io.encryption.keySizeBits', '256')",
        code="spark",
    )


def _ship_package(settings: Settings, spark: SparkSession) -> None:
    """Have workers on other machines import this package; those of a local session do so anyway."""
    context = spark.sparkContext
    if str(context.master).startswith("local") or getattr(context, "_cloakhouse_shipped", False):
        return
    root = Path(__file__).resolve().parents[1]
    folder = Path(tempfile.mkdtemp(prefix="cloakhouse-package-", dir=settings.temporary()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # Spark serves the file as long as it runs
    target = folder / "cloakhouse.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(root.parent))
    context.addPyFile(str(target))
    context._cloakhouse_shipped = True
