"""Named arrays and a JSON header in one Arrow IPC stream: what tasks answer with, and what a model is stored as.

The stream has one record batch of one row. Each column is a list with all numbers of an array in C order; the field's
metadata holds its shape as JSON (`shape`), the schema's metadata the header (`header`). Reading it runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cloakhouse.errors import IntegrityError

Arrays = dict[str, npt.NDArray[Any]]


def pack(arrays: Mapping[str, npt.NDArray[Any] | pa.Array], header: Mapping[str, Any] | None = None) -> bytes:
    """Return `arrays` (numpy of any shape, or Arrow of one column) and `header` (JSON-ready) as a stream."""
    fields, columns = [], []
    for name, array in arrays.items():
        flat = array if isinstance(array, pa.Array) else pa.array(np.ravel(array))
        shape = [len(flat)] if isinstance(array, pa.Array) else list(array.shape)
        fields.append(pa.field(name, pa.large_list(flat.type), metadata={"shape": json.dumps(shape)}))
        columns.append(pa.LargeListArray.from_arrays(pa.array([0, len(flat)], pa.int64()), flat))
    schema = pa.schema(fields, metadata={"header": json.dumps(header or {}, sort_keys=True)})
    batch = (
        pa.RecordBatch.from_arrays(columns, schema=schema)
        if columns
        else pa.RecordBatch.from_struct_array(pa.array([{}], pa.struct([]))).replace_schema_metadata(schema.metadata)
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def unpack_columns(content: bytes) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    """Return the arrays as Arrow columns, and the header. Raises IntegrityError for bytes that are no such stream."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(content)) as reader:
            table = reader.read_all()
        return {n: table.column(n).chunk(0).values for n in table.column_names}, json.loads(
            table.schema.metadata[b"header"]
        )
    except (pa.ArrowException, KeyError, ValueError, TypeError) as fault:
        raise _broken(type(fault).__name__) from None


def unpack(content: bytes) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays in their shapes, and the header. Raises IntegrityError for bytes that are no such stream."""
    columns, header = unpack_columns(content)
    with pa.ipc.open_stream(pa.py_buffer(content)) as reader:
        shapes = {field.name: json.loads(field.metadata[b"shape"]) for field in reader.schema}
    try:
        return {n: c.to_numpy(zero_copy_only=False).reshape(shapes[n]) for n, c in columns.items()}, header
    except ValueError as fault:
        raise _broken(type(fault).__name__) from None


def _broken(found: str) -> IntegrityError:
    return IntegrityError(
        where="arrays of a dp-marginals model",
        expected="an Arrow IPC stream with a JSON header",
        found=f"other bytes ({found})",
        not_done="nothing was counted or sampled from them",
        remedy="fit the model again, or take the artifact from where it was signed",
    )
