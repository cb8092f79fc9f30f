"""Rows of a released dataset in a plain file: written beside its place, fsynced, and made visible in one step."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from cloakhouse.client.meter import Meter
from cloakhouse.errors import AccessRefused, ConfigurationError
from cloakhouse.keys.files import fsync_folder, new_file, storage_error, temporary_beside
from cloakhouse.stages.reading_access import RELEASED

if TYPE_CHECKING:
    from cloakhouse.client.dataset import Dataset, Where

NOT_DONE = "no file was written"


def write_plain(
    dataset: Dataset,
    file: Path,
    *,
    columns: Sequence[str] | None = None,
    where: Where = None,
    limit: int | None = None,
    force: bool = False,
) -> int:
    """Write rows of `dataset` to `file` (mode 0600), in the form that its ending says, and return how many.

    Memory holds a batch. Raises ConfigurationError (`configuration.export`) for another ending, and for a file that is
    there already unless `force`; AccessRefused (`access.export`) for a dataset of a zone that isn't released;
    StorageError; and what reading raises (see `Dataset`).
    """
    opened = WRITERS.get(file.suffix.lower())
    if opened is None:
        raise _unusable(file, "a file that ends with " + ", ".join(WRITERS), "another ending", "choose another name")
    if dataset.zone not in RELEASED:
        raise AccessRefused(
            where=f"{dataset.name}@{dataset.version} in zone {dataset.zone}",
            expected="a dataset of one of the zones " + ", ".join(RELEASED),
            found="rows of people",
            not_done=NOT_DONE,
            remedy="read it within the lake (`cloakhouse read`)",
            code="export",
        )
    if not force and os.path.lexists(file):
        raise _taken(file)
    schema = dataset.to_arrow(columns, limit=0).schema
    rows = 0
    with (
        appearing(file, force=force) as stream,
        opened(stream, schema) as write,
        Meter(file.name, dataset.rows, None) as meter,
    ):
        for batch in dataset.batches(columns, where=where, limit=limit):
            write(batch)
            rows += batch.num_rows
            meter.advance(batch.num_rows)
    return rows


@contextlib.contextmanager
def appearing(file: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Yield a stream whose bytes become `file` as the block ends, or vanish when it fails.

    Without `force` a file that appeared meanwhile stays, and it is refused. Killed, it leaves `.<name>.<hex>.tmp`.
    """
    temporary = temporary_beside(file)
    try:
        with new_file(temporary) as stream:
            yield stream
        if force:
            temporary.replace(file)
        else:
            os.link(temporary, file)
        fsync_folder(file.parent)
    except FileExistsError:
        raise _taken(file) from None
    except OSError as fault:
        raise storage_error(fault, file, NOT_DONE) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _parquet(stream: BinaryIO, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        yield writer.write_batch


@contextlib.contextmanager
def _arrow(stream: BinaryIO, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], Any]]:
    with pa.ipc.new_file(stream, schema) as writer:
        yield writer.write_batch


@contextlib.contextmanager
def _csv(stream: BinaryIO, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], Any]]:
    """Write RFC 4180 in UTF-8: texts are quoted, a missing value is an empty field, binary is hexadecimal."""
    from pyarrow import csv

    binary = [index for index, field in enumerate(schema) if _is_binary(field.type)]
    for index in binary:
        schema = schema.set(index, schema.field(index).with_type(pa.string()))
    with csv.CSVWriter(stream, schema) as writer:

        def write(batch: pa.RecordBatch) -> None:
            for index in binary:
                texts = [None if value is None else value.hex() for value in batch.column(index).to_pylist()]
                batch = batch.set_column(index, schema.field(index), pa.array(texts, pa.string()))
            writer.write_batch(batch)

        yield write


WRITERS = {".parquet": _parquet, ".csv": _csv, ".arrow": _arrow}


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _taken(file: Path) -> ConfigurationError:
    return _unusable(
        file, "a name that is free", "a file of that name", "choose another name, or replace it with --force"
    )


def _unusable(file: Path, expected: str, found: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        where=file.name, expected=expected, found=found, not_done=NOT_DONE, remedy=remedy, code="export"
    )
