"""The canonical byte form of a value: what a keyed token is computed over.

| Arrow type | bytes |
| --- | --- |
| string, large_string, string_view | the UTF-8 bytes as they are (nothing trimmed or folded: see `normalise`) |
| binary, large_binary, binary_view, fixed_size_binary | the bytes as they are |
| int8 to int64, uint8 to uint64 up to 2^63 - 1 | FF 69 ("i"), then 8 bytes, big-endian, two's complement |
| uint64 from 2^63 | FF 75 ("u"), then 8 bytes, big-endian |
| date32 | FF 64 ("d"), then 4 bytes, big-endian, two's complement: days since 1970-01-01 |
| decimal of a whole number from -2^63 to 2^64 - 1 | the integer's form: 7.00 is 7 |
| any other decimal | FF 6E ("n"), then its shortest plain decimal text: -0.5, 12.25; no exponent, no + |
| null of any of these | stays null |

So an integer's token doesn't depend on the width of its column nor a decimal's on its scale, integer 7 is not the
text "7", and no tagged form is ever a text, because FF occurs nowhere in UTF-8. Text that isn't UTF-8 is refused: it
could pass for a tagged form. Floats are refused, as one number has several (0.1 + 0.2 is not 0.3, -0.0 is 0.0, NaN is
not itself); booleans and times have no agreed form. A change of this table changes tokens: it needs a new
NORMALISATION_VERSION and a new key. `uncanonical` holds the way back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.tokens.arrays import UNNAMED, ByteColumn, byte_array, byte_column, is_text, refuse, require, validity
from cloakhouse.tokens.decimals import decimal_forms

NORMALISATION_VERSION = 2
"""Version of the table above and of the one in `normalise`, to be recorded wherever tokens are stored."""
EXPECTED = "a text, binary, integer, decimal or date32 column (a float has several forms of one number)"
"""What a refusal of another type says."""
INTEGER_TAG, UNSIGNED_TAG, DATE_TAG = b"\xffi", b"\xffu", b"\xffd"
_TAG = 0xFF  # never a byte of UTF-8 text


def is_canonical(kind: Any) -> bool:
    """Tell whether values of this Arrow type have a canonical byte form."""
    types = pa.types
    others = (types.is_integer, types.is_date32, types.is_decimal, types.is_null)
    return is_text(kind) or is_bytes(kind) or any(check(kind) for check in others)


def is_bytes(kind: Any) -> bool:
    """Tell whether an Arrow type holds bytes (binary, large_binary, binary_view, fixed_size_binary)."""
    types = pa.types
    checks = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    return any(check(kind) for check in checks)


def canonical_form(values: pa.Array, *, column: str = UNNAMED) -> ByteColumn:
    """Return the canonical bytes of every value, with the column's validity.

    Text and binary arrays are viewed without a copy; a dictionary is decoded first. What lies under a
    null is unspecified. Raises TreatmentError for a type without a canonical form, and for text that isn't UTF-8.
    """
    require(values, is_canonical, column, EXPECTED)
    kind = values.type
    if pa.types.is_dictionary(kind):
        return canonical_form(values.dictionary_decode(), column=column)
    if pa.types.is_null(kind):
        return byte_column(values.cast(pa.binary()))
    if pa.types.is_integer(kind) or pa.types.is_date32(kind):
        return _tagged(values)
    if pa.types.is_decimal(kind):
        return byte_column(decimal_forms(values, lambda whole: byte_array(_tagged(whole), pa.large_binary())))
    if pa.types.is_fixed_size_binary(kind):
        return _fixed(values)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        values = values.cast(pa.large_string() if is_text(kind) else pa.large_binary())
    view = byte_column(values)
    if is_text(kind):
        require_utf8(values, view, column)
    return view


def signed_numbers(values: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None] | None:
    """Return integers that all have the form FF 69 as int64[n] (0 under null) and their validity; else None."""
    if not pa.types.is_integer(values.type):
        return None
    numbers = _numbers(values)
    if numbers.dtype == np.uint64 and len(numbers) and numbers.max() >= 1 << 63:
        return None
    return np.ascontiguousarray(numbers.astype(np.int64, copy=False)), validity(values)


def require_utf8(values: pa.Array, view: ByteColumn, column: str) -> None:
    """Raise TreatmentError unless every string is valid UTF-8. ASCII is told by its greatest byte, almost for free."""
    used = view.data[view.offsets[0] : view.offsets[-1]]
    if used.max(initial=0) < 0x80:
        return
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:  # its text may quote
        raise refuse(
            column,
            code="text",
            expected="UTF-8 text",
            found=f"bytes that aren't, among {len(values)} values",
            remedy="decode the column with its true encoding while parsing, or declare it as binary",
        ) from None


def _numbers(values: pa.Array) -> NDArray[Any]:
    numbers: NDArray[Any] = (values if values.null_count == 0 else pc.fill_null(values, 0)).to_numpy()
    return numbers


def _tagged(values: pa.Array) -> ByteColumn:
    is_date = pa.types.is_date32(values.type)
    numbers = _numbers(values.view(pa.int32()) if is_date else values)
    width = 4 if is_date else 8  # bytes
    sign = "u" if numbers.dtype == np.uint64 else "i"
    forms = np.empty(len(numbers), [("tag", np.uint8), ("kind", np.uint8), ("number", f">{sign}{width}")])
    forms["tag"] = _TAG
    forms["kind"] = DATE_TAG[1] if is_date else INTEGER_TAG[1]
    forms["number"] = numbers
    if sign == "u":
        forms["kind"][numbers >= np.uint64(1 << 63)] = UNSIGNED_TAG[1]
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
