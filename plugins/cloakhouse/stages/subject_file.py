"""A file that names persons: CSV or JSONL, one person a line, read as a stream into keyed tokens.

A CSV file has a header (comma, semicolon or tab); one JSON object a line has names of its own. Known are the columns
of the customer master that name persons (`household_id`, `loyalty_card`, `email`), and `token`: a token of the
subject's column as a dataset of the lake has it, in hexadecimal or base32, with its `purpose` beside it where it isn't
that of the customer master. Other columns are not looked at. A list of plain lines is a CSV file of one column; without
a header its column is told by `column`.

1. A line that can't be read, or that doesn't name one person, is counted by what is wrong with it (REASONS), with the
   numbers of the first such lines. Its content is in no message.
2. Values become tokens block by block, and only tokens are kept, each once, with the line that named it first: 24 bytes
   a person, however long the file is. No line longer than LONGEST is ever held.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import ConfigurationError, NotFound
from cloakhouse.keys.files import storage_error
from cloakhouse.stages.subject_identifiers import Identifiers
from cloakhouse.stages.subject_tokens import TokenReader

LONGEST = 4096  # bytes of a line
BLOCK_LINES = 65_536
FIRST_LINES = 5  # numbers of lines that are told of each kind
TOKEN, PURPOSE = "token", "purpose"
DELIMITERS = ",;\t"
OBJECTS = (".jsonl", ".ndjson", ".json")  # endings of names; else the first line tells
MARK = b"\xef\xbb\xbf"  # byte order mark of UTF-8
REASONS = {
    "broken_encoding": "not UTF-8",
    "too_long": f"longer than {LONGEST:,} bytes",
    "wrong_form": "not a line of CSV with the header's fields, or not a JSON object",
    "no_identifier": "nothing that names a person",
    "several_identifiers": "more than one thing that names a person",
    "wrong_value": "a value that the column can't hold",
    "wrong_token": "a text that is no token",
    "unknown_purpose": "a token of a purpose that no contract has for these persons",
}


@dataclass(frozen=True)
class Tolerance:
    """What a request by a file of persons goes on with.

    Attributes:
        skip_unreadable: lines that name nobody are passed over.
        all_matches: an identifier that several persons have had means all of them.
        also_unknown: persons whom the lake doesn't know get a tombstone.
        column: of a file without a header.
    """

    skip_unreadable: bool = False
    all_matches: bool = False
    also_unknown: bool = False
    column: str | None = None


@dataclass
class Lines:
    """Lines of one kind: how many, and the numbers of the first ones."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        """Count one line."""
        self.count += 1
        if len(self.first) < FIRST_LINES:
            self.first.append(number)

    @classmethod
    def of(cls, numbers: pa.Array) -> Lines:
        """Return the lines with these numbers."""
        return cls(len(numbers), numbers.sort().slice(0, FIRST_LINES).to_pylist())


@dataclass(frozen=True)
class Named:
    """What a file names.

    Attributes:
        lines: that are not empty.
        tokens: table (token, line) by column: each token once, with the line that names it first.
        refused: lines by reason (REASONS).
    """

    lines: int
    tokens: dict[str, pa.Table]
    refused: dict[str, Lines]

    @property
    def distinct(self) -> int:
        """How many different identifiers there are."""
        return sum(map(len, self.tokens.values()))

    @property
    def unreadable(self) -> int:
        """How many lines name nobody."""
        return sum(lines.count for lines in self.refused.values())


def read_subjects(path: Path, identifiers: Identifiers, column: str | None = None) -> Named:
    """Return what the file at `path` names.

    Raises NotFound unless it is a regular file, ConfigurationError (`configuration.subject-file`) for one without a
    known column, AccessRefused and KeyServiceError for tokens of a purpose whose key doesn't open, StorageError.
    """
    try:
        if not path.is_file():
            raise _missing(path)
        with path.open("rb") as stream:
            return _Reader(path, identifiers, column).read(stream)
    except OSError as fault:
        raise storage_error(fault, path, "nobody was looked up") from None


class _Reader:
    """Reads one file."""

    def __init__(self, path: Path, identifiers: Identifiers, column: str | None) -> None:
        self._path = path
        self._known = (identifiers.column.name, *identifiers.also)
        if column is not None and column not in (*self._known, TOKEN):
            raise self._unusable(f"a column of {', '.join((*self._known, TOKEN))}", "another name")
        self._identifiers = identifiers
        self._foreign = TokenReader(identifiers)
        self._column = column
        self._refused: dict[str, Lines] = defaultdict(Lines)
        self._found: dict[str, list[pa.Table]] = defaultdict(list)
        self._lines = 0

    def read(self, stream: BinaryIO) -> Named:
        """Return what the stream names."""
        numbered = self._numbered(stream)
        names: list[str] | None = [self._column] if self._column else None
        delimiter, objects = DELIMITERS[0], self._path.suffix.lower() in OBJECTS
        values: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        waiting = 0
        for number, line in numbered:
            objects = objects or (names is None and line.startswith(b"{"))
            if names is None and not objects:
                names, delimiter = self._header(line)
                continue
            self._lines += 1
            found = self._fields(number, line, None if objects else names, delimiter)
            if found is not None:
                values[found[0], found[1]].append((number, found[2]))
                waiting += 1
            if waiting >= BLOCK_LINES:
                self._take(values)
                waiting = 0
        self._take(values)
        tokens = {name: _once(tables) for name, tables in self._found.items()}
        return Named(self._lines, tokens, dict(self._refused))

    def _numbered(self, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that aren't empty, without their ends, numbered from 1; of a longer one nothing is kept."""
        number, inside = 0, False
        while line := stream.readline(LONGEST + 2):
            ended = line.endswith(b"\n")
            number += not inside
            if inside or (not ended and len(line) == LONGEST + 2):
                if not inside:
                    self._lines += 1
                    self._refused["too_long"].add(number)
                inside = not ended
                continue
            text = line.removeprefix(MARK) if number == 1 else line
            if text.strip():
                yield number, text.strip(b"\r\n")

    def _header(self, line: bytes) -> tuple[list[str], str]:
        text = line.decode(errors="replace")
        delimiter = next((d for d in DELIMITERS if d in text), DELIMITERS[0])
        names = [name.strip().strip('"').lower() for name in text.split(delimiter)]
        known = [name for name in names if name in (*self._known, TOKEN)]
        if not known or len(set(known)) != len(known):
            expected = f"a header with at least one of {', '.join((*self._known, TOKEN))}, each once, or JSON objects"
            raise self._unusable(expected, f"a first line of {len(names)} fields, {len(known)} of them called so")
        return names, delimiter

    def _fields(self, number: int, line: bytes, names: list[str] | None, delimiter: str) -> tuple[str, str, str] | None:
        """Return (column, purpose, text) of what a line names, or count what is wrong with it."""
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self._refused["broken_encoding"].add(number)
            return None
        given = self._of_object(text) if names is None else self._of_row(text, names, delimiter)
        if given is None:
            self._refused["wrong_form"].add(number)
            return None
        if len(given) != 1:
            self._refused["several_identifiers" if given else "no_identifier"].add(number)
            return None
        return given[0]

    def _of_object(self, text: str) -> list[tuple[str, str, str]] | None:
        """Return (column, purpose, text) of all that a JSON object names; None for what is none."""
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(record, dict):
            return None
        purpose = _text(record.get(PURPOSE))
        named = ((name, _text(record.get(name))) for name in (*self._known, TOKEN))
        return [(name, purpose if name == TOKEN else "", value) for name, value in named if value]

    def _of_row(self, text: str, names: list[str], delimiter: str) -> list[tuple[str, str, str]] | None:
        """Return (column, purpose, text) of all that a row names; None for one of another number of fields."""
        if '"' not in text:
            fields = text.split(delimiter)
        else:
            try:
                [fields] = csv.reader([text], delimiter=delimiter, strict=True)
            except (csv.Error, ValueError):
                return None
        if len(fields) != len(names):
            return None
        named = [(name, "", value) for name, value in zip(names, map(str.strip, fields), strict=True) if value]
        given = [one for one in named if one[0] in self._known or one[0] == TOKEN]
        if given and given[0][0] == TOKEN:
            purposes = [value for name, _, value in named if name == PURPOSE]
            given[0] = (TOKEN, "".join(purposes), given[0][2])
        return given

    def _take(self, values: dict[tuple[str, str], list[tuple[int, str]]]) -> None:
        """Turn the values of a block into tokens, and let them go."""
        for (column, purpose), given in values.items():
            numbers = np.array([number for number, _ in given], np.int64)
            texts = pa.array([text.encode() for _, text in given], pa.binary())
            if column == TOKEN:
                tokens, reasons = self._foreign.read(texts, purpose)
            else:
                tokens, wrong = self._identifiers.read(texts, column)
                reasons = {"wrong_value": wrong}
            for reason, flags in reasons.items():
                for number in numbers[flags]:
                    self._refused[reason].add(int(number))
            named = pa.table({"token": tokens, "line": numbers}).filter(pc.is_valid(tokens))
            target = self._identifiers.column.name if column == TOKEN else column
            self._found[target] = [_once([*self._found[target], named])]
        values.clear()

    def _unusable(self, expected: str, found: str) -> ConfigurationError:
        return ConfigurationError(
            where=self._path.name,
            expected=expected,
            found=found,
            not_done="nobody was looked up",
            remedy="name the column in the file's first line, or with --column where it has none",
            code="subject-file",
        )


def _text(value: Any) -> str:
    """Return a field as text; nothing for what can be no identifier."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _once(tables: list[pa.Table]) -> pa.Table:
    """Return each token once, with the first line that names it."""
    whole = pa.concat_tables(tables).combine_chunks()
    return pa.TableGroupBy(whole, "token").aggregate([("line", "min")]).rename_columns(["token", "line"])


def _missing(path: Path) -> NotFound:
    return NotFound(
        where=path.name,
        expected="a file that names persons",
        found="no such file",
        not_done="nobody was looked up",
        remedy="correct the path",
    )
