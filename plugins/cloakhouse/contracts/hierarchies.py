"""Generalization hierarchies: CSV files beside the contracts, in the form that the ARX tool reads and writes.

    Berlin;Brandenburg and Berlin;East;*
    Potsdam;Brandenburg and Berlin;East;*

UTF-8, `;` between the fields, no header, `"` around a field that holds one of these, one line a value: the value, then
its label at level 1, 2 and so on, each coarser than the one before. Every value occurs once, every line has as many
fields, and what shares a label shares the labels after it, so that no level separates what a finer one has joined.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cloakhouse.errors import ContractError

MAX_BYTES = 1 << 20  # of a file, in UTF-8
MAX_VALUES = 100_000
MAX_LEVELS = 32
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # controls, halves of surrogate pairs

Rows = list[tuple[int, list[str]]]
"""Number of its line (from 1) and fields of every row."""


@dataclass(frozen=True)
class Hierarchy:
    """A hierarchy as it was read.

    Attributes:
        name: file name, for messages.
        levels: for level 1, 2 ... the label of every value.
    """

    name: str
    levels: tuple[Mapping[str, str], ...]

    def level(self, number: int) -> Mapping[str, str]:
        """Return the label of every value at level `number`. Raises ContractError if there is no such level."""
        if not 1 <= number <= len(self.levels):
            found = f"level {number}"
            raise _refusal(self.name, 1, f"a level from 1 to {len(self.levels)}", found, "choose one of these levels")
        return self.levels[number - 1]


def read_hierarchy(text: str, name: str) -> Hierarchy:
    """Return the hierarchy that `text` holds; a byte order mark is left out.

    Raises ContractError with file and line for a text above 1 MiB or 100,000 values or 32 levels, for a broken or
    empty line, one with another number of fields, an empty label, a value that occurs twice, and a label whose
    coarser labels differ.
    """
    rows = list(_rows(text, name))
    if not rows:
        raise _refusal(name, 1, "one line for each value", "an empty file", "restore the file")
    _check_fields(rows, name)
    _check_values(rows, name)
    width = len(rows[0][1])
    for level in range(1, width - 1):
        _check_coarsening(rows, level, name)
    return Hierarchy(name, tuple({row[0]: row[level] for _, row in rows} for level in range(1, width)))


def _rows(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    size = len(text.encode(errors="surrogatepass"))  # half a pair is refused with its line, not here
    if size > MAX_BYTES:
        raise _refusal(name, 1, f"at most {MAX_BYTES} bytes", f"{size}", "use fewer values or shorter labels")
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=";", strict=True)
    line = 1
    try:
        for row in reader:
            if any(_UNPRINTABLE.search(field) for field in row):
                remedy = "remove the character there; save the file as UTF-8"
                raise _refusal(name, line, "fields of printable characters", "a control character", remedy)
            yield line, row
            line += 1
    except csv.Error:  # its text is about the format, but may name a field
        expected, found = (
            f"fields with `;` between, up to {csv.field_size_limit()} characters",
            "a misplaced quote, or more",
        )
        raise _refusal(name, line, expected, found, "correct the quotes there") from None


def _check_fields(rows: Rows, name: str) -> None:
    width = len(rows[0][1])
    if not 2 <= width <= MAX_LEVELS + 1:
        expected = f"a value and 1 to {MAX_LEVELS} labels, with `;` between"
        raise _refusal(name, 1, expected, f"{width} fields", "correct the line")
    for line, row in rows:
        if len(row) != width:
            raise _refusal(name, line, f"{width} fields, as on line 1", f"{len(row)}", "correct the line")
        if "" in row[1:]:
            raise _refusal(name, line, "a label at every level", "an empty one", "name it, or use * for anything")


def _check_values(rows: Rows, name: str) -> None:
    if len(rows) > MAX_VALUES:
        raise _refusal(name, MAX_VALUES + 1, f"at most {MAX_VALUES} values", f"{len(rows)}", "use fewer values")
    first: dict[str, int] = {}
    for line, row in rows:
        before = first.setdefault(row[0], line)
        if before != line:
            raise _refusal(name, line, "each value once", f"the value of line {before} again", "remove one of the two")


def _check_coarsening(rows: Rows, level: int, name: str) -> None:
    """Raise ContractError unless rows with one label at `level` have one at the next."""
    coarser: dict[str, tuple[int, str]] = {}
    for line, row in rows:
        before, label = coarser.setdefault(row[level], (line, row[level + 1]))
        if label != row[level + 1]:
            raise _refusal(
                name,
                line,
                f"at level {level + 1} the label of line {before}, as both have one label at level {level}",
                "another",
                "correct one of the two lines",
            )


def _refusal(name: str, line: int, expected: str, found: str, remedy: str) -> ContractError:
    return ContractError(
        code="hierarchy",
        where=f"{name}:{line}",
        expected=expected,
        found=found,
        not_done="the hierarchy was not loaded; no DAG was made from a contract that names it and no data was read",
        remedy=remedy,
    )
