"""Thrift's compact protocol, read only and without a schema: what Parquet's footers are written in.

A struct becomes a dict from field id to value; bool, int, float, bytes, list (sets too), dict (maps) and struct are
the values. Meaning is left to the caller. Every size is checked against the bytes that are left before anything is
made of it, depth and number of values are bounded: bytes of any kind give values or a ThriftError, in bounded time.

Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import struct
from typing import Any

MAX_DEPTH = 16
MAX_VALUES = 1_000_000
MAX_VARINT = 10  # bytes of a 64-bit number
STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(13)

Struct = dict[int, Any]


class ThriftError(ValueError):
    """The bytes are no struct of the compact protocol, or pass a bound."""


def read_struct(data: bytes, max_values: int = MAX_VALUES) -> tuple[Struct, int]:
    """Return the struct at the start of `data` and its length (bytes). Raises ThriftError."""
    reader = _Reader(data, max_values)
    try:
        return reader.struct(0), reader.at
    except IndexError:
        raise ThriftError("the bytes end within a struct") from None


class _Reader:
    def __init__(self, data: bytes, max_values: int) -> None:
        self.at = 0
        self._data = data
        self._left = max_values

    def struct(self, depth: int) -> Struct:
        if depth > MAX_DEPTH:
            raise ThriftError("structs are nested too deeply")
        fields: Struct = {}
        field = 0
        while head := self._byte():
            kind, step = head & 0x0F, head >> 4
            field = field + step if step else self._zigzag()
            fields[field] = self._value(kind, depth, in_struct=True)
        return fields

    def _value(self, kind: int, depth: int, *, in_struct: bool = False) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ThriftError("there are too many values")
        if kind in (I16, I32, I64):
            return self._zigzag()
        if kind == BINARY:
            return self._take(self._varint())
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in (LIST, SET):
            return self._list(depth + 1)
        if kind in (TRUE, FALSE):
            return (kind if in_struct else self._byte()) == TRUE  # in a struct a boolean is its type and no byte
        if kind == DOUBLE:
            return struct.unpack("<d", self._take(8))[0]
        if kind == BYTE:
            return struct.unpack("b", self._take(1))[0]
        if kind == MAP:
            return self._map(depth + 1)
        raise ThriftError("a value has a type that does not exist")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size, kind = head >> 4, head & 0x0F
        if size == 15:
            size = self._varint()
        self._room(size, depth)
        return [self._value(kind, depth) for _ in range(size)]

    def _map(self, depth: int) -> dict[Any, Any]:
        size = self._varint()
        self._room(size, depth)
        kinds = self._byte() if size else 0
        pairs = [(self._value(kinds >> 4, depth), self._value(kinds & 0x0F, depth)) for _ in range(size)]
        try:
            return dict(pairs)
        except TypeError:
            raise ThriftError("a map's keys are not plain values") from None

    def _room(self, size: int, depth: int) -> None:
        """Refuse more items than bytes are left (each takes one at least), before a list is made for them."""
        if size > len(self._data) - self.at or depth > MAX_DEPTH:
            raise ThriftError("a list says it holds more than the bytes do")

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise ThriftError("a value says it is longer than the bytes are")
        self.at += size
        return self._data[self.at - size : self.at]

    def _varint(self) -> int:
        value = shift = 0
        for _ in range(MAX_VARINT):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ThriftError("a number is longer than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
