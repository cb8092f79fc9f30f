"""CSV as one record a line: lines that would break that, or break the parser, are set aside before it sees them.

Landing counts line feeds, so that rows must add up to lines. A quote that stays open at the end of its line would
swallow the lines below it, and a carriage return inside a line would split it; each is set aside alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import BinaryIO

from typing_extensions import Buffer

BLOCK = 4 << 20  # bytes
LOOSE_RETURN = re.compile(rb"\r(?!\n|\Z)")


class SoundLines(io.RawIOBase):
    """Reads `source` without the lines set aside. The first line, the header, always passes.

    `set_aside` gets the reason, `broken_encoding` (not UTF-8) or `wrong_form` (a quote left open, or a carriage
    return inside), and the line. Memory: one block and the longest line.
    """

    def __init__(self, source: BinaryIO, delimiter: str, set_aside: Callable[[str, bytes], None]) -> None:
        super().__init__()
        self._source = source
        self._set_aside = set_aside
        d = re.escape(delimiter.encode())
        field = rb'(?:"(?:[^"]|"")*+"[^%b]*+|(?!")[^%b]*+)' % (d, d)
        self._closed = re.compile(rb"%b(?:%b%b)*+" % (field, d, field), re.DOTALL)
        self._ready = memoryview(source.readline())

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` with sound lines; return the number of bytes, 0 at the end."""
        while not self._ready:
            block = self._source.read(BLOCK)
            if not block:
                return 0
            self._ready = memoryview(self._sound(block + self._source.readline()))
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _sound(self, block: bytes) -> bytes:
        if b'"' not in block and _is_utf8(block) and not LOOSE_RETURN.search(block):
            return block
        return b"".join(line for line in io.BytesIO(block) if self._passes(line))

    def _passes(self, line: bytes) -> bool:
        if not _is_utf8(line):
            self._set_aside("broken_encoding", line)
        elif LOOSE_RETURN.search(line) or not self._closed.fullmatch(line):
            self._set_aside("wrong_form", line)
        else:
            return True
        return False


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
