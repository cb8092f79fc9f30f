"""What the treatments share: chunked and dictionary input, views of text buffers, typed refusals of a column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.errors import TreatmentError

UNNAMED = "(unnamed column)"
"""What a refusal calls a column whose name the caller did not give."""

_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


@dataclass(frozen=True)
class ByteColumn:
    """A column as bytes: value i is `data[offsets[i]:offsets[i + 1]]`."""

    offsets: NDArray[np.signedinteger[Any]]
    """int32 or int64, one more than there are values, ascending; the first need not be 0."""
    data: NDArray[np.uint8]
    """The bytes of all values; may hold more, before and after."""
    valid: NDArray[np.bool_] | None
    """False where the value is null; None if there is no null."""

    def __len__(self) -> int:
        return len(self.offsets) - 1


def refuse(column: str, *, code: str, expected: str, found: str, remedy: str) -> TreatmentError:
    """Return the refusal of a whole column; the caller raises it. `found` must describe, never quote."""
    return TreatmentError(
        code=code,
        where=f"column {column}",
        expected=expected,
        found=found,
        not_done="no value of the column was treated",
        remedy=remedy,
    )


def require(values: Any, accepted: Callable[[Any], bool], column: str, expected: str) -> None:
    """Raise TreatmentError unless `values.type`, or the type of its dictionary, is accepted."""
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not accepted(kind):
        raise refuse(
            column,
            code="type",
            expected=expected,
            found=f"type {kind}",
            remedy="cast the column while parsing, or choose another treatment for it in the contract",
        )


def is_text(kind: Any) -> bool:
    """Tell whether an Arrow type holds UTF-8 text (string, large_string, string_view)."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def per_chunk(
    values: pa.Array | pa.ChunkedArray, treat: Callable[[pa.Array], pa.Array], *, on_dictionary: bool
) -> pa.Array | pa.ChunkedArray:
    """Return `treat` of every chunk: an Array for an Array, a ChunkedArray for a ChunkedArray.

    With `on_dictionary`, a dictionary no longer than its chunk is treated once per entry and then looked
    up; this needs a treatment that accepts every value, as a dictionary may hold entries that no row uses,
    and that leaves null as null.
    `treat` itself never sees a dictionary or a view type.
    """

    def one(chunk: pa.Array) -> pa.Array:
        if not pa.types.is_dictionary(chunk.type):
            return treat(chunk.cast(_VIEWS.get(chunk.type, chunk.type)))
        if on_dictionary and len(chunk.dictionary) <= len(chunk):
            return one(chunk.dictionary).take(chunk.indices)
        return one(chunk.dictionary_decode())

    if not isinstance(values, pa.ChunkedArray):
        return one(values)
    chunks = [one(chunk) for chunk in values.chunks] or [one(_empty(values.type))]
    return pa.chunked_array(chunks)


def _empty(kind: Any) -> pa.Array:
    value_type = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.array([], value_type)


def validity(values: pa.Array) -> NDArray[np.bool_] | None:
    """Return bool[n], False where `values` is null, or None if it has no null."""
    if values.null_count == 0:
        return None
    mask: NDArray[np.bool_] = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return mask


def bitmap(valid: NDArray[np.bool_] | None) -> pa.Buffer | None:
    """Return Arrow's validity bitmap (least significant bit first) of `valid`, or None for no nulls."""
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def fresh(size: int) -> NDArray[np.uint8]:
    """Return uint8[size] of unspecified content for a result that is written in full.

    It comes from Arrow's memory pool, which keeps large pieces to use them again: pages that the system has to hand out
    cost as much as the cipher.
    """
    return np.frombuffer(pa.allocate_buffer(size), np.uint8)


def byte_column(values: pa.Array) -> ByteColumn:
    """Return a view, without a copy, of a string, large_string, binary or large_binary array."""
    wide = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    dtype = np.dtype(np.int64 if wide else np.int32)
    _, offsets, data = values.buffers()
    if len(values) == 0 or offsets is None:
        return ByteColumn(np.zeros(1, dtype), np.zeros(0, np.uint8), None)
    starts = np.frombuffer(offsets, dtype, len(values) + 1, values.offset * dtype.itemsize)
    content = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return ByteColumn(starts, content, validity(values))


def byte_array(column: ByteColumn, kind: Any) -> pa.Array:
    """Return the Arrow array of type `kind` (its offsets as wide as the column's) over `column`'s buffers."""
    null_count = 0 if column.valid is None else int(np.count_nonzero(~column.valid))
    buffers = [bitmap(column.valid), pa.py_buffer(column.offsets), pa.py_buffer(column.data)]
    return pa.Array.from_buffers(kind, len(column), buffers, null_count)
