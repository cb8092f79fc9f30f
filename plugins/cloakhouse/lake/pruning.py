"""Which row groups of a file can hold no row that a filter asks for, told from the statistics of its columns.

Statistics are part of a column's encrypted metadata. They are read by our own parser, and only those of the filter's
columns, whose keys the reader opened before: pyarrow ends the process over a column's metadata that it can't decrypt.

A group is left out where the smallest and the largest value of one column rule every row out. NaN and missing values
are in no statistics: a missing value fulfils no condition, and NaN none but `!=` and `not in`, for which no group is
ever left out. Of a type that isn't read here (decimals, binary) every group is read.

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (Statistics, ColumnOrder)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import pyarrow as pa

from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.filters import Condition, RowFilter, mask
from cloakhouse.lake.footer import Chunk, FileCrypto, read_crypto
from cloakhouse.lake.modules import FormatError, ModuleType, aad_of, framed, unseal
from cloakhouse.lake.thrift import Struct, ThriftError, read_struct

STATISTICS, MAX_VALUE, MIN_VALUE = 12, 5, 6  # fields of ColumnMetaData and of its Statistics
EQUAL = (("<=", 0), (">=", 1))
RANGES: Mapping[str, tuple[tuple[str, int], ...]] = {  # what must hold of the smallest (0) or the largest value (1)
    "=": EQUAL,
    "==": EQUAL,
    "in": EQUAL,
    "<": (("<", 0),),
    "<=": (("<=", 0),),
    ">": ((">", 1),),
    ">=": ((">=", 1),),
}

NUMBERS: Mapping[pa.DataType, tuple[str, pa.DataType]] = {  # how a value is packed, and as what it is stored
    pa.bool_(): ("<?", pa.bool_()),
    **{kind: ("<i", pa.int32()) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.date32())},
    **{kind: ("<q", pa.int64()) for kind in (pa.int64(), pa.timestamp("us"))},
    pa.float32(): ("<f", pa.float32()),
    pa.float64(): ("<d", pa.float64()),
}


def groups_to_read(stream: BinaryIO, size: int, schema: pa.Schema, where: RowFilter, ring: KeyRing) -> list[int]:
    """Return the numbers of the row groups in which a row may fulfil `where`: all that are not ruled out.

    `stream` is an encrypted file of `size` bytes with the columns of `schema`. Raises FormatError for tags that don't
    hold; KeyServiceError, AccessRefused.
    """
    crypto = read_crypto(stream, size)
    chunks = crypto.open_footer(ring)
    groups = set(range(1 + max((chunk.group for chunk in chunks), default=-1)))
    for condition in where.conditions:
        column, operator, _ = condition
        decode = _decoder(schema.field(column).type)
        if operator not in RANGES or decode is None:
            continue
        for chunk in chunks:
            if chunk.column == column and chunk.group in groups and _ruled_out(crypto, chunk, ring, decode, condition):
                groups.discard(chunk.group)
    return sorted(groups)


def _ruled_out(
    crypto: FileCrypto, chunk: Chunk, ring: KeyRing, decode: Callable[[bytes, bytes], pa.Array], condition: Condition
) -> bool:
    found = _metadata(crypto, chunk, ring).get(STATISTICS, {})
    if MIN_VALUE not in found or MAX_VALUE not in found:
        return False
    _, operator, value = condition
    ends = decode(found[MIN_VALUE], found[MAX_VALUE])
    return not any(_within(ends, RANGES[operator], one) for one in (value if operator == "in" else (value,)))


def _within(ends: pa.Array, tests: tuple[tuple[str, int], ...], value: Any) -> bool:
    return all(mask(ends, operator, value)[place].as_py() is not False for operator, place in tests)


def _metadata(crypto: FileCrypto, chunk: Chunk, ring: KeyRing) -> Struct:
    if chunk.sealed is None or chunk.material is None:
        return chunk.metadata or {}
    aad = aad_of(crypto.file, ModuleType.COLUMN_METADATA, chunk.group, chunk.ordinal)
    try:
        return read_struct(unseal(chunk.material.open(ring), framed(chunk.sealed), aad))[0]
    except ThriftError as fault:
        raise FormatError(str(fault)) from None


def _decoder(kind: pa.DataType) -> Callable[[bytes, bytes], pa.Array] | None:
    """Return what makes an array of `kind` of the smallest and the largest value's bytes (PLAIN encoding)."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return lambda *ends: pa.array([end.decode() for end in ends], kind)
    if kind not in NUMBERS:
        return None
    form, stored = NUMBERS[kind]
    return lambda *ends: pa.array([_number(form, end) for end in ends], stored).cast(kind)


def _number(form: str, raw: bytes) -> Any:
    try:
        return struct.unpack(form, raw)[0]
    except struct.error:
        raise FormatError("a statistic has another length than its type") from None
