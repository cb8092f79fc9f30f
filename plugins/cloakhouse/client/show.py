"""What commands write to standard output: tables for people, JSON for programs, and nothing else.

Tables are at most 100 columns wide. JSON is ASCII with `\\u` escapes, so that it doesn't depend on the locale.
Messages go to standard error (`note`).
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cloakhouse.client.cells import JsonValue, cell_text

if TYPE_CHECKING:
    from rich.console import Console

MAX_WIDTH = 100  # columns of a terminal
MIN_WIDTH = 40
WIDEST_CELL = 40
GAP = 2  # columns between two cells
LAID_OUT = 50  # rows that rich lays out; where all rows are plain, the rest follows in the same columns
Record = Mapping[str, JsonValue]


@dataclass(frozen=True)
class Heading:
    """One column of a table.

    Attributes:
        key: where its cells stand in the records.
        title: what stands above; the key where there is none.
        right: aligned to the right, as numbers are.
        whole: its cells are names, not broken up to 40 characters.
    """

    key: str
    title: str = ""
    right: bool = False
    whole: bool = False

    @property
    def text(self) -> str:
        """What stands above the column."""
        return self.title or self.key


def note(message: str) -> None:
    """Write a message for people to standard error."""
    print(message, file=sys.stderr)


def write_json(value: object) -> None:
    """Write `value` as one JSON text, indented."""
    print(json.dumps(value, indent=2, allow_nan=False), flush=True)


def write_json_rows(rows: Iterable[Record]) -> None:
    """Write `rows` as one JSON array with a row a line, one after the other."""
    sys.stdout.write("[")
    for index, row in enumerate(rows):
        sys.stdout.write(("," if index else "") + "\n" + json.dumps(row, allow_nan=False))
    sys.stdout.write("\n]\n")
    sys.stdout.flush()


def write_table(headings: Sequence[Heading], records: Sequence[Record], title: str = "") -> None:
    """Write `records` as a table; texts too long for their column go on below."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    rows = [[cell_text(record[heading.key]) for heading in headings] for record in records]
    plain = _plain_widths(headings, rows)
    for number, heading in enumerate(headings):
        width = plain[number] if plain else _widest(heading, records) if heading.whole else None
        justify: Literal["left", "right"] = "right" if heading.right else "left"
        table.add_column(Text(heading.text), justify=justify, overflow="fold", width=width)
    for row in rows[:LAID_OUT] if plain else rows:
        table.add_row(*map(Text, row))
    console = _console()
    if title:
        console.print(Text(f"\n{title}\n"))
    console.print(table)
    for row in rows[LAID_OUT:] if plain else ():
        cells = zip(headings, row, plain, strict=True)
        line = (" " * GAP).join(text.rjust(size) if head.right else text.ljust(size) for head, text, size in cells)
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def write_pairs(pairs: Mapping[str, JsonValue]) -> None:
    """Write names and values, one pair a line."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(Text(name), Text(cell_text(value)))
    _console().print(table)


def how_many_fit(headings: Sequence[Heading], records: Sequence[Record]) -> int:
    """Return how many of the first `headings` stand side by side without breaking short cells; at least one."""
    left = _width()
    for count, heading in enumerate(headings):
        left -= _widest(heading, records) + GAP
        if left + GAP < 0:
            return max(count, 1)
    return len(headings)


def _widest(heading: Heading, records: Sequence[Record]) -> int:
    """Return the width that a column wants: its longest cell (at most 40), or its title if that is longer."""
    from rich.cells import cell_len

    cells = max((cell_len(cell_text(record[heading.key])) for record in records), default=0)
    return max(min(cells, WIDEST_CELL), max(map(cell_len, heading.text.splitlines())))


def _plain_widths(headings: Sequence[Heading], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column of a long table in which every cell stands on one line; else nothing.

    Rich takes 0.3 ms for a row, most of it to find that nothing has to be broken.
    """
    if len(rows) <= LAID_OUT or not all(text.isascii() and text.isprintable() for row in rows for text in row):
        return []
    widths = [
        max(max(map(len, heading.text.splitlines())), *(len(row[number]) for row in rows))
        for number, heading in enumerate(headings)
    ]
    broken = any(h.whole and size > WIDEST_CELL for h, size in zip(headings, widths, strict=True))
    return [] if broken or sum(widths) + GAP * (len(widths) - 1) > _width() else widths


def _width() -> int:
    return max(MIN_WIDTH, min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns))


def _console() -> Console:
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(file=sys.stdout, width=_width(), highlight=False, markup=False, emoji=False)
