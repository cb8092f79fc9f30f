"""CSV as one record a line: lines that would break that, or break the parser, are set aside before it sees them.

Landing counts line feeds, so that rows must add up to lines. A quote that stays open at the end of its line would
swallow the lines below it, and a carriage return inside a line would split it; each is set aside alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

BLOCK = 4 << 20  # bytes
EMPTY_LINE = re.compile(rb"(?m)^(?=\r?\n)")
LOOSE_RETURN = re.compile(rb"\r(?!\n|\Z)")


class SoundLines:
    """Reads `source` in blocks of whole lines, without the lines set aside. What it yields depends on the bytes alone.

    `set_aside` gets the reason, `broken_encoding` (not UTF-8) or `wrong_form` (a quote left open, or a carriage
    return inside), and the line. Memory: one block and the longest line.
    """

    def __init__(self, source: BinaryIO, delimiter: str, set_aside: Callable[[str, bytes], None]) -> None:
        self._source = source
        self._set_aside = set_aside
        d = re.escape(delimiter.encode())
        field = rb'(?:"(?:[^"]|"")*+"[^%b]*+|(?!")[^%b]*+)' % (d, d)
        self._closed = re.compile(rb"%b(?:%b%b)*+" % (field, d, field), re.DOTALL)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the sound lines of about 4 MiB at a time; an empty block where all were set aside."""
        while block := self._source.read(BLOCK):
            yield self._sound(block + self._source.readline())

    def _sound(self, block: bytes) -> bytes:
        if b'"' not in block and is_utf8(block) and not LOOSE_RETURN.search(block):
            return block
        return b"".join(line for line in io.BytesIO(block) if self._passes(line))

    def _passes(self, line: bytes) -> bool:
        if not is_utf8(line):
            self._set_aside("broken_encoding", line)
        elif LOOSE_RETURN.search(line) or not self._closed.fullmatch(line):
            self._set_aside("wrong_form", line)
        else:
            return True
        return False


def written_out(block: bytes, delimiter: str, width: int) -> bytes:
    """Return whole lines of `width` fields with the empty ones among them written as that many empty fields.

    pyarrow 26 loses an empty line between lines of other lengths.
    """
    if not (block.startswith((b"\n", b"\r\n")) or b"\n\n" in block or b"\n\r\n" in block):
        return block
    return EMPTY_LINE.sub(delimiter.encode() * (width - 1), block)


def is_utf8(data: bytes) -> bool:
    """Return whether `data` is UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
