"""JSON lines at the edge: in each object only the values that are tokenized are replaced, in place.

Everything else goes through byte for byte: order of keys, white space, numbers, escapes, kept values of any form. What
a value must be is as in the lake: text for strings, dates and timestamps, numbers for numbers. NaN and Infinity are no
JSON (RFC 8259, section 6). The first object must hold every column of the key file and none but those and the kept
ones; a later one may lack a column, which is null, and is left out (`unknown_column`) if it has another.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

import numpy as np
import pyarrow as pa

from cloakhouse.contracts.model import Column
from cloakhouse.stages.edge_rows import BOM, Arriving, EdgeTreater
from cloakhouse.stages.parsing import JSON_NATIVE, Flags

INT64 = 1 << 63


def _no_constant(_name: str) -> None:
    raise ValueError


_OPEN = re.compile(r"[ \t\r\n]*\{")
_EMPTY = re.compile(r"[ \t\r\n]*\}")
_KEY = re.compile(r'[ \t\r\n]*("[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*")[ \t\r\n]*:[ \t\r\n]*')
_NEXT = re.compile(r"[ \t\r\n]*([,}])")
_DECODER = json.JSONDecoder(parse_constant=_no_constant)


class _Twice(ValueError):
    """A key stands twice in an object."""


@dataclass(frozen=True)
class _Object:
    """One line: its text, its values by key in order, and where each stands in the text."""

    text: str
    values: dict[str, Any]
    spans: dict[str, tuple[int, int]]


def json_blocks(lines: Arriving, treatment: EdgeTreater, keep: Sequence[str]) -> Iterator[bytes]:
    """Yield the tokenized rows of each block that has arrived.

    Raises AccessRefused, DeliveryError (see `EdgeTreater.check_names`) by the first object.
    """
    names = {*(column.name for column in treatment.columns), *keep}
    start, checked = BOM, False
    while block := lines.read():
        found: list[_Object] = []
        for line in block.removeprefix(start).removesuffix(b"\n").split(b"\n"):
            object_ = _scanned(line, treatment)
            if object_ is None:
                continue
            if not checked:
                treatment.check_names(list(object_.values), keep)
                checked = True
            if object_.values.keys() <= names:
                found.append(object_)
            else:
                treatment.tally.leave_out("unknown_column")
        start = b""
        yield "".join(_rewritten(found, treatment)).encode()


def _scanned(line: bytes, treatment: EdgeTreater) -> _Object | None:
    """Return the object on a line; None, and a count, for anything else."""
    try:
        return _object(line.decode())
    except UnicodeDecodeError:
        reason = "broken_encoding"
    except _Twice:
        reason = "wrong_type"
    except (ValueError, RecursionError):
        reason = "not_json"
    treatment.tally.leave_out(reason)
    return None


def _object(text: str) -> _Object:
    """Return the object that `text` is. Raises ValueError for another text."""
    values: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}
    at = _found(_OPEN, text, 0).end()
    empty = _EMPTY.match(text, at)
    more = empty is None
    while more:
        key = _found(_KEY, text, at)
        name = json.loads(key[1]) if "\\" in key[1] else key[1][1:-1]
        value, end = _DECODER.raw_decode(text, key.end())
        if name in values:
            raise _Twice
        values[name], spans[name] = value, (key.end(), end)
        following = _found(_NEXT, text, end)
        at, more = following.end(), following[1] == ","
    if text[empty.end() if empty else at :].strip(" \t\r\n"):
        raise ValueError
    return _Object(text, values, spans)


def _found(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    found = pattern.match(text, at)
    if found is None:
        raise ValueError
    return found


def _rewritten(objects: list[_Object], treatment: EdgeTreater) -> Iterator[str]:
    """Yield the lines of sound objects with treated values in the place of theirs."""
    raw, wrong = {}, {}
    for column in treatment.columns:
        raw[column.name], wrong[column.name] = _typed([o.values.get(column.name) for o in objects], column)
    treated, sound = treatment.treated(raw, len(objects), wrong)
    texts = {name: _json_texts(values) for name, values in treated.items()}
    for row, place in enumerate(np.flatnonzero(sound)):
        object_ = objects[place]
        at = 0
        for name, (start, end) in object_.spans.items():
            if name in texts:
                yield object_.text[at:start]
                yield texts[name][row]
                at = end
        yield object_.text[at:]
        yield "\n"


def _typed(values: list[Any], column: Column) -> tuple[pa.Array, Flags]:
    """Return values as the lake's parser has them, binary or numbers, and bool[n]: which are of no such type."""
    kind = column.logical_type
    fits = {"integer": _is_integer, "number": _is_number}.get(kind, _is_text)
    wrong = np.fromiter((value is not None and not fits(value) for value in values), np.bool_, len(values))
    good = [None if flag else value for value, flag in zip(values, wrong, strict=True)]
    if kind not in JSON_NATIVE:
        return pa.array([None if text is None else text.encode() for text in good], pa.binary()), wrong
    if kind == "integer":
        return pa.array(good, pa.int64()), wrong
    return pa.array([None if number is None else float(number) for number in good], pa.float64()), wrong


def _is_text(value: Any) -> bool:
    """Tell texts, but for those with half a surrogate pair, which have no UTF-8 form."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in value))


def _is_integer(value: Any) -> bool:
    return type(value) is int and -INT64 <= value < INT64


def _is_number(value: Any) -> bool:
    """Tell floats, infinite ones included, which `check_column` refuses, and integers that a float can stand for."""
    try:
        return type(value) is float or (type(value) is int and math.isfinite(value))
    except OverflowError:
        return False


def _json_texts(values: pa.Array) -> list[str]:
    quoted = pa.types.is_string(values.type)
    texts = (values if quoted else values.cast(pa.string())).to_pylist()
    return ["null" if text is None else encode_basestring(text) if quoted else text for text in texts]
