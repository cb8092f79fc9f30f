"""The canonical byte form of a value: what a keyed token is computed over.

| Arrow type | bytes |
| --- | --- |
| string, large_string, string_view | the UTF-8 bytes as they are (nothing trimmed, folded or normalized) |
| binary, large_binary, binary_view, fixed_size_binary | the bytes as they are |
| int8 to int64, uint8 to uint64 up to 2^63 - 1 | FF 69 ("i"), then 8 bytes, big-endian, two's complement |
| uint64 from 2^63 | FF 75 ("u"), then 8 bytes, big-endian |
| date32 | FF 64 ("d"), then 4 bytes, big-endian, two's complement: days since 1970-01-01 |
| null of any of these | stays null |

So an integer's token doesn't depend on the width of its column, integer 7 is not the text "7", and no
tagged form is ever a text, because FF occurs nowhere in UTF-8. Other types (floats, decimals, booleans,
times) have no agreed form and are refused. A change of this table changes tokens: it needs a new
NORMALISATION_VERSION and a new key.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.tokens.arrays import UNNAMED, ByteColumn, byte_column, is_text, require, validity

NORMALISATION_VERSION = 1
"""Version of the table above, to be recorded wherever tokens are stored."""

_TAG = 0xFF  # never a byte of UTF-8 text


def is_canonical(kind: Any) -> bool:
    """Tell whether values of this Arrow type have a canonical byte form."""
    types = pa.types
    binary = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    others = (types.is_integer, types.is_date32, types.is_null)
    return is_text(kind) or any(check(kind) for check in binary + others)


def canonical_form(values: pa.Array, *, column: str = UNNAMED) -> ByteColumn:
    """Return the canonical bytes of every value, with the column's validity.

    Text and binary arrays are viewed without a copy; a dictionary is decoded first. What lies under a
    null is unspecified. Raises TreatmentError for a type without a canonical form.
    """
    require(values, is_canonical, column, "a text, binary, integer or date32 column")
    kind = values.type
    if pa.types.is_dictionary(kind):
        return canonical_form(values.dictionary_decode(), column=column)
    if pa.types.is_null(kind):
        return byte_column(values.cast(pa.binary()))
    if pa.types.is_integer(kind) or pa.types.is_date32(kind):
        return _tagged(values)
    if pa.types.is_fixed_size_binary(kind):
        return _fixed(values)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return byte_column(values.cast(pa.large_binary()))
    return byte_column(values)


def _tagged(values: pa.Array) -> ByteColumn:
    is_date = pa.types.is_date32(values.type)
    numbers = pc.fill_null(values.view(pa.int32()) if is_date else values, 0).to_numpy()
    width = 4 if is_date else 8  # bytes
    sign = "u" if numbers.dtype == np.uint64 else "i"
    forms = np.empty(len(numbers), [("tag", np.uint8), ("kind", np.uint8), ("number", f">{sign}{width}")])
    forms["tag"] = _TAG
    forms["kind"] = ord("d") if is_date else ord("i")
    forms["number"] = numbers
    if sign == "u":
        forms["kind"][numbers >= np.uint64(1 << 63)] = ord("u")
    return ByteColumn(_steps(len(numbers), 2 + width), forms.view(np.uint8), validity(values))


def _fixed(values: pa.Array) -> ByteColumn:
    width = values.type.byte_width
    data = values.buffers()[1]
    size = len(values) * width
    empty = data is None or size == 0
    content = np.zeros(0, np.uint8) if empty else np.frombuffer(data, np.uint8, size, values.offset * width)
    return ByteColumn(_steps(len(values), width), content, validity(values))


def _steps(rows: int, width: int) -> NDArray[np.int64]:
    return np.arange(rows + 1, dtype=np.int64) * width
