"""A document as data: sections of a few kinds of parts, all of plain texts. `html` and `markdown` say how it looks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind = "text"
    text: str


@dataclass(frozen=True)
class Bullets:
    """A list: of each item what it is about, which may be empty, and what is said."""

    kind = "bullets"
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    kind = "facts"
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows. `numbers`: how many columns at the right are numbers."""

    kind = "table"
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int = 0


@dataclass(frozen=True)
class ToWrite:
    """What a person has to write: the clause that asks, and the question."""

    kind = "to_write"
    clause: str
    question: str


Part = Text | Bullets | Facts | Table | ToWrite


@dataclass(frozen=True)
class Section:
    """A section. `clause` is what asks for it; `level` 1 is a chapter, 2 a section in one."""

    title: str
    parts: tuple[Part, ...]
    clause: str = ""
    level: int = 1


@dataclass(frozen=True)
class Document:
    """A whole document.

    Attributes:
        kicker: one line above the title. lead: one paragraph below it.
        day: as of when; None where nothing in it has a date.
        foot: what holds for all of it.
    """

    title: str
    kicker: str
    lead: str
    sections: tuple[Section, ...]
    day: dt.date | None
    foot: str

    @property
    def to_write(self) -> int:
        """How many questions are left to a person."""
        return sum(isinstance(part, ToWrite) for section in self.sections for part in section.parts)


def facts(*items: tuple[str, object]) -> Facts:
    """Return facts; those without a value say so."""
    return Facts(tuple((name, str(value) if value not in (None, "") else "not stated") for name, value in items))


def bullets(items: Iterable[str]) -> Bullets:
    """Return a list of texts."""
    return Bullets(tuple(("", item) for item in items))
