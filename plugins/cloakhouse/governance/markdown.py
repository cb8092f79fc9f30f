"""A document as Markdown (CommonMark with tables of GFM). Every text is escaped: none becomes markup, a link, HTML, or
one cell more of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cloakhouse.governance.document import Bullets, Document, Facts, Part, Section, Table, Text, ToWrite

_SIGNS = re.compile(r"([\\`*_{}\[\]#|~!$^=])")
_LIKE_A_LINK = re.compile(r"(?i)(https?|ftp|mailto|xmpp)(:)|(\bwww)(\.)|(@)")
_AT_START = re.compile(r"^(\d{1,9})([.)])(?=\s|$)|^([-+])(?=[-\s]|$)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(document: Document) -> str:
    """Return `document` as Markdown."""
    return "\n".join(_lines(document)).rstrip("\n") + "\n"


def escaped(text: str) -> str:
    """Return `text` in one line, such that Markdown shows it as it is; runs of white space become one space."""
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    shown = _SIGNS.sub(r"\\\1", plain)
    shown = "".join(_ENTITIES.get(sign, sign) for sign in shown)
    shown = _AT_START.sub(lambda found: f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}", shown)
    return _LIKE_A_LINK.sub(_broken_up, shown)


def _broken_up(found: re.Match[str]) -> str:
    before, sign = (found[1] or found[3] or ""), (found[2] or found[4] or found[5])
    return f"{before}&#{ord(sign)};"


def _lines(document: Document) -> Iterator[str]:
    yield from (f"# {escaped(document.title)}", "", escaped(document.kicker), "", escaped(document.lead), "")
    yield f"As of {document.day.isoformat()} (UTC)." if document.day else "Made from contracts alone."
    yield ""
    for section in document.sections:
        yield from _section(section)
    yield from ("---", "", escaped(document.foot))


def _section(section: Section) -> Iterator[str]:
    clause = f" ({escaped(section.clause)})" if section.clause else ""
    yield from (f"{'#' * (section.level + 1)} {escaped(section.title)}{clause}", "")
    for number, part in enumerate(section.parts):
        yield from _part(part, "-*"[number % 2])  # another sign begins another list
        yield ""


def _part(part: Part, sign: str) -> Iterator[str]:
    match part:
        case Text():
            yield escaped(part.text)
        case Bullets():
            yield from (f"{sign} {_about(about)}{escaped(said)}" for about, said in part.items)
        case Facts():
            yield from (f"{sign} {_about(name)}{escaped(value)}" for name, value in part.items)
        case Table():
            yield from (escaped(part.caption), "", _row(part.heads))
            yield _rule(len(part.heads), part.numbers)
            yield from map(_row, part.rows)
        case ToWrite():
            yield f"> **To be written by a person** ({escaped(part.clause)}): {escaped(part.question)}"


def _about(about: str) -> str:
    return f"**{escaped(about)}:** " if about.strip() else ""


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def _rule(columns: int, numbers: int) -> str:
    return f"| {' | '.join(['---'] * (columns - numbers) + ['---:'] * numbers)} |"
