"""The fields of one raw line that the parsers may not take, read with patience, in plain Python.

A line whose columns can't be told apart (another number of fields, a quote left open, a carriage return inside, no JSON
object) gives whole fields, never a part of one:

- of CSV, those where a field more or less may have put one of the wanted columns; of JSON, those behind its name;
- every other one of LONG bytes or more. A shorter one, such as `7`, says nothing where it can't be meant.

Without a header nobody knows where columns stand, and every field counts.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cloakhouse.contracts.model import Feed
from cloakhouse.stages.lines import LOOSE_RETURN

LONG = 6  # bytes of a field that names a person wherever it stands
JSON_FIELD = re.compile(rb'"((?:[^"\\]|\\.)*)"?|[^\s,:{}\[\]"]+')
BLANK = b' \t\r\n"\xef\xbb\xbf\x00'


@dataclass(frozen=True)
class OddLines:
    """Reads the columns `names` from lines of a feed, one by one; `header` is its first line, empty for JSON."""

    feed: Feed
    names: tuple[str, ...]
    header: bytes

    def read(self, line: bytes) -> tuple[tuple[bytes | None, ...], tuple[bytes, ...]]:
        """Return the wanted fields of one line, or, where they can't be told apart, all its whole fields."""
        wanted = self._one_csv(line) if self.feed.format == "csv" else self._one_json(line)
        if wanted is not None:
            return wanted, ()
        return (None,) * len(self.names), self.whole_fields(line)

    def _one_csv(self, line: bytes) -> tuple[bytes | None, ...] | None:
        columns, fields = self._split(self.header), self._split(line)
        places = [columns.index(name.encode()) for name in self.names if name.encode() in columns]
        told_apart = len(fields) == len(columns) and len(places) == len(self.names)
        if not told_apart or LOOSE_RETURN.search(line) or not _closed(line, self.feed.delimiter):
            return None
        return tuple(fields[place] or None for place in places)

    def _one_json(self, line: bytes) -> tuple[bytes | None, ...] | None:
        found = self._values(line)
        if found is None or any(len(values) > 1 for values in found):
            return None  # no object; or a name twice, or with several values
        return tuple(_bytes(values[0]) if values else None for values in found)

    def _values(self, line: bytes) -> list[list[Any]] | None:
        """Return the values of each wanted name in a JSON object, also those of arrays and objects in it."""
        try:
            pairs = json.loads(
                line.decode("utf-8", "surrogateescape"),
                object_pairs_hook=_Pairs,
                parse_int=str,
                parse_float=str,
                parse_constant=str,
            )
            if isinstance(pairs, _Pairs):
                return [[leaf for name, v in pairs if name == wanted for leaf in _leaves(v)] for wanted in self.names]
        except (ValueError, RecursionError):
            pass
        return None

    def _split(self, line: bytes) -> list[bytes]:
        text = line.decode("utf-8", "surrogateescape").removeprefix("\ufeff").rstrip("\r\n")
        try:
            rows = list(csv.reader([text], delimiter=self.feed.delimiter))
        except csv.Error:
            return []
        return [_bytes(field) or b"" for field in (rows[0] if rows else [])]

    def whole_fields(self, line: bytes) -> tuple[bytes, ...]:
        """Return the whole fields of a line whose columns can't be told apart that may name a person."""
        if self.feed.format != "csv":
            return self._members(line)
        found: set[bytes] = set()
        for part in line.strip(b"\r\n").split(b"\r"):
            split = [token.strip(BLANK) for token in part.split(self.feed.delimiter.encode())]
            for fields in (split, self._split(part)):
                found.update(field for field in fields if len(field) >= LONG or not self.header)
                found.update(field for place in self._places(len(fields)) for field in fields[place])
        return tuple(sorted(found - {b""}))

    def _places(self, count: int) -> Iterator[slice]:
        """Yield where the wanted columns may stand in a line of `count` fields."""
        columns = self._split(self.header)
        for at in (columns.index(name.encode()) for name in self.names if name.encode() in columns):
            moved = at + count - len(columns)
            yield slice(max(min(at, moved), 0), max(at, moved) + 1)

    def _members(self, line: bytes) -> tuple[bytes, ...]:
        values, behind = self._values(line), b""
        found = {_bytes(leaf) or b"" for leaves in values or () for leaf in leaves}
        for match in JSON_FIELD.finditer(line):
            field = _unescaped(match)
            if len(field) >= LONG or behind.decode("utf-8", "replace") in self.names:
                found.add(field)
            behind = field
        return tuple(sorted(found - {b""}))


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object as they stand, also those of one name."""


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, _Pairs):
        for _, inner in value:
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _closed(line: bytes, delimiter: str) -> bool:
    """Tell whether every quote that opens a field ends it before the line does."""
    d = re.escape(delimiter.encode())
    field = rb'(?:"(?:[^"]|"")*+"[^%b]*+|(?!")[^%b]*+)' % (d, d)
    return re.fullmatch(rb"%b(?:%b%b)*+" % (field, d, field), line, re.DOTALL) is not None


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        return match[0].strip(BLANK)
    try:
        return str(json.loads(b'"%b"' % match[1])).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return match[1].strip(BLANK)


def _bytes(value: Any) -> bytes | None:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else None
