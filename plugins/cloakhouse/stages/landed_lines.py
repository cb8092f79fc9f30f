"""The lines of a landed delivery: read in blocks, and written back without some of them.

Lines that stay are the same bytes in the same order. A delivery that came compressed is compressed again: its gzip
stream is another one, of one member, without a name or a time in it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from cloakhouse.contracts.model import Feed
from cloakhouse.keys.streaming import EncryptingWriter
from cloakhouse.stages.inspection import LineCounter
from cloakhouse.stages.lines import BLOCK
from cloakhouse.stages.splits import SPLIT_BYTES

LEVEL = 6  # of gzip
GZIP = 31  # as zlib calls its format


def plaintext(stream: BinaryIO, feed: Feed, ahead: int = BLOCK) -> BinaryIO:
    """Return the lines of a landed file, decompressed where the feed is, read `ahead` by that many bytes."""
    plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if feed.compressed else stream
    return io.BufferedReader(plain, ahead)  # type: ignore[type-var]


def header_of(plain: BinaryIO, feed: Feed) -> bytes:
    """Take the header off the lines; a feed of JSON has none."""
    return plain.readline() if feed.format == "csv" else b""


def line_blocks(plain: BinaryIO, size: int = BLOCK) -> Iterator[bytes]:
    """Yield whole lines, about `size` bytes at a time; the last one may lack its line feed."""
    while block := plain.read(size):
        yield block + plain.readline()


class LineWriter:
    """Writes lines as a delivery of `feed` to an encrypted file, and counts what landing counts."""

    def __init__(self, writer: EncryptingWriter, feed: Feed, split_bytes: int = SPLIT_BYTES) -> None:
        self._writer = writer
        self._digest = hashlib.sha256()
        self._gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP) if feed.compressed else None
        self._lines = LineCounter("a delivery that is cut", feed, split_bytes)
        self.bytes = 0

    def write(self, lines: bytes | memoryview) -> None:
        """Take some bytes of the plaintext."""
        if lines:
            self._lines.feed(lines)
            self._put(self._gzip.compress(lines) if self._gzip else lines)

    def finish(self) -> None:
        """Write what is left."""
        self._lines.finish()
        if self._gzip:
            self._put(self._gzip.flush())

    def facts(self) -> dict[str, object]:
        """Return what a manifest says of the written file: rows, splits, and digest and bytes of its content."""
        return {
            "rows": max(self._lines.rows, 0),
            "splits": list(self._lines.splits),
            "content_sha256": self._digest.hexdigest(),
            "content_bytes": self.bytes,
        }

    def _put(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self.bytes += len(data)
        self._writer.write(data)
